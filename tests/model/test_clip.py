import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from errors import InputError
from model.clip import CLIP, TextShape, VisionShape
from model.weights.key_maps import from_openai
from tests import GOLDEN_FILES
from text_utils.tokenizer import ClipTokenizer

GOLDEN = np.load(GOLDEN_FILES / "tiny_irra.npz")
VISION = VisionShape(64, 2, 2, patch_size=16, stride=16, image_size=(64, 32))
TEXT = TextShape(64, 2, 2, context_length=20, vocab_size=300)


def golden(name):
    return torch.from_numpy(GOLDEN[f"s16/{name}"])


@pytest.fixture(scope="module")
def published():
    prefix = "s16/weights/"
    names = [key.removeprefix(prefix) for key in GOLDEN.files if key.startswith(prefix)]
    clip = CLIP(replace(VISION, heads=1), replace(TEXT, heads=1), embed_dim=64).eval()
    # The file has no logit scale: IRRA's temperature is a constant.
    state = {name: golden(f"weights/{name}") for name in names}
    clip.load_state_dict({**from_openai(state), "logit_scale": clip.logit_scale.data})
    return clip


@torch.no_grad()
def test_golden_features(published):
    image, every_patch = published.encode_image(golden("images"), dense=True)
    text, every_word = published.encode_text(golden("tokens"), dense=True)
    assert_allclose(image, golden("image_feat"), atol=2e-6)
    assert_allclose(every_patch, golden("image_dense"), atol=2e-6)
    assert_allclose(text, golden("text_feat"), atol=2e-6)
    assert_allclose(every_word, golden("text_dense"), atol=2e-6)


@torch.no_grad()
def test_pooled_features_alone_are_those_beside_dense_ones(published):
    images, tokens = golden("images"), golden("tokens")
    assert_allclose(
        published.encode_image(images), published.encode_image(images, dense=True)[0], atol=1e-6
    )
    assert_allclose(
        published.encode_text(tokens), published.encode_text(tokens, dense=True)[0], atol=1e-6
    )


@torch.no_grad()
def test_only_the_pooled_token_is_projected_unless_dense(published):
    shapes = []
    norms = (published.visual.ln_post, published.text.ln_final)
    hooks = [
        norm.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape)))
        for norm in norms
    ]
    published.encode_image(golden("images"))
    published.encode_text(golden("tokens"))
    for hook in hooks:
        hook.remove()
    assert shapes == [(3, 64), (3, 64)]


@torch.no_grad()
def test_cut_text_changes_features_by_rounding_only():
    torch.manual_seed(0)
    text = TextShape(64, 2, 2, context_length=77, vocab_size=49408)
    clip = CLIP(VISION, text, embed_dim=32).eval()
    tokenizer = ClipTokenizer()
    tokens = tokenizer(["a man in red!", "a woman with a white bag and two blue shoes !!! ! !"])
    trimmed = tokenizer.trim(tokens)
    assert trimmed.shape == (2, 16)
    assert_allclose(clip.encode_text(trimmed), clip.encode_text(tokens), atol=1e-6)


@pytest.mark.parametrize(
    ("image_size", "stride", "grid"),
    [((64, 32), 16, (4, 2)), ((256, 128), 12, (21, 10)), ((224, 224), 16, (14, 14))],
)
def test_grids(image_size, stride, grid):
    shape = VisionShape(32, 1, 1, patch_size=16, stride=stride, image_size=image_size)
    assert shape.grid == grid
    clip = CLIP(shape, TEXT, embed_dim=8)
    image, dense = clip.encode_image(torch.randn(2, 3, *image_size), dense=True)
    assert image.shape == (2, 8)
    assert dense.shape == (2, 1 + grid[0] * grid[1], 8)


def test_patches_are_read_row_by_row():
    shape = VisionShape(8, 1, 1, patch_size=16, stride=16, image_size=(32, 48))
    tower = CLIP(shape, TEXT, embed_dim=8).visual
    image = torch.zeros(1, 3, 32, 48)
    image[:, :, :16, 16:32] = 1  # first row, second column
    changed = (tower.embed(image) != tower.embed(torch.zeros_like(image))).any(dim=2)
    assert changed.squeeze(0).nonzero().flatten().tolist() == [1 + 1]


def test_image_smaller_than_a_patch_is_refused():
    with pytest.raises(InputError, match=r"\(64, 8\) pixels is smaller than a patch of 16"):
        VisionShape(32, 1, 1, patch_size=16, stride=16, image_size=(64, 8))


def test_every_parameter_is_trained_and_the_scale_starts_as_published():
    torch.manual_seed(0)
    clip = CLIP(VISION, TEXT, embed_dim=16)
    assert clip.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    image = clip.encode_image(golden("images"))
    text = clip.encode_text(golden("tokens"))
    (clip.logit_scale.exp() * image @ text.t()).square().mean().backward()
    assert [name for name, p in clip.named_parameters() if p.grad is None] == []


def test_checkpointing_gives_equal_gradients():
    def gradients(checkpointing):
        torch.manual_seed(0)
        clip = CLIP(VISION, TEXT, embed_dim=16, gradient_checkpointing=checkpointing)
        loss = clip.encode_image(golden("images")) * clip.encode_text(golden("tokens"))
        loss.sum().backward()
        return {name: p.grad for name, p in clip.named_parameters() if p.grad is not None}

    plain, recomputed = gradients(False), gradients(True)
    assert plain.keys() == recomputed.keys()
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


@torch.no_grad()
def test_autocast_keeps_the_stream_in_float32(published):
    with torch.autocast("cpu", torch.bfloat16):
        assert published.visual(golden("images")).dtype == torch.float32
        assert published.text(golden("tokens")).dtype == torch.float32
        image = published.encode_image(golden("images"))
    assert_allclose(image.float(), golden("image_feat"), atol=0.05)
