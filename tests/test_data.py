from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from errors import InputError
from misc.data import (
    CaptionDataset,
    PictureDataset,
    TextAugmentation,
    collate,
    drop_missing_folders,
    evaluation_loader,
    find_image_root,
    read_picture,
    train_loader,
)
from misc.datasets.annotations import Picture, read_annotations
from misc.samplers import GlobalBatchSampler
from misc.transforms import EvaluationTransform, TrainTransform
from text_utils.tokenizer import ClipTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer()


@pytest.fixture
def dataset(pedestrians, tokenizer) -> CaptionDataset:
    return CaptionDataset(
        read_annotations(pedestrians.processed)["train"],
        pedestrians.image_root,
        TrainTransform((32, 16), "imagenet"),
        TextAugmentation(backtranslation=0.5, deletion=0.2),
        tokenizer,
        views=2,
        seed=4,
    )


def epoch_of(dataset: CaptionDataset, num_workers: int, epoch: int = 0) -> list[torch.Tensor]:
    sampler = GlobalBatchSampler(len(dataset), batch_size=8, seed=4)
    sampler.start(epoch)
    loader = train_loader(dataset, sampler, num_workers, pin_memory=False)
    return [tensor for batch in loader for tensor in vars(batch).values()]


def test_an_item_is_one_caption_with_views_of_its_picture(dataset, pedestrians):
    assert len(dataset) == pedestrians.counts["train"].captions
    views, tokens, identity = dataset[0, 5]
    assert views.shape == (2, 3, 32, 16)
    assert not torch.equal(views[0], views[1])
    assert tokens.shape == (77,)
    assert 0 <= identity < 20


def test_the_number_of_workers_changes_nothing(dataset):
    for alone, shared in zip(epoch_of(dataset, 0), epoch_of(dataset, 2), strict=True):
        assert torch.equal(alone, shared)


def test_epochs_are_augmented_differently(dataset):
    first, second = dataset[0, 3], dataset[1, 3]
    assert not torch.equal(first[0], second[0])
    assert first[2] == second[2]


def test_a_batch_is_cut_to_its_longest_caption(dataset, tokenizer):
    samples = [dataset[0, index] for index in range(6)]
    batch = collate(samples, tokenizer)
    longest = max(int(tokenizer.lengths(sample[1][None])) for sample in samples)
    assert batch.tokens.shape == (6, -(-longest // 8) * 8)
    assert batch.images.shape == (2, 6, 3, 32, 16)
    assert batch.ids.dtype == torch.int64
    assert len(batch) == 6


def test_back_translations_replace_captions_as_often_as_asked():
    augment = TextAugmentation(backtranslation=0.3, deletion=0.0)
    rng = np.random.default_rng(0)
    texts = [augment("One.", "Two.", rng) for _ in range(2000)]
    assert set(texts) == {"one", "two"}
    assert texts.count("two") / 2000 == pytest.approx(0.3, abs=0.04)
    assert augment("One.", None, rng) == "one"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA"])
def test_pictures_of_every_mode_become_rgb(tmp_path, mode):
    file = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.new("RGB", (20, 40), (200, 30, 30)).convert(mode).save(file)
    assert read_picture(file).mode == "RGB"


def test_a_bad_picture_is_named(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(InputError, match=r"broken.jpg cannot be read"):
        read_picture(broken)
    with pytest.raises(InputError, match=r"there is no picture .*absent.jpg"):
        read_picture(tmp_path / "absent.jpg")


def test_a_truncated_picture_is_named(pedestrians, tmp_path):
    whole = next(pedestrians.image_root.rglob("*.jpg")).read_bytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut.jpg cannot be read"):
        read_picture(cut)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_worker_hands_the_sentence_on(tmp_path, num_workers):
    transform = EvaluationTransform((8, 8), "clip")
    files = PictureDataset([tmp_path / "absent.jpg"], transform)
    with pytest.raises(InputError) as caught:
        list(evaluation_loader(files, 1, num_workers, pin_memory=False))
    assert str(caught.value).startswith("there is no picture")
    assert "\n" not in str(caught.value)
    assert caught.value.in_one_process


def test_ranks_see_every_item_once():
    class Numbers(PictureDataset):
        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.tensor(index)

    items = Numbers([Path()] * 11, EvaluationTransform((8, 8), "clip"))
    seen = [
        int(value)
        for rank in range(3)
        for batch in evaluation_loader(items, 2, 0, False, rank, 3)
        for value in batch
    ]
    assert sorted(seen) == list(range(11))


def test_the_image_root_may_be_the_folder_above_imgs(pedestrians):
    pictures = read_annotations(pedestrians.processed)["train"]
    assert find_image_root(pedestrians.root, pictures) == pedestrians.image_root
    assert find_image_root(pedestrians.image_root, pictures) == pedestrians.image_root


def test_a_wrong_image_root_is_refused():
    with pytest.raises(InputError, match=r"data.image_root: neither /nowhere nor its folder imgs"):
        find_image_root(Path("/nowhere"), [Picture("a.jpg", 0, ("a",), (None,))])


def test_pictures_of_missing_folders_are_left_out_and_said(tmp_path, caplog):
    (tmp_path / "here").mkdir()
    pictures = [Picture(f"{folder}/a.jpg", 0, ("a",), (None,)) for folder in ("here", "gone")]
    splits = drop_missing_folders({"train": pictures, "val": pictures[1:]}, tmp_path)
    assert splits == {"train": pictures[:1]}
    assert f"{tmp_path}/gone is missing: its 2 pictures are left out" in caplog.text
