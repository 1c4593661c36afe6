"""Checkpoints of CLIP-ReID, written here as its code writes them."""

import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from errors import InputError
from misc.runtime.checkpoint import Checkpoint, open_checkpoint
from model.clip import CLIP, TextShape
from model.clip_reid import CLIPReID, from_architecture
from model.identity_prompts import IdentityPrompts, read_sentence
from model.resnet import ResNetShape
from model.weights.published.clip_reid import (
    fit_side_information,
    from_clip_reid,
    to_clip_reid,
)
from model.weights.published.format import Geometry, PublishedWeights
from tests import GOLDEN_FILES
from text_utils.tokenizer import ClipTokenizer

GOLDEN = np.load(GOLDEN_FILES / "tiny_clipreid_vit.npz")
SIZE = (64, 32)  # not told by the weights
NECKS = ("bottleneck.num_batches_tracked", "bottleneck_proj.num_batches_tracked")
TEXT = TextShape(64, 1, 1, context_length=20, vocab_size=49408)


def read_published_reid(file: Path, *geometry: object) -> Checkpoint:
    return open_checkpoint(file, geometry=lambda _: Geometry(*geometry))


@pytest.fixture
def theirs() -> dict[str, Tensor]:
    """The golden weights, of a ViT for four cameras, as a state dict has them."""
    names = [name for name in GOLDEN.files if name.startswith("weights/")]
    weights = {name.removeprefix("weights/"): torch.tensor(GOLDEN[name]) for name in names}
    return weights | {name: torch.tensor(5) for name in NECKS}


def small_resnet(image_size: tuple[int, int] = (64, 32)) -> CLIPReID:
    torch.manual_seed(0)
    vision = ResNetShape(16, (1, 2, 1, 1), heads=8, image_size=image_size, last_stride=1)
    clip = CLIP(vision, TEXT, embed_dim=48)
    prompts = IdentityPrompts(read_sentence(clip.text, ClipTokenizer(), "person"), 5)
    return CLIPReID(clip.visual, clip.embed_dim, clip.activation, 5, prompts=prompts)


@pytest.fixture
def write(tmp_path):
    """Write weights as `torch.save(model.state_dict())` does; the result is the file."""

    def write(state: dict[str, Tensor]) -> Path:
        file = tmp_path / "ViT-B-16_60.pth"
        torch.save(OrderedDict(state), file)
        return file

    return write


def assert_same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        assert torch.equal(tensor, second[name]), name


def baseline(state: dict[str, Tensor]) -> dict[str, Tensor]:
    text = ("prompt_learner.", "text_encoder.")
    return {name: value for name, value in state.items() if not name.startswith(text)}


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "module."])
def test_features_are_those_of_the_published_code(theirs, write, prefix):
    file = write({prefix + name: value for name, value in theirs.items()})
    published = read_published_reid(file, SIZE)
    assert published.recipe == "CLIP-ReID"
    assert published.architecture.num_cameras == 4
    model = from_architecture(published.architecture)
    model.load_state_dict(published.state)
    assert model.describe() == published.architecture
    features = model.eval().encode_image(torch.tensor(GOLDEN["in/images"]))
    expected = torch.tensor(GOLDEN["s16/eval_concat_before"])
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    model.fix_text_features()
    expected = torch.tensor(GOLDEN["text/all_class_text_features"])
    torch.testing.assert_close(model.text_features, expected, rtol=1e-4, atol=1e-4)


def test_round_trips_are_bitwise(theirs):
    """There and back from either side, with and without text; halves stay halves."""
    halves = {name: value.half() for name, value in theirs.items()}
    for state in (theirs, halves, baseline(theirs)):
        assert_same_state(to_clip_reid(from_clip_reid(state)), state)
    for model in (small_resnet(), from_architecture(replace(small_resnet().describe(), text=None))):
        ours = model.state_dict()
        published = to_clip_reid(ours)
        assert_same_state(from_clip_reid(published), ours)
        assert {name.split(".")[0] for name in published} <= {
            "image_encoder",
            "prompt_learner",
            "text_encoder",
            "bottleneck",
            "bottleneck_proj",
            "classifier",
            "classifier_proj",
        }


@torch.no_grad()
@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("image_size", [(64, 32), (64, 64)])
def test_resnet(write, image_size, with_text):
    model = small_resnet(image_size).eval()
    state = to_clip_reid(model.state_dict())
    assert state["prompt_learner.token_prefix"].shape == (1, 5, 64)
    assert state["prompt_learner.token_suffix"].shape == (1, 11, 64)
    file = write(state if with_text else baseline(state))
    published = read_published_reid(file, image_size if image_size == (64, 32) else None)
    assert (published.architecture.text is not None) == with_text
    again = from_architecture(published.architecture).eval()
    again.load_state_dict(published.state)
    images = torch.randn(2, 3, *image_size)
    assert torch.equal(again.encode_image(images), model.encode_image(images))


def test_side_information_of_a_resnet_is_ignored_as_by_its_code(write):
    state = to_clip_reid(small_resnet().state_dict())
    alone = read_published_reid(write(state), (64, 32))
    held = read_published_reid(write(state | {"cv_embed": torch.randn(6, 512)}), (64, 32))
    assert held.architecture == alone.architecture
    assert held.state.keys() == alone.state.keys()
    assert held.architecture.num_cameras == 0


def test_a_resnet_for_another_image_size_is_refused(write):
    file = write(to_clip_reid(small_resnet().state_dict()))
    for arguments in ((None,), ((64, 64),), (SIZE, 16)):
        with pytest.raises(InputError, match=r"8 cells of 16 x 16 .* data.image_size"):
            read_published_reid(file, *arguments)


def test_overlapping_patches(theirs, write):
    theirs["image_encoder.positional_embedding"] = torch.zeros(1 + 210, 64)
    file = write(theirs)
    vision = read_published_reid(file, (256, 128), 12).architecture.vision
    assert (vision.image_size, vision.stride) == ((256, 128), 12)
    with pytest.raises(InputError, match=r"210 patches, but .* stride 16 has 16 x 8: .*stride"):
        read_published_reid(file, (256, 128))


def test_side_information_of_views(theirs, write):
    """Of 3 cameras and 8 views; a ninth view, of pictures without one, is each camera's mean."""
    rows = torch.randn(24, 64)
    file = write(theirs | {"cv_embed": rows})

    def read(cameras: int, views: int) -> tuple[Tensor, int, int]:
        published = read_published_reid(file, SIZE)
        assert published.architecture.num_cameras == 24  # the file does not tell
        weights = PublishedWeights(published.state, published.architecture)
        state, architecture = fit_side_information(weights, cameras, views)
        from_architecture(architecture).load_state_dict(state)
        embedding = state["side_information.embedding"]
        return embedding, architecture.num_cameras, architecture.num_views

    for known, numbers in (((3, 8), [3, 8]), ((24, 8), [24, 1])):
        embedding, *found = read(*known)
        assert torch.equal(embedding, rows)
        assert found == numbers
    embedding, *found = read(3, 9)
    assert found == [3, 9]
    for camera in range(3):
        held = rows[8 * camera : 8 * camera + 8]
        assert torch.equal(embedding[9 * camera : 9 * camera + 8], held)
        torch.testing.assert_close(embedding[9 * camera + 8], held.mean(dim=0))
    embedding, *found = read(3, 1)
    assert found == [3, 1]
    torch.testing.assert_close(embedding, rows.unflatten(0, (3, 8)).mean(dim=1))
    for other in ((3, 11), (5, 1)):  # of other data, which the caller sees from the numbers
        assert read(*other)[1:] == (24, 1)
    del theirs["cv_embed"]
    published = read_published_reid(write(theirs), SIZE)
    weights = PublishedWeights(published.state, published.architecture)
    architecture = fit_side_information(weights, 3, 9).architecture
    assert (architecture.num_cameras, architecture.num_views) == (0, 1)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("image_encoder.proj", None, "missing image_encoder.proj"),
        ("image_encoder.ln_post.bias", None, "missing image_encoder.ln_post.bias"),
        ("prompt_learner.cls_ctx", None, "missing prompt_learner.cls_ctx"),
        ("prompt_learner.token_prefix", None, "missing prompt_learner.token_prefix"),
        ("classifier.weight", None, "missing classifier.weight"),
        ("bottleneck_proj.weight", torch.zeros(()), r"bottleneck_proj.weight \(\) instead of 1"),
        ("prompt_learner.token_suffix", torch.zeros(68, 64), r"\(68, 64\) instead of 3 dim"),
        ("cv_embed", torch.zeros(64), r"cv_embed \(64,\) instead of 2 dimensions"),
        ("cv_embed", torch.zeros(4, 32), r"cv_embed \(4, 32\) instead of \(4, 64\)"),
        ("classifier_proj.weight", torch.zeros(8, 32), r"\(8, 32\) instead of \(7, 32\)"),
        ("image_encoder.extra", torch.zeros(1), "unexpected image_encoder.extra"),
        ("simclr_mlp.0.weight", torch.zeros(1), "unexpected simclr_mlp.0.weight"),
    ],
)
def test_tensors_that_do_not_fit_are_named(theirs, write, name, value, told):
    theirs[name] = value
    file = write({name: value for name, value in theirs.items() if value is not None})
    with pytest.raises(InputError, match=told) as caught:
        read_published_reid(file, SIZE)
    assert str(file) in str(caught.value)


class Trap:
    """Unpickled by anything that runs pickles, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist"),
        (b"no archive", "cannot be read safely: it is damaged"),
        (torch.zeros(3), "holds a Tensor, not a checkpoint"),
        ({"model": {"encode_text.token_embedding.weight": torch.zeros(3, 4)}}, "missing clip"),
        ({"image_encoder.conv1.weight": torch.zeros(3, 4)}, "nor of a known one"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, content, told):
    file = tmp_path / "other.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(InputError, match=told):
        read_published_reid(file)


def test_a_pickle_is_not_run(theirs, tmp_path):
    file, mark = tmp_path / "published.pth", tmp_path / "mark"
    torch.save(theirs | {"trap": Trap(mark)}, file)
    with pytest.raises(InputError, match="cannot be read safely"):
        read_published_reid(file)
    assert not mark.exists()
