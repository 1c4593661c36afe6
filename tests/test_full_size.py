"""The published architecture, from an archive in OpenAI's format, against plainly written steps."""

import json
import math

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import main
import options
from misc.build import build_data, build_stages
from misc.datasets.synthetic import write_dataset
from misc.distributed import processes
from model.build import build_criterion, build_model, build_tokenizer
from model.interface import Batch
from tests.archives import VIT_B_16, write_openai_archive

STEPS = 2
RATES = (1e-6, 1e-4)  # the line of the published warm-up, over two steps


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> tuple[str, open_clip.CLIP]:
    file = tmp_path_factory.mktemp("weights") / "ViT-B-16.pt"
    return str(file), write_openai_archive(file, **VIT_B_16)


def reference_losses(clip: open_clip.CLIP, batches: list[Batch]) -> list[float]:
    """Simplified TBPS-CLIP on open_clip's model, with nothing of this project."""
    clip.train()
    clip.visual.conv1.weight.requires_grad_(False)
    trained = [p for p in clip.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.02},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8)
    losses = []
    for step, (batch, rate) in enumerate(zip(batches, RATES, strict=True)):
        tokens = F.pad(batch.tokens, (0, 77 - batch.tokens.shape[1]))
        image = F.normalize(clip.encode_image(batch.images[0]), dim=1)
        text = F.normalize(clip.encode_text(tokens), dim=1)
        logits = clip.logit_scale.exp() * image @ text.T
        hard = (batch.ids[:, None] == batch.ids[None, :]).float()
        hard = hard / hard.sum(dim=1, keepdim=True)
        alpha = 0.5 * step / STEPS
        total = torch.zeros(())
        for direction in (logits, logits.T):
            soft = direction.detach().softmax(dim=1)
            target = alpha * soft + (1 - alpha) * hard
            p = direction.softmax(dim=1)
            n_itc: Tensor = -(target * p.log()).sum(dim=1).mean()
            r_itc: Tensor = (p * (p.log() - (hard + 1e-2).log())).sum(dim=1).mean()
            total = total + (n_itc + r_itc) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        clip.logit_scale.data.clamp_(max=math.log(100))
        losses.append(total.item())
    return losses


def test_vit_b_16_trains_as_the_plain_reference_does(archive, tmp_path):
    """`main.py --simplified` on ViT-B/16 at 224: the first losses are those of the plain steps."""
    source, clip = archive
    written = write_dataset(
        "cuhk-pedes", tmp_path, identities={"train": 2, "test": 2}, images=(2, 2), height=(96, 128)
    )
    settings = [
        "--simplified",
        f"data.annotation_file={written.annotation_file}",
        f"data.image_root={written.image_root}",
        f"model.clip_pretrained={source}",
        *("data.batch_size=4", "data.num_workers=0", "experiment.dropout=0"),
        *("schedule.epoch=1", "log.print_period=1", "--output", str(tmp_path / "run")),
    ]
    command = options.parse(settings)
    config = command.configure()
    with processes("cpu") as own:
        parts = build_data(config), build_tokenizer(config), build_model(config)
        (stage,) = build_stages(config, *parts, build_criterion(config), own)
        batches = list(stage.loader)
    assert len(batches) == STEPS
    main.run(command)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert [row["lr"] for row in rows if "loss" in row] == pytest.approx(RATES)
    assert losses == pytest.approx(reference_losses(clip, batches), rel=1e-4)
    assert rows[-1]["split"] == "test"
