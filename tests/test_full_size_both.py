"""The first step of one model for sentences and pictures, against a plainly written one.

The plain step is on open_clip's towers and torch alone. The second class token has a pass of its
own there, in which it asks the patches and itself.
"""

from dataclasses import dataclass
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import main
import options
from misc.synthetic.writing import write_dataset, write_reid_dataset
from misc.training.trainer import Trainer
from model.interface import JointBatch
from tests.archives import VIT_B_16, write_openai_archive
from tests.command_line import parse
from tests.conftest import Interruption
from tests.test_full_size import Parameters
from tests.test_full_size_irra import plain_sdm
from tests.test_full_size_reid import classify, hardest, normalise

HEADS = ("image_head", "projected_head")


@dataclass(frozen=True)
class Step:
    """A batch, the weights before, losses and gradients."""

    batch: JointBatch
    weights: Parameters
    losses: dict[str, float]
    gradients: Parameters


@pytest.fixture
def first_step(tmp_path, monkeypatch):
    """Run main.py until the gradients of its first step are there, from another second token: at
    the start, it has the features of the first.
    """
    people = {"identities": {"train": 3, "test": 1}, "height": (96, 128)}
    described = write_dataset("cuhk-pedes", tmp_path, images=(2, 2), **people)
    write_reid_dataset("market1501", tmp_path, images=(4, 4), **people)

    def first_step(archive: Path, *words: str) -> Step:
        found = []

        def look(self: Trainer, batch: JointBatch, number: int) -> object:
            token = self.model.clip.visual.second_class
            token.data += 0.1 * torch.randn(token.shape, generator=torch.Generator().manual_seed(0))
            weights = {name: w.clone() for name, w in self.model.state_dict().items()}
            losses = {name: x.item() for name, x in self.backward(batch, number).items()}
            named = self.model.named_parameters()
            gradients = {name: p.grad for name, p in named if p.grad is not None}
            found.append(Step(batch, weights, losses, gradients))
            raise Interruption

        monkeypatch.setattr(Trainer, "step", look)
        settings = [
            *("--config", str(options.RECIPES / "both.yaml"), f"--output={tmp_path / 'run'}"),
            f"data.annotation_file={described.annotation_file}",
            *(f"data.image_root={described.image_root}", f"reid.root={tmp_path}"),
            *(f"model.clip_pretrained={archive}", "reid.images_per_identity=2", "--device=cpu"),
            *("data.batch_size=4", "data.global_batch_size=4", "data.num_workers=0", *words),
        ]
        with pytest.raises(Interruption):
            main.run(parse(settings))
        return found[0]

    return first_step


def plain_picture(clip: open_clip.CLIP, images: Tensor, second: Tensor) -> tuple[Tensor, ...]:
    """The second class token before the last block, after it, and projected."""
    visual = clip.visual
    patches = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(images), 1, -1), patches], dim=1)
    x = visual.ln_pre(x + visual.positional_embedding)
    token = visual.ln_pre(second.expand(len(images), 1, -1))
    for block in visual.transformer.resblocks:
        below, h, own = token, block.ln_1(x), block.ln_1(token)
        seen = torch.cat([h[:, 1:], own], dim=1)
        token = token + block.attn(own, seen, seen, need_weights=False)[0]
        token = token + block.mlp(block.ln_2(token))
        x = x + block.attn(h, h, h, need_weights=False)[0]
        x = x + block.mlp(block.ln_2(x))
    top = visual.ln_post(token[:, 0])
    return below[:, 0], top, top @ visual.proj


def plain_losses(clip: open_clip.CLIP, step: Step, new: Parameters) -> dict[str, Tensor]:
    pairs, pictures = step.batch.pairs, step.batch.pictures
    tokens = F.pad(pairs.tokens, (0, clip.positional_embedding.shape[0] - pairs.tokens.shape[1]))
    image, text = clip.encode_image(pairs.images[0]), clip.encode_text(tokens)
    logits = [x @ new["classifier.weight"].T + new["classifier.bias"] for x in (image, text)]
    below, top, projected = plain_picture(clip, pictures.images, new["clip.visual.second_class"])
    people = [
        normalise(x, new[f"reid.{head}.neck.weight"]) @ new[f"reid.{head}.classifier.weight"].T
        for head, x in zip(HEADS, (top, projected), strict=True)
    ]
    return {
        "text.sdm": plain_sdm(image, text, pairs.ids),
        "text.id": sum(F.cross_entropy(x, pairs.ids) for x in logits) / 2,
        "reid.id": sum(classify(x, pictures.ids) for x in people),
        "reid.triplet": sum(hardest(x, pictures.ids) for x in (below, top, projected)),
    }


def check_step(step: Step, clip: open_clip.CLIP) -> None:
    positions = step.weights["clip.visual.positional_embedding"]
    clip.visual.positional_embedding = torch.nn.Parameter(positions)
    names = ["classifier.weight", "classifier.bias", "clip.visual.second_class"]
    names += [f"reid.{head}.{part}.weight" for head in HEADS for part in ("neck", "classifier")]
    new = {name: step.weights[name].clone().requires_grad_() for name in names}
    losses = plain_losses(clip, step, new)
    total = sum(losses.values())
    assert step.losses == pytest.approx(
        {"loss": total.item()} | {name: loss.item() for name, loss in losses.items()}, rel=1e-4
    )
    total.backward()
    expected = {name: weight.grad for name, weight in new.items()}
    for name in ("class_embedding", "positional_embedding", "conv1.weight", "proj"):
        expected[f"clip.visual.{name}"] = clip.visual.get_parameter(name).grad
    expected["clip.text.projection"] = clip.text_projection.grad
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        far = (step.gradients[name] - gradient).norm()
        assert far < 1e-3 * gradient.norm(), name


def test_small_towers_take_the_plain_step(first_step, tmp_path):
    clip = write_openai_archive(tmp_path / "small.pt", embed_dim=32)
    sizes = ("data.image_size=[32, 16]", "model.embed_dim=32")
    check_step(first_step(tmp_path / "small.pt", *sizes), clip)


@pytest.mark.slow
def test_vit_b_16_takes_the_plain_step(first_step, tmp_path):
    clip = write_openai_archive(tmp_path / "ViT-B-16.pt", **VIT_B_16)
    step = first_step(tmp_path / "ViT-B-16.pt")
    assert step.batch.pairs.images.shape == (1, 4, 3, 384, 128)
    assert step.batch.pictures.images.shape == (4, 3, 384, 128)
    check_step(step, clip)
