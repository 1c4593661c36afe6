"""The first step of IRRA's and RDE's recipes at full size, against plainly written ones.

The plain steps are on open_clip's towers and torch alone, from the papers (Jiang & Ye 2023, arXiv
2303.12501; Qin et al. 2024, arXiv 2308.09911).
"""

import math
from dataclasses import dataclass
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import main
import options
from misc.synthetic.writing import write_dataset
from misc.training.trainer import Trainer
from model.interface import TextBatch
from tests.archives import FULL_WIDTH, VIT_B_16, write_openai_archive
from tests.command_line import parse
from tests.conftest import Interruption
from tests.test_full_size import Parameters, attention, layer_norm, linear, quick_gelu


@dataclass(frozen=True)
class Step:
    """The first step of a training: its batch, the weights before, its losses and labels."""

    batch: TextBatch
    weights: Parameters
    losses: dict[str, float]
    clean: Tensor | None  # (B,)


@pytest.fixture
def clip(tmp_path, request) -> tuple[Path, open_clip.CLIP]:
    """Towers of some sizes with random weights: an archive, and open_clip's model of it."""
    file = tmp_path / "ViT-B-16.pt"
    return file, write_openai_archive(file, **request.param)


@pytest.fixture
def first_step(clip, tmp_path, monkeypatch):
    """Run main.py with a recipe until its first step is done."""
    written = write_dataset(
        "cuhk-pedes", tmp_path, identities={"train": 3, "test": 1}, images=(2, 2), height=(96, 128)
    )

    def first_step(recipe: str) -> Step:
        found = []
        step = Trainer.step

        def look(self: Trainer, batch: TextBatch, number: int) -> object:
            weights = {name: w.clone() for name, w in self.model.state_dict().items()}
            division = self.stage.division
            clean = division.labels[batch.indices].float() if division else None
            losses, *_ = step(self, batch, number)
            found.append(Step(batch, weights, {n: x.item() for n, x in losses.items()}, clean))
            raise Interruption

        monkeypatch.setattr(Trainer, "step", look)
        settings = [
            *("--config", str(options.RECIPES / recipe), f"--output={tmp_path / 'run'}"),
            f"data.annotation_file={written.annotation_file}",
            f"data.image_root={written.image_root}",
            f"model.clip_pretrained={clip[0]}",
            *("data.batch_size=4", "data.global_batch_size=4", "data.num_workers=0"),
            *("data.test_batch_size=4", "--device=cpu"),
        ]
        with pytest.raises(Interruption):
            main.run(parse(settings))
        return found[0]

    return first_step


@dataclass(frozen=True)
class Tokens:
    """Every token of a tower in the joint space, and the last block's attention among them."""

    dense: Tensor  # (B, L, D)
    attention: Tensor  # (B, L, L), the mean over the heads


def attentions(block: torch.nn.Module, before: Tensor, mask: Tensor | None) -> Tensor:
    return block.attn(before, before, before, attn_mask=mask, average_attn_weights=True)[1]


@torch.no_grad()
def plain_tokens(clip: open_clip.CLIP, step: Step) -> tuple[Tokens, Tokens]:
    """Of the images, whose positions are as the training interpolated them, and of the captions."""
    visual, seen = clip.visual, []
    hooks = [
        tower.resblocks[-1].ln_1.register_forward_hook(lambda _, __, out: seen.append(out))
        for tower in (visual.transformer, clip.transformer)
    ]
    positions = visual.positional_embedding
    visual.positional_embedding = torch.nn.Parameter(
        step.weights["clip.visual.positional_embedding"]
    )
    visual.output_tokens = True
    pooled, patches = visual(step.batch.images[0])
    visual.positional_embedding = positions
    image = torch.cat([pooled[:, None], patches @ visual.proj], dim=1)
    tokens = F.pad(step.batch.tokens, (0, 77 - step.batch.tokens.shape[1]))
    x = clip.token_embedding(tokens) + clip.positional_embedding
    text = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask)) @ clip.text_projection
    for hook in hooks:
        hook.remove()
    visual_block, text_block = visual.transformer.resblocks[-1], clip.transformer.resblocks[-1]
    return (
        Tokens(image, attentions(visual_block, seen[0], None)),
        Tokens(text, attentions(text_block, seen[1], clip.attn_mask)),
    )


def of(weights: Parameters, prefix: str) -> Parameters:
    return {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}


def plain_sdm(image: Tensor, text: Tensor, ids: Tensor) -> Tensor:
    similarity = 50 * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    target = (ids[:, None] == ids).float()
    target = target / target.sum(dim=1)
    loss = torch.zeros(())
    for logits in (similarity, similarity.T):
        p = logits.softmax(dim=1)
        loss = loss + (p * (p.log() - (target + 1e-8).log())).sum(dim=1).mean()
    return loss


def plain_word_logits(text: Tensor, image: Tensor, weights: Parameters) -> Tensor:
    """Four blocks; (B, L, vocabulary)."""
    image = layer_norm(image, weights, "ln_image")
    inputs = layer_norm(text, weights, "ln_text"), image, image
    projections = (weights[f"cross_attn.in_proj_{kind}"].chunk(3) for kind in ("weight", "bias"))
    x = attention(*(F.linear(*layer) for layer in zip(inputs, *projections, strict=True)))
    x = linear(x, weights, "cross_attn.out_proj")
    for number in range(4):
        block = f"transformer.blocks.{number}"
        y = layer_norm(x, weights, f"{block}.ln_1")
        y = attention(*(linear(y, weights, f"{block}.attn.{name}_proj") for name in "qkv"))
        x = x + linear(y, weights, f"{block}.attn.out_proj")
        y = linear(layer_norm(x, weights, f"{block}.ln_2"), weights, f"{block}.mlp.c_fc")
        x = x + linear(quick_gelu(y), weights, f"{block}.mlp.c_proj")
    x = linear(layer_norm(x, weights, "ln_post"), weights, "to_words.0")
    return linear(layer_norm(quick_gelu(x), weights, "to_words.2"), weights, "to_words.3")


@pytest.mark.parametrize("clip", [VIT_B_16], ids=["ViT-B/16"], indirect=True)
def test_irra_takes_the_plain_step(clip, first_step):
    step = first_step("irra.yaml")
    batch, weights = step.batch, step.weights
    assert list(batch.images.shape) == [1, 4, 3, 384, 128]
    assert ((batch.labels != -100).sum(dim=1) >= 1).all()
    image, text = plain_tokens(clip[1], step)
    ends = batch.tokens.argmax(dim=1)
    image_features, text_features = image.dense[:, 0], text.dense[range(4), ends]
    logits = [linear(x, weights, "classifier") for x in (image_features, text_features)]
    words = plain_word_logits(text.dense, image.dense, of(weights, "mlm_decoder."))
    expected = {
        "sdm": plain_sdm(image_features, text_features, batch.ids),
        "id": sum(F.cross_entropy(x, batch.ids) for x in logits) / 2,
        "mlm": F.cross_entropy(words.transpose(1, 2), batch.labels, ignore_index=-100),
    }
    assert step.losses.keys() == {"loss", *expected}
    for name, loss in expected.items():
        assert step.losses[name] == pytest.approx(loss.item(), rel=1e-4), name
    assert step.losses["loss"] == pytest.approx(sum(expected.values()).item(), rel=1e-4)


def plain_selection(x: Tensor, weight: Tensor, count: int, lengths: list[int], head: Parameters):
    """Of tokens (B, L, D) those of most weight (B, L); batch norm over all that are chosen."""
    chosen = torch.stack(
        [
            row[sorted(range(len(w)), key=lambda i, w=w: (-float(w[i]), i))[:count]]
            for row, w in zip(x, weight, strict=True)
        ]
    )
    chosen = chosen / (chosen.norm(dim=2, keepdim=True) + 1e-8)
    hidden = linear(chosen, head, "mlp.0")
    flat = hidden.flatten(0, 1)
    normed = (flat - flat.mean(dim=0)) / (flat.var(dim=0, correction=0) + 1e-5).sqrt()
    hidden = (normed * head["mlp.1.weight"] + head["mlp.1.bias"]).relu().view_as(hidden)
    out = linear(chosen, head, "linear") + linear(hidden, head, "mlp.3")
    return torch.stack([row[:n].amax(dim=0) for row, n in zip(out, lengths, strict=True)])


def plain_tal(image: Tensor, text: Tensor, ids: Tensor, clean: Tensor) -> Tensor:
    s = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    same = ids[:, None] == ids
    total = torch.zeros(())
    for sims in (s, s.T):
        e = (sims / 0.015).exp()
        positive = (e * same / (e * same).sum(dim=1, keepdim=True) * sims).sum(dim=1)
        hinge = 0.1 - positive + 0.015 * (e * ~same).sum(dim=1).log()
        total = total + (clean * hinge.clamp(min=0)).sum()
    return total


@pytest.mark.parametrize("clip", FULL_WIDTH, indirect=True)
def test_rde_takes_the_plain_step(clip, first_step):
    step = first_step("rde.yaml")
    batch, weights = step.batch, step.weights
    assert batch.tokens.shape == (4, 77)
    image, text = plain_tokens(clip[1], step)
    ends = batch.tokens.argmax(dim=1)
    count = int(192 * 0.3)
    image_selection = plain_selection(
        *(image.dense[:, 1:], image.attention[:, 0, 1:], count, [count] * 4),
        of(weights, "image_selector."),
    )
    weight = text.attention[range(4), ends]
    weight[:, 0] = weight[range(4), ends] = -1.0
    count = int(75 * 0.3)
    lengths = [min(count, int(end) - 1) for end in ends]
    text_selection = plain_selection(
        *(text.dense, weight, count, lengths), of(weights, "text_selector.")
    )
    first = plain_tal(image.dense[:, 0], text.dense[range(4), ends], batch.ids, step.clean)
    second = plain_tal(image_selection, text_selection, batch.ids, step.clean)
    assert step.losses.keys() == {"loss", "tal"}
    assert step.clean.any()
    assert second > 0
    assert step.losses["tal"] == pytest.approx((first + second).item(), rel=1e-4)
    assert math.isclose(step.losses["loss"], step.losses["tal"], rel_tol=1e-6)
