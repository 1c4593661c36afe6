"""CLIP-ReID trained by main.py from an archive in OpenAI's format, against plainly written stages.

The plain stages are on open_clip's towers and torch alone: prompts, side information, losses, rates
and optimizer are written here again, from the paper (Li et al. 2023, arXiv 2211.13977).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import main
import options
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.synthetic.writing import write_reid_dataset
from misc.training.trainer import Trainer
from model.interface import PromptBatch, ReIDBatch
from tests.archives import FULL_WIDTH, write_openai_archive
from tests.command_line import parse

PEOPLE, EACH = 2, 2  # in a batch
# Of the two epochs, each a step: a line to the second one, where the cosine is at its end.
PROMPT_RATES = ((1e-5 + 3.5e-4) / 2, 1e-6)
PICTURE_RATES = (1.1 / 2, 1.0)  # of the stage's own
STAGES = ("prompts", "images")
Parameters = dict[str, Tensor]


def encode_images(
    clip: open_clip.CLIP, images: Tensor, side: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The class token after the last block but one, after the last one normalised, and projected.

    Args:
        side: added to the class token, (B, width).
    """
    visual = clip.visual
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    first = visual.class_embedding.expand(len(x), 1, -1)
    if side is not None:
        first = first + side[:, None]
    x = visual.ln_pre(torch.cat([first, x], dim=1) + visual.positional_embedding)
    *below, last = visual.transformer.resblocks
    for block in below:
        x = block(x)
    top = visual.ln_post(last(x)[:, 0])
    return x[:, 0], top, top @ visual.proj


def encode_words(clip: open_clip.CLIP, words: Tensor) -> Tensor:
    """The text features of identities by their words (B, 4, width)."""
    tokens = open_clip.tokenize(["A photo of a X X X X person."] * len(words))
    x = clip.token_embedding(tokens)
    x = torch.cat([x[:, :5], words, x[:, 9:]], dim=1) + clip.positional_embedding
    x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask))
    return x[torch.arange(len(x)), tokens.argmax(dim=1)] @ clip.text_projection


def contrast(anchors: Tensor, others: Tensor, ids: Tensor) -> Tensor:
    """Mean over anchors of the mean over what shows the same identity."""
    rows = []
    for anchor, identity in zip(anchors, ids, strict=True):
        log_p = (others @ anchor).log_softmax(dim=0)
        rows.append(-log_p[ids == identity].mean())
    return torch.stack(rows).mean()


def hardest(features: Tensor, ids: Tensor) -> Tensor:
    """Triplets of the farthest of the same and the nearest of the others, with a margin of 0.3."""
    rows = []
    for feature, identity in zip(features, ids, strict=True):
        distances = (features - feature).square().sum(dim=1).clamp(min=1e-12).sqrt()
        gap = distances[ids == identity].max() - distances[ids != identity].min()
        rows.append(F.relu(gap + 0.3))
    return torch.stack(rows).mean()


def classify(logits: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(logits, ids, label_smoothing=0.1)


def normalise(features: Tensor, weight: Tensor) -> Tensor:
    mean, variance = features.mean(dim=0), features.var(dim=0, unbiased=False)
    return weight * (features - mean) / (variance + 1e-5).sqrt()


def plain_prompts(
    clip: open_clip.CLIP, words: Tensor, batches: list[PromptBatch]
) -> tuple[list[float], Tensor]:
    """The loss of each step of the first stage, and the words that it ends with."""
    words = words.clone().requires_grad_()
    optimizer = torch.optim.Adam([words], weight_decay=1e-4)
    losses = []
    for rate, batch in zip(PROMPT_RATES, batches, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        text = encode_words(clip, words[batch.ids])
        image = batch.image_features
        loss = contrast(image, text, batch.ids) + contrast(text, image, batch.ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, words.detach()


def plain_pictures(
    clip: open_clip.CLIP,
    new: Parameters,
    text: Tensor,
    batches: list[ReIDBatch],
    rate: float,
    decay: float,
) -> tuple[list[dict[str, float]], Parameters]:
    """The losses of each step of the second stage from the weights of `clip` on, which it changes;
    and what `new` has become.

    Args:
        new: the first weights of what is not of CLIP.
        text: the text features of all identities.
    """
    new = {name: weight.clone().requires_grad_() for name, weight in new.items()}
    trained = dict(clip.visual.named_parameters()) | new
    groups = [
        {"params": [p], "times": 2 if name.endswith("bias") else 1} for name, p in trained.items()
    ]
    optimizer = torch.optim.Adam(groups, weight_decay=decay)
    rows = []
    for step, batch in enumerate(batches):
        side = new["side_information.embedding"][batch.cameras]
        below, top, projected = encode_images(clip, batch.images, side)
        logits = [
            normalise(features, new[f"{head}.neck.weight"]) @ new[f"{head}.classifier.weight"].T
            for head, features in (("image_head", top), ("projected_head", projected))
        ]
        losses = {
            "id": sum(classify(each, batch.ids) for each in logits),
            "triplet": sum(hardest(each, batch.ids) for each in (below, top, projected)),
            "i2t": classify(projected @ text.T, batch.ids),
        }
        loss = 0.25 * losses["id"] + losses["triplet"] + losses["i2t"]
        rows.append({name: value.item() for name, value in losses.items()} | {"loss": loss.item()})
        for group in optimizer.param_groups:
            group["lr"] = rate * PICTURE_RATES[step] * group["times"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return rows, {name: weight.detach() for name, weight in new.items()}


@dataclass
class Run:
    """A recorded training of main.py."""

    batches: dict[str, list] = field(default_factory=dict)  # by stage
    weights: dict[str, Parameters] = field(default_factory=dict)  # as the stage began
    rows: list[dict] = field(default_factory=list)
    ended: Parameters = field(default_factory=dict)  # the weights after all


@pytest.fixture
def train(tmp_path, monkeypatch) -> Callable[..., Run]:
    """Run main.py on 4 pictures of 2 people with the weights of an archive."""
    run, step = Run(), Trainer.step

    def look(self: Trainer, batch: PromptBatch | ReIDBatch, number: int) -> object:
        name = self.stage.name
        if name not in run.batches:
            state = self.model.state_dict()
            run.weights[name] = {n: w.clone() for n, w in state.items()}
        run.batches.setdefault(name, []).append(batch)
        return step(self, batch, number)

    monkeypatch.setattr(Trainer, "step", look)
    people = {"train": PEOPLE, "test": 1}
    write_reid_dataset("market1501", tmp_path, identities=people, images=(4, 4), height=(96, 128))
    for file in sorted((tmp_path / "Market-1501-v15.09.15" / "bounding_box_train").iterdir()):
        if int(file.stem.split("_")[2]) % 4 >= EACH:
            file.unlink()

    def train(archive: Path, *words: str) -> Run:
        settings = [
            *("--config", str(options.RECIPES / "clipreid_vit_sie_olp.yaml")),
            *(f"reid.root={tmp_path}", f"model.clip_pretrained={archive}"),
            *(f"data.global_batch_size={PEOPLE * EACH}", f"reid.images_per_identity={EACH}"),
            *(f"stages.{name}.schedule={{epoch: 2, epoch_warmup: 2}}" for name in STAGES),
            *("data.num_workers=0", "log.print_period=1", "--device=cpu"),
            *(f"--output={tmp_path / 'run'}", "evaluation.ranked_lists=0", "log.figures=false"),
            *words,
        ]
        main.run(parse(settings))
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
        run.rows += [line for line in lines if "loss" in line]
        assert lines[-1]["split"] == "test"
        run.ended |= open_checkpoint(tmp_path / "run" / LAST).state
        return run

    return train


def overlap(clip: open_clip.CLIP, stride: int, grid: tuple[int, int]) -> None:
    """Patches that overlap, with positions between those that the tower has."""
    visual = clip.visual
    visual.conv1.stride = (stride, stride)
    first, cells = visual.positional_embedding.detach().split([1, visual.grid_size[0] ** 2])
    cells = cells.T.unflatten(1, visual.grid_size)[None]
    cells = F.interpolate(cells, grid, mode="bilinear", align_corners=False)
    visual.positional_embedding = torch.nn.Parameter(torch.cat([first, cells[0].flatten(1).T]))


def read_pictures(folder: Path, size: tuple[int, int]) -> Tensor:
    """As the first stage encodes them."""
    files = sorted((folder / "Market-1501-v15.09.15" / "bounding_box_train").iterdir())
    pictures = [Image.open(file).resize(size[::-1], Image.Resampling.BILINEAR) for file in files]
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def check_run(
    run: Run, clip: open_clip.CLIP, pictures: Tensor, rate: float = 5e-6, decay: float = 1e-4
) -> None:
    with torch.no_grad():
        expected = encode_images(clip, pictures)[2]
    for batch in run.batches["prompts"]:
        order = torch.cdist(batch.image_features, expected).argmin(dim=1)
        assert sorted(order.tolist()) == list(range(len(expected)))
        torch.testing.assert_close(batch.image_features, expected[order], rtol=1e-4, atol=1e-4)
    words = run.weights["prompts"]["prompts.words"]
    losses, words = plain_prompts(clip, words, run.batches["prompts"])
    found = [row["loss"] for row in run.rows if row["stage"] == "prompts"]
    assert found == pytest.approx(losses, rel=2e-5)

    new = ("image_head.", "projected_head.", "side_information.")
    weights = run.weights["images"]
    trained = ("weight", "embedding")
    new = {n: w for n, w in weights.items() if n.startswith(new) and n.endswith(trained)}
    with torch.no_grad():
        text = encode_words(clip, words)
    rows, ended = plain_pictures(clip, new, text, run.batches["images"], rate, decay)
    for row, plain in zip([r for r in run.rows if r["stage"] == "images"], rows, strict=True):
        assert {name: row[name] for name in plain} == pytest.approx(plain, rel=1e-4)
    ended |= {
        f"visual.{name}": clip.visual.get_parameter(name) for name in ("proj", "conv1.weight")
    }
    for name, weight in ended.items():
        moved = (run.ended[name] - weights[name]).norm()
        assert moved > 0
        assert (run.ended[name] - weight).norm() < 2e-2 * moved, name


def test_small_towers_train_as_the_plain_stages_do(train, tmp_path):
    """At a rate and with a decay that show."""
    clip = write_openai_archive(tmp_path / "small.pt", embed_dim=32)
    run = train(
        tmp_path / "small.pt",
        *("data.image_size=[32, 16]", "model.stride=4", "model.embed_dim=32"),
        "stages.images.schedule={epoch: 2, epoch_warmup: 2, lr: 1e-3, weight_decay: 0.5}",
    )
    overlap(clip, 4, (7, 3))
    check_run(run, clip, read_pictures(tmp_path, (32, 16)), rate=1e-3, decay=0.5)


@pytest.mark.parametrize("sizes", FULL_WIDTH)
def test_side_information_and_overlap_at_full_width_train_as_the_plain_stages_do(
    train, tmp_path, sizes
):
    """The published recipe at 256 x 128 in 210 patches, for two steps of either stage."""
    clip = write_openai_archive(tmp_path / "ViT-B-16.pt", **sizes)
    run = train(tmp_path / "ViT-B-16.pt")
    assert run.batches["images"][0].images.shape == (4, 3, 256, 128)
    overlap(clip, 12, (21, 10))
    check_run(run, clip, read_pictures(tmp_path, (256, 128)))
