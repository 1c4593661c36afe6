"""Runs with random weights, as a training leaves them on the disk."""

from pathlib import Path

import torch

from misc.runtime.checkpoint import BEST, Checkpoint, save_checkpoint
from misc.settings.recipes import dump, to_tree
from misc.settings.sections import Config
from misc.tasks.reid.data import TrainingCounts
from misc.tasks.reid.model import build_clip_reid
from misc.tasks.text.model import always_frozen, describe, new_model
from model.architecture import Architecture
from model.interface import Method
from model.tuning.trained_weights import frozen_hash, trained_state
from tests.backbone_folders import shake


def write_run(folder: Path, config: Config) -> Path:
    """A text-to-image run; of a tuned model the checkpoint holds what was trained alone."""
    torch.manual_seed(0)
    model = new_model(config, None, with_heads=False)
    omitted = always_frozen(config, model) if config.tunes else ()
    held = {name: p.detach().clone() for name, p in model.named_parameters() if name in omitted}
    shake(model)
    model.load_state_dict({**model.state_dict(), **held})
    return _write(folder, config, model, describe(config, model), omitted)


def write_reid_run(folder: Path, config: Config, counts: TrainingCounts) -> Path:
    """A re-identification run."""
    torch.manual_seed(0)
    model = build_clip_reid(config, counts)
    shake(model)
    return _write(folder, config, model, model.describe(), ())


def _write(
    folder: Path,
    config: Config,
    model: Method,
    architecture: Architecture,
    omitted: tuple[str, ...],
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    checkpoint = Checkpoint(
        folder / BEST,
        trained_state(state, omitted),
        architecture,
        "demo",
        1,
        config=to_tree(config),
        frozen_hash=frozen_hash(state, omitted) if omitted else None,
    )
    save_checkpoint(checkpoint.to_tree(), checkpoint.file)
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    return folder
