"""The command line of `python -m misc.export`."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from pkgutil import resolve_name

from errors import InputError
from misc.export.hub import check_repository, push
from misc.export.model_card import write_card
from misc.export.output_folder import whole_folder
from misc.export.published import export_clip_reid, export_tbps_clip
from misc.export.trained_model import TrainedModel
from misc.runtime.script import Parser, given_path, run_script

Writer = Callable[[TrainedModel, Path], None]
FILES: dict[str, Writer] = {"tbps-clip": export_tbps_clip, "clip-reid": export_clip_reid}
FOLDERS = {  # imported when they are asked for, with the libraries that they need
    "huggingface": "misc.export.huggingface:write_huggingface",
    "peft": "misc.export.adapter:write_adapter",
    "onnx": "misc.export.onnx_programs:write_onnx",
    "torch": "misc.export.torch_programs:write_torch",
}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(build_parser(), export, arguments)


def build_parser() -> Parser:
    """The options."""
    parser = Parser(
        prog="python -m misc.export",
        description="Write a trained checkpoint for other programs (docs/export.md).",
    )
    add = parser.add_argument
    add("checkpoint", type=given_path, help="a checkpoint, or the folder of a run")
    add("output", type=given_path, help="the file (tbps-clip, clip-reid) or folder to write")
    known = "the names of TBPS-CLIP's code (default), or another format"
    add("--format", choices=(*FILES, *FOLDERS), default="tbps-clip", help=known)
    known = "of ONNX: fp32 (default), fp16 or int8; the loss in R1 is printed"
    add("--precision", choices=("fp32", "fp16", "int8"), default="fp32", help=known)
    known = "print R1 on the run's test split, in PyTorch and in ONNX, also of fp32"
    add("--measure", action="store_true", help=known)
    known = "upload the folder to the Hugging Face hub as this repository; a new one is private"
    add("--push", metavar="ORG/NAME", help=known)
    add("--public", action="store_true", help="of --push: a new repository is public")
    add(
        "overrides",
        nargs="*",
        default=[],
        metavar="section.key=value",
        help="settings over those of the run, if its frozen weights lie elsewhere now",
    )
    return parser


def export(asked: argparse.Namespace) -> None:
    """Carry out a command line.

    Raises:
        InputError: the model or the options do not fit the format, or nothing can be written.
    """
    _check_options(asked)
    trained = TrainedModel.open(asked.checkpoint, asked.overrides)
    if asked.format in FILES:
        FILES[asked.format](trained, asked.output)
    else:
        write: Callable[..., None] = resolve_name(FOLDERS[asked.format])
        if asked.format == "onnx":
            write = partial(write, precision=asked.precision, measures=asked.measure)
        title = asked.push or asked.output.name
        with whole_folder(asked.output) as folder:
            write(trained, folder)
            write_card(trained, folder, asked.format, title)
    print(f"{trained.file} -> {asked.output}")
    if asked.push:
        print(f"{asked.output} -> {push(asked.output, asked.push, asked.public)}")


def _check_options(asked: argparse.Namespace) -> None:
    if asked.precision != "fp32" and asked.format != "onnx":
        raise InputError(f"--precision {asked.precision} goes with --format onnx alone")
    if asked.measure and asked.format != "onnx":
        raise InputError("--measure goes with --format onnx alone")
    if asked.push and asked.format in FILES:
        raise InputError(f"--push uploads a folder: give --format {' or '.join(FOLDERS)}")
    if asked.public and not asked.push:
        raise InputError("--public goes with --push alone")
    if asked.push:
        check_repository(asked.push)
