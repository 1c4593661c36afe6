import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from errors import InputError
from misc.data.loader import TrainLoader, evaluation_loader
from misc.data.samplers import GlobalBatchSampler
from misc.data.text import CaptionDataset, PictureDataset, TextAugmentation, TokenDataset
from misc.data.text_collate import Mixing, TextCollate
from misc.data.transforms import EvaluationTransform, SimCLRTransform, TrainTransform
from misc.datasets.pictures import read_picture
from misc.datasets.text_annotations import TextPicture
from misc.datasets.text_person import join_training, read_text_person
from model.interface import TextBatch
from text_utils.augment import random_deletion
from text_utils.tokenizer import ClipTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer()


@pytest.fixture
def dataset(pedestrians, tokenizer) -> CaptionDataset:
    return CaptionDataset(
        [
            join_training(
                [read_text_person(str(pedestrians.processed), str(pedestrians.image_root))]
            )
        ],
        TrainTransform((32, 16), "imagenet"),
        TextAugmentation(0.5, random_deletion, strength=0.2),
        views=2,
        simclr=SimCLRTransform((32, 16), "imagenet"),
        seed=4,
    )


@pytest.fixture
def everything(tokenizer) -> TextCollate:
    """Collation with all that is drawn at random in it."""
    return TextCollate(
        tokenizer, mixing=Mixing(kind="cat", p=0.5, ratio=0.5, rows=4), masking="masked", seed=4
    )


def epoch_of(dataset: CaptionDataset, collate: TextCollate, num_workers: int) -> list[torch.Tensor]:
    sampler = GlobalBatchSampler(len(dataset), batch_size=8, seed=4)
    sampler.start(0)
    loader = TrainLoader(dataset, collate, sampler, num_workers=num_workers, pin_memory=False)
    return [tensor for batch in loader for tensor in batch.present().values()]


def test_an_item_is_one_caption_with_views_of_its_picture(dataset, pedestrians):
    assert len(dataset) == pedestrians.counts["train"].captions
    sample = dataset[0, 5]
    assert sample.views.shape == sample.simclr_views.shape == (2, 3, 32, 16)
    views = [*sample.views, *sample.simclr_views]
    assert len({view.sum().item() for view in views}) == 4
    assert 0 <= sample.identity < 20


def test_the_number_of_workers_changes_nothing(dataset, everything):
    alone, shared = (epoch_of(dataset, everything, workers) for workers in (0, 2))
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_batches_of_two_processes_are_the_batch_of_one(dataset, everything):
    """Whatever is drawn for a row or for a part of the batch is drawn from its key."""
    samples = [dataset[0, index] for index in range(8)]
    whole, parts = everything(samples), [everything(samples[:4]), everything(samples[4:])]
    for name in whole.present():
        joined = torch.cat([getattr(part, name) for part in parts], dim=TextBatch.dims[name])
        assert torch.equal(joined, getattr(whole, name)), name


def test_mixing_changes_the_first_view_and_the_captions_alone(dataset, tokenizer):
    samples = [dataset[0, index] for index in range(8)]
    plain = TextCollate(tokenizer)(samples)
    mixed = TextCollate(tokenizer, mixing=Mixing(kind="ori", p=1.0, ratio=0.25, rows=8))(samples)
    assert torch.equal(mixed.images[0, :2], (plain.images[0, :2] + plain.images[0, 2:4]) / 2)
    assert torch.equal(mixed.images[0, 2:], plain.images[0, 2:])
    assert torch.equal(mixed.images[1], plain.images[1])
    assert torch.equal(mixed.simclr_images, plain.simclr_images)
    assert torch.equal(mixed.ids, plain.ids)
    joined = [f"{samples[i].caption} {samples[2 + i].caption}" for i in range(2)]
    assert torch.equal(tokenizer.trim(mixed.tokens[:2]), tokenizer.trim(tokenizer(joined)))


def test_masked_words_stand_in_the_labels(dataset, tokenizer):
    samples = [dataset[0, index] for index in range(8)]
    plain = TextCollate(tokenizer)(samples)
    masked = TextCollate(tokenizer, masking="masked")(samples)
    chosen = masked.labels != -100
    assert 0 < chosen.float().mean() < 0.3
    words = tokenizer([sample.caption for sample in samples])  # in full length, as is `masked`
    assert torch.equal(masked.labels[chosen], words[chosen])
    assert torch.equal(masked.tokens[~chosen], words[~chosen])
    assert torch.equal(tokenizer.lengths(masked.tokens), tokenizer.lengths(plain.tokens))
    both = TextCollate(tokenizer, masking="clean")(samples)
    assert torch.equal(both.tokens, words)
    assert torch.equal(both.masked_tokens, masked.tokens)
    assert torch.equal(both.labels, masked.labels)
    assert masked.masked_tokens is None


def test_epochs_are_augmented_differently(dataset):
    first, second = dataset[0, 3], dataset[1, 3]
    assert not torch.equal(first.views, second.views)
    assert first.identity == second.identity


def in_languages(*pictures: TextPicture) -> CaptionDataset:
    keep = TextAugmentation(0.5, random_deletion, strength=0.0)
    transform = TrainTransform((8, 4), "clip")
    return CaptionDataset([[picture] for picture in pictures], transform, keep, seed=4)


@pytest.fixture
def bilingual(pedestrians) -> tuple[TextPicture, TextPicture]:
    """A picture with three captions, and the same with two in another language."""
    path = str(next(pedestrians.image_root.rglob("*.jpg")))
    english = TextPicture(path, 0, ("en0", "en1", "en2"), ("en0 back", "en1 back", None))
    return english, TextPicture(path, 0, ("ch0", "ch1"), (None, "ch1 back"))


def test_a_caption_is_of_a_language_that_is_drawn(bilingual):
    dataset = in_languages(*bilingual)
    assert len(dataset) == 3
    heard = [[dataset[epoch, index].caption for epoch in range(100)] for index in range(3)]
    assert set(heard[0]) == {"en0", "en0 back", "ch0"}
    assert set(heard[1]) == {"en1", "en1 back", "ch1", "ch1 back"}
    assert set(heard[2]) == {"en2", "ch0"}
    for captions in heard:
        chinese = [caption.startswith("ch") for caption in captions]
        assert np.mean(chinese) == pytest.approx(0.5, abs=0.15)
    assert [dataset[epoch, 1].caption for epoch in range(100)] == heard[1]


def test_every_caption_of_every_language_is_heard(bilingual):
    english, chinese = bilingual
    dataset = in_languages(chinese, english)  # two captions, and three
    heard = {dataset[epoch, index].caption for epoch in range(60) for index in range(len(dataset))}
    assert heard >= {*english.captions, *chinese.captions}


def test_the_language_leaves_every_other_draw_alone(bilingual):
    english, _ = bilingual
    plain, both = in_languages(english), in_languages(*bilingual)
    for key in ((epoch, index) for epoch in range(20) for index in range(3)):
        sample, other = plain[key], both[key]
        assert torch.equal(sample.views, other.views)
        assert other.caption in (sample.caption, *bilingual[1].captions, "ch1 back")


def test_a_batch_is_cut_to_its_longest_caption(dataset, tokenizer):
    samples = [dataset[0, index] for index in range(6)]
    batch = TextCollate(tokenizer)(samples)
    longest = int(tokenizer.lengths(tokenizer([sample.caption for sample in samples])).max())
    assert batch.tokens.shape == (6, -(-longest // 8) * 8)
    assert batch.images.shape == (2, 6, 3, 32, 16)
    assert batch.ids.dtype == torch.int64
    assert len(batch) == 6


def test_back_translations_replace_captions_as_often_as_asked():
    augment = TextAugmentation(0.3, random_deletion, strength=0.0)
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
    with pytest.raises(InputError, match=r"absent.jpg does not exist"):
        read_picture(tmp_path / "absent.jpg")


def test_a_truncated_picture_is_named(pedestrians, tmp_path):
    whole = next(pedestrians.image_root.rglob("*.jpg")).read_bytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut.jpg cannot be read"):
        read_picture(cut)


def test_captions_are_cleaned_unless_they_are_to_stay(tokenizer):
    caption, rng = " A (tall) Man.\n", np.random.default_rng(0)
    for clean, expected in ((True, "a tall man"), (False, caption)):
        augment = TextAugmentation(0.0, lambda text, *_: text, strength=0.0, clean=clean)
        assert augment(caption, None, rng) == expected

    class Written(ClipTokenizer):
        def __call__(self, texts, context_length=77):
            self.texts = texts
            return super().__call__(texts, context_length)

    for settings, expected in (({}, "a tall man"), ({"clean": False}, caption)):
        written = Written()
        TokenDataset([caption], written, 77, **settings)[0]
        assert written.texts == [expected]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_users_error_comes_whole_out_of_a_worker(pedestrians, tmp_path, num_workers):
    transform = EvaluationTransform((8, 8), "clip")
    whole = next(pedestrians.image_root.rglob("*.jpg"))
    files = PictureDataset([whole, whole, tmp_path / "absent\n.jpg", whole], transform)
    loader = evaluation_loader(files, batch_size=2, num_workers=num_workers, pin_memory=False)
    seen = []
    with pytest.raises(InputError) as caught:
        seen.extend(loader)
    assert [batch.shape for batch in seen] == [(2, 3, 8, 8)]
    with pytest.raises(InputError) as alone:
        files[2]
    assert str(caught.value) == str(alone.value)
    assert caught.value.in_one_process


class Faulty(PictureDataset):
    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(index) / {}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_programmers_error_keeps_its_traceback(num_workers):
    items = Faulty([Path()] * 2, EvaluationTransform((8, 8), "clip"))
    loader = evaluation_loader(items, batch_size=2, num_workers=num_workers, pin_memory=False)
    try:
        list(loader)
    except TypeError:  # not kept, since it keeps the workers alive
        lines = traceback.format_exc()
    assert "return torch.tensor(index) / {}" in lines


def test_ranks_see_every_item_once():
    class Numbers(PictureDataset):
        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.tensor(index)

    items = Numbers([Path()] * 11, EvaluationTransform((8, 8), "clip"))
    seen = [
        int(value)
        for rank in range(3)
        for batch in evaluation_loader(
            items, batch_size=2, num_workers=0, pin_memory=False, rank=rank, world_size=3
        )
        for value in batch
    ]
    assert sorted(seen) == list(range(11))
