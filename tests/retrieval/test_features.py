from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from errors import InputError
from misc.retrieval.features import Features, load_features, save_features


@pytest.fixture
def features() -> Features:
    generator = torch.Generator().manual_seed(0)
    return Features(
        image=F.normalize(torch.randn(3, 4, generator=generator)),
        text=F.normalize(torch.randn(5, 4, generator=generator)),
        image_ids=torch.tensor([7, 8, 9]),
        text_ids=torch.tensor([7, 7, 8, 9, 9]),
        image_paths=("cam_a/1.jpg", "cam_a/2.jpg", "行人/3.jpg"),
        captions=('a "man"', "a\nwoman", "红衣", "", "x"),
        model_hash="0" * 64,
    )


def test_round_trip(tmp_path, features):
    file = tmp_path / "new" / "test.safetensors"
    save_features(file, features)
    for read in (load_features(str(file)), load_features(file, "0" * 64)):
        for field in fields(Features):
            ours, theirs = getattr(features, field.name), getattr(read, field.name)
            if isinstance(ours, Tensor):
                assert torch.equal(ours, theirs)
                assert ours.dtype == theirs.dtype
            else:
                assert ours == theirs
    before = file.read_bytes()
    save_features(file, features)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_views_are_written(tmp_path, features):
    whole = torch.arange(24.0).reshape(4, 6)
    views = replace(features, image=whole.t()[:3], text=torch.ones(1, 4).expand(5, 4))
    save_features(tmp_path / "views", views)
    assert torch.equal(load_features(tmp_path / "views").image, whole.t()[:3])


def test_features_of_another_checkpoint_are_refused(tmp_path, features):
    save_features(tmp_path / "file", features)
    with pytest.raises(InputError, match="the features of another checkpoint"):
        load_features(tmp_path / "file", "1" * 64)


@pytest.mark.parametrize("kind", ["absent", "text", "safetensors", "damaged"])
def test_what_is_no_file_of_features_is_refused(tmp_path, features, kind):
    file = tmp_path / "file"
    if kind == "text":
        file.write_text("text")
    elif kind == "safetensors":
        save_file({"image": torch.ones(2)}, file)
    elif kind == "damaged":
        save_features(file, features)
        file.write_bytes(file.read_bytes()[:-8])
    reason = "does not exist" if kind == "absent" else "is not a features file"
    with pytest.raises(InputError, match=f"file {reason}"):
        load_features(file)


def test_a_place_that_cannot_be_written(tmp_path, features):
    (tmp_path / "plain").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        save_features(tmp_path / "plain" / "file", features)


def test_lengths_must_agree(features):
    with pytest.raises(ValueError, match="picture features"):
        replace(features, image_ids=torch.tensor([1]))
    with pytest.raises(ValueError, match="caption features"):
        replace(features, captions=())
