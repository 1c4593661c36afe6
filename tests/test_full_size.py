"""Trainings by main.py from an archive in OpenAI's format, against plainly written steps.

The plain steps are on open_clip's towers and torch alone: losses, new modules, rates and optimizer
are written here again, from the paper (Cao et al. 2024, arXiv 2308.10045).
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import main
from misc.synthetic.writing import write_dataset
from misc.training.trainer import Trainer
from model.interface import TextBatch
from tests.archives import FULL_WIDTH, write_openai_archive
from tests.command_line import parse

Parameters = dict[str, Tensor]
Row = dict[str, float]

WEIGHTS = {"nitc": 1.0, "ritc": 1.0, "citc": 0.1, "ss": 0.4, "id": 1.0, "mlm": 1.0}
STEPS = 2  # of an epoch
NEW = (
    "classifier.",
    "mlm_decoder.cross_attn.",
    "mlm_decoder.transformer.",
    "mlm_decoder.to_words.",
)


def linear(x: Tensor, weights: Parameters, name: str) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def layer_norm(x: Tensor, weights: Parameters, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def attention(*qkv: Tensor) -> Tensor:
    """Every token attends to every other; heads of 64."""
    q, k, v = (x.unflatten(2, (-1, 64)).transpose(1, 2) for x in qkv)
    return ((q @ k.mT / 8).softmax(dim=3) @ v).transpose(1, 2).flatten(2)


def word_logits(text: Tensor, image: Tensor, weights: Parameters) -> Tensor:
    """(B, L, vocabulary) from every token's feature; a decoder of one block."""
    image = layer_norm(image, weights, "ln_image")
    inputs = layer_norm(text, weights, "ln_text"), image, image
    projections = (weights[f"cross_attn.in_proj_{kind}"].chunk(3) for kind in ("weight", "bias"))
    x = attention(*(F.linear(*layer) for layer in zip(inputs, *projections, strict=True)))
    x = linear(x, weights, "cross_attn.out_proj")
    block = "transformer.blocks.0"
    y = layer_norm(x, weights, f"{block}.ln_1")
    y = attention(*(linear(y, weights, f"{block}.attn.{name}_proj") for name in "qkv"))
    x = x + linear(y, weights, f"{block}.attn.out_proj")
    y = linear(layer_norm(x, weights, f"{block}.ln_2"), weights, f"{block}.mlp.c_fc")
    x = x + linear(quick_gelu(y), weights, f"{block}.mlp.c_proj")
    x = linear(layer_norm(x, weights, "ln_post"), weights, "to_words.0")
    return linear(layer_norm(quick_gelu(x), weights, "to_words.2"), weights, "to_words.3")


def contrast(logits: Tensor, ids: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """N-ITC and R-ITC of scaled similarities (B, B), picture by caption."""
    hard = (ids[:, None] == ids[None, :]).float()
    hard = hard / hard.sum(dim=1, keepdim=True)
    n_itc, r_itc = torch.zeros(()), torch.zeros(())
    for direction in (logits, logits.T):
        p = direction.softmax(dim=1)
        target = alpha * p.detach() + (1 - alpha) * hard
        n_itc = n_itc - (target * p.log()).sum(dim=1).mean() / 2
        r_itc = r_itc + (p * (p.log() - (hard + 1e-2).log())).sum(dim=1).mean() / 2
    return n_itc, r_itc


def two_views(anchors: Tensor, others: Tensor) -> Tensor:
    """Each anchor against the other views of all and the same views of all others."""
    same = anchors @ anchors.T
    same = same.masked_fill(torch.eye(len(same), dtype=torch.bool), -math.inf)
    logits = torch.cat([anchors @ others.T, same], dim=1) / 0.1
    return F.cross_entropy(logits, torch.arange(len(same)))


def plain_losses(
    clip: open_clip.CLIP, heads: Parameters, batch: TextBatch, alpha: float
) -> dict[str, Tensor]:
    """Every loss that the batch and the heads are there for."""
    pictures = list(batch.images) + ([] if batch.simclr_images is None else [*batch.simclr_images])
    raw, patches = clip.visual(torch.cat(pictures))  # patches after ln_post
    tokens = F.pad(batch.tokens, (0, 77 - batch.tokens.shape[1]))
    x = clip.token_embedding(tokens) + clip.positional_embedding
    x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask)) @ clip.text_projection
    raw_text = x[torch.arange(len(x)), tokens.argmax(dim=1)]

    raw_views = raw.split(len(batch))
    image, text = F.normalize(raw_views[0], dim=1), F.normalize(raw_text, dim=1)
    views = [F.normalize(view, dim=1) for view in raw_views[: len(batch.images)]]
    scale = clip.logit_scale.exp()
    pairs = [contrast(scale * view @ text.T, batch.ids, alpha) for view in views]
    cross = image @ text.T
    losses = {
        "nitc": torch.stack([n_itc for n_itc, _ in pairs]).mean(),
        "ritc": pairs[0][1],
        "citc": (image @ image.T - text @ text.T).square().mean() / 4
        + (cross - cross.T).square().mean() / 4,
    }
    if batch.simclr_images is not None:
        hidden = [F.relu(linear(view, heads, "simclr_mlp.0")) for view in raw_views[-2:]]
        a, b = (F.normalize(linear(x, heads, "simclr_mlp.2"), dim=1) for x in hidden)
        losses["ss"] = (two_views(a, b) + two_views(b, a)) / 2
    if "classifier.weight" in heads:
        logits = (linear(features, heads, "classifier") for features in (raw_views[0], raw_text))
        losses["id"] = sum(F.cross_entropy(x, batch.ids) for x in logits) / 2
    if batch.labels is not None:
        decoder = {n.removeprefix("mlm_decoder."): p for n, p in heads.items() if "mlm" in n}
        projected = patches[: len(batch)] @ clip.visual.proj
        dense = torch.cat([raw_views[0][:, None], projected], dim=1)
        logits = word_logits(x, dense, decoder)
        losses["mlm"] = F.cross_entropy(logits.transpose(1, 2), batch.labels, ignore_index=-100)
    return losses


def plain_steps(
    clip: open_clip.CLIP,
    heads: Parameters,
    batches: list[TextBatch],
    names: Sequence[str],
    decay: float,
) -> list[Row]:
    """Losses, rate and log scale of each step from the weights of `clip` on, which it changes.

    Args:
        heads: the first weights of the new modules.
        names: of the losses that are trained; `loss` is their weighted sum.
        decay: of AdamW; the rates are the published ones.
    """
    clip.train()
    clip.visual.output_tokens = True
    clip.visual.conv1.weight.requires_grad_(False)
    heads = {name: weight.clone().requires_grad_() for name, weight in heads.items()}
    trained = {n: p for n, p in clip.named_parameters() if p.requires_grad} | heads
    groups = [
        {
            "params": [parameter],
            "weight_decay": decay if parameter.ndim > 1 else 0.0,
            "times": 5 if name.startswith(NEW) else 1,
        }
        for name, parameter in trained.items()
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8)
    rows: list[Row] = []
    for step, batch in enumerate(batches):
        rate = 1e-6 + (1e-4 - 1e-6) * step / (STEPS - 1)
        if step >= STEPS:
            done = (step - STEPS) / (len(batches) - STEPS)
            rate = 5e-6 + (1e-4 - 5e-6) * (1 + math.cos(math.pi * done)) / 2
        losses = plain_losses(clip, heads, batch, alpha=0.5 * min(1, step / STEPS))
        loss = sum(WEIGHTS[name] * losses[name] for name in names)
        row = {name: losses[name].item() for name in names} | {"loss": loss.item(), "lr": rate}
        rows.append(row | {"logit_scale": clip.logit_scale.item()})
        if step + 1 < len(batches):  # nothing is read after the last
            for group in optimizer.param_groups:
                group["lr"] = rate * group["times"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            clip.logit_scale.data.clamp_(max=math.log(100))
    return rows


@dataclass(frozen=True)
class Run:
    """A recorded training of main.py."""

    batches: list[TextBatch]
    heads: Parameters  # as the training began
    rows: list[Row]  # a step each, with the log scale before it


@pytest.fixture
def train(tmp_path, monkeypatch) -> Callable[..., Run]:
    """Run main.py with the weights of an archive, two steps an epoch."""
    batches, heads, scales = [], {}, []
    step = Trainer.step

    def look(self: Trainer, batch: TextBatch, number: int) -> object:
        if not batches:
            weights = self.model.state_dict()
            heads.update({n: w.clone() for n, w in weights.items() if not n.startswith("clip.")})
        batches.append(batch)
        scales.append(self.model.clip.logit_scale.item())
        return step(self, batch, number)

    monkeypatch.setattr(Trainer, "step", look)

    def train(archive: Path, *words: str, batch: int = 4) -> Run:
        written = write_dataset(
            "cuhk-pedes",
            tmp_path,
            identities={"train": STEPS, "test": 1},
            images=(batch // 2, batch // 2),  # of two captions each
            height=(96, 128),
        )
        settings = [
            f"data.annotation_file={written.annotation_file}",
            f"data.image_root={written.image_root}",
            f"model.clip_pretrained={archive}",
            *(f"data.batch_size={batch}", "data.num_workers=0", "experiment.dropout=0"),
            *("log.print_period=1", "log.figures=false", "evaluation.ranked_lists=1"),
            *("--device=cpu", f"--output={tmp_path / 'run'}", *words),
        ]
        main.run(parse(settings))
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
        steps = [line for line in lines if "loss" in line]
        rows = [row | {"logit_scale": s} for row, s in zip(steps, scales, strict=True)]
        assert lines[-1]["split"] == "test"
        return Run(batches, heads, rows)

    return train


def check(rows: list[Row], expected: list[Row]) -> None:
    """To 2e-5: float32 leaves some 1e-6 here, a log scale that is not clamped 6e-5."""
    for step, (row, plain) in enumerate(zip(rows, expected, strict=True)):
        for name, value in plain.items():
            assert row[name] == pytest.approx(value, rel=2e-5), (name, step)


SIMPLIFIED = ("nitc", "ritc")
FULL = (*SIMPLIFIED, "citc", "ss")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--simplified"], SIMPLIFIED),
        ([], FULL),
        (["experiment={id: true, mlm: true, cmt_depth: 1}"], (*FULL, "id", "mlm")),
    ],
    ids=["simplified", "full", "full with id and mlm"],
)
def test_small_towers_train_as_the_plain_steps_do(train, tmp_path, words, names):
    """Into the second epoch, and with a decay that shows."""
    clip = write_openai_archive(tmp_path / "small.pt", embed_dim=128, logit_scale=math.log(100))
    run = train(
        tmp_path / "small.pt",
        *("data.image_size=32", "model.embed_dim=128", "experiment.simclr_mlp=[128, 32, 128]"),
        *("schedule.epoch=2", "schedule.weight_decay=10", *words),
    )
    assert len(run.rows) == 2 * STEPS
    check(run.rows, plain_steps(clip, run.heads, run.batches, names, decay=10))


@pytest.mark.parametrize("sizes", FULL_WIDTH)
def test_towers_of_full_width_train_as_the_plain_steps_do(train, tmp_path, sizes):
    """The published recipe at 224, for two steps."""
    clip = write_openai_archive(tmp_path / "ViT-B-16.pt", **sizes)
    run = train(tmp_path / "ViT-B-16.pt", "schedule.epoch=1", batch=2)
    assert [len(run.batches), *run.batches[0].images.shape] == [STEPS, 2, 2, 3, 224, 224]
    check(run.rows, plain_steps(clip, run.heads, run.batches, FULL, decay=0.02))
