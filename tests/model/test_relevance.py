"""Relevance of patches: against a slow loop, and the tower as it was before and after."""

import pytest
import torch
import torch.nn.functional as F

from model.relevance import attention_recorded, patch_relevance
from model.vit import VisionShape, VisionTransformer

SHAPE = VisionShape(width=8, layers=3, heads=2, patch_size=4, stride=4, image_size=(12, 8))


@pytest.fixture
def tower() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(SHAPE, embed_dim=6).eval()


def slow_relevance(tower: VisionTransformer, image: torch.Tensor, direction: torch.Tensor):
    """Each head, row and column by itself, with the gradient of a small step (double precision)."""
    tower, image, direction = tower.double(), image.double(), direction.double()
    tokens = tower.ln_pre(tower.embed(image[None]))[0]
    layers, heads, length = SHAPE.layers, SHAPE.heads, len(tokens)
    added = torch.zeros(layers, heads, length, length, dtype=torch.float64, requires_grad=True)
    x, attention = tokens, []
    for number, block in enumerate(tower.transformer.blocks):
        h = block.ln_1(x)
        outputs = []
        for head in range(heads):
            own = slice(head * 4, head * 4 + 4)
            q, k, v = (getattr(block.attn, f"{n}_proj")(h)[:, own] for n in "qkv")
            rows = [
                torch.stack([(q[i] * k[j]).sum() / 2 for j in range(length)]).softmax(0)
                for i in range(length)
            ]
            weights = torch.stack(rows)
            attention.append(weights)
            outputs.append((weights + added[number, head]) @ v)
        x = x + block.attn.out_proj(torch.cat(outputs, dim=1))
        x = x + block.mlp(block.ln_2(x))
    score = (F.normalize(tower.project(x[0]), dim=0) * direction).sum()
    (gradient,) = torch.autograd.grad(score, added)
    relevance = torch.eye(length, dtype=torch.float64)
    for number in range(layers):
        cam = torch.zeros(length, length, dtype=torch.float64)
        for head in range(heads):
            for i in range(length):
                for j in range(length):
                    product = gradient[number, head, i, j] * attention[number * heads + head][i, j]
                    cam[i, j] += max(product.item(), 0) / heads
        relevance = relevance + cam @ relevance
    return relevance[0, 1:].view(SHAPE.grid)


def test_relevance_is_that_of_a_slow_loop(tower):
    images, directions = torch.randn(2, 3, 12, 8), F.normalize(torch.randn(2, 6), dim=1)

    def score(pictures: torch.Tensor) -> torch.Tensor:
        return (F.normalize(tower.project(tower(pictures)[:, 0]), dim=-1) * directions).sum(dim=1)

    found = patch_relevance(tower, images, score)
    assert found.shape == (2, 3, 2)
    assert found.min() >= 0
    assert found.max() > 0
    for image, direction, relevance in zip(images, directions, found, strict=True):
        expected = slow_relevance(tower, image, direction)
        torch.testing.assert_close(relevance.double(), expected.detach(), rtol=1e-4, atol=1e-7)
        tower.float()


def test_a_frozen_tower_with_checkpointing_gives_the_same(tower):
    images, direction = torch.randn(1, 3, 12, 8), torch.randn(6)

    def score(pictures: torch.Tensor) -> torch.Tensor:
        return tower.project(tower(pictures)[:, 0]) @ direction

    expected = patch_relevance(tower, images, score)
    tower.requires_grad_(False).transformer.gradient_checkpointing = True
    assert torch.equal(patch_relevance(tower, images, score), expected)
    assert tower.transformer.gradient_checkpointing


@torch.no_grad()
def test_the_ordinary_path_is_as_before(tower):
    images = torch.randn(2, 3, 12, 8)
    before = tower(images)
    with attention_recorded(tower.transformer) as attention:
        torch.testing.assert_close(tower(images), before)
    assert [weights.shape for weights in attention] == [(2, 2, 7, 7)] * 3
    assert torch.equal(tower(images), before)
    assert len(attention) == 3  # nothing is recorded any more
