"""A trained checkpoint in the names of TBPS-CLIP's code, for those who use it.

python -m misc.export runs/config-20240101-120000 tbps_clip.pth
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

import options
from errors import InputError
from misc.runtime.checkpoint import BEST, LAST, Checkpoint, open_checkpoint, save_checkpoint
from misc.runtime.script import Parser, run_script
from misc.tasks.text.model import restored_model, text_architecture
from model.resnet import ResNetShape
from model.tuning.lora import merge_lora
from model.weights.published.tbps_clip import to_tbps_clip
from model.weights.published.text_towers import HEADS


def write_published(state: Mapping[str, Tensor], file: Path) -> None:
    """Write a model's state dict as TBPS-CLIP does: `{"model": ...}`, plain tensors in its names.

    Raises:
        InputError: the model has parts that TBPS-CLIP has no name for, the file exists, or it
            cannot be written.
    """
    foreign = [name for name in state if not name.startswith(("clip.", *HEADS))]
    if foreign:
        raise InputError(
            f"TBPS-CLIP has no place for {foreign[0]} and {len(foreign) - 1} other tensors: export "
            "a model of its two towers and its heads"
        )
    if file.exists():
        raise InputError(f"{file} exists: name another file, or delete this one")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror}): name another file") from error
    save_checkpoint({"model": to_tbps_clip(state)}, file)


def _whole_state(checkpoint: Checkpoint, words: list[str]) -> Mapping[str, Tensor]:
    """The weights of a checkpoint; where LoRA was trained, merged into the frozen ones.

    Args:
        words: settings over its configuration.

    Raises:
        InputError: prompts or adapters were trained.
    """
    names = text_architecture(checkpoint).tuning.names
    if others := [name for name in names if name != "lora"]:
        raise InputError(
            f"{checkpoint.file} has {', '.join(sorted(others))}, which TBPS-CLIP's code does not "
            "know: export a model that is tuned by lora alone, or not at all"
        )
    config = options.parse(words).configure(checkpoint.config)
    if not names:
        return checkpoint.state
    model = restored_model(config, checkpoint, with_heads=False)
    merge_lora(model.clip)
    heads = {k: v for k, v in checkpoint.state.items() if k.startswith(HEADS)}
    return {**model.state_dict(), **heads}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m misc.export",
        description="Write a trained checkpoint in the names of TBPS-CLIP's code.",
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or the folder of a run")
    parser.add_argument("output", type=Path, help="the file to write, such as tbps_clip.pth")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="section.key=value",
        help="settings over those of a run that was tuned, if its frozen weights lie elsewhere now",
    )
    return parser


def _run(asked: argparse.Namespace) -> None:
    checkpoint = open_checkpoint(asked.checkpoint, BEST, LAST, ours_only=True)
    file, architecture = checkpoint.file, text_architecture(checkpoint)
    if architecture.backbone != "clip":  # the only one that TBPS-CLIP has
        raise InputError(
            f"{file} has the backbone {architecture.backbone}, which TBPS-CLIP's code does not "
            "know: export a model of backbone clip"
        )
    if isinstance(architecture.vision, ResNetShape):
        raise InputError(
            f"{file} has a ResNet, and TBPS-CLIP's code a ViT only: export a model with a ViT"
        )
    if architecture.activation != "quickgelu":
        raise InputError(
            f"{file} was trained with the activation {architecture.activation}, and TBPS-CLIP has "
            "QuickGELU only: its features would differ, export a model that was trained with "
            "model.activation=quickgelu"
        )
    write_published(_whole_state(checkpoint, asked.overrides), asked.output)
    print(f"{file} -> {asked.output}")


if __name__ == "__main__":
    sys.exit(main())
