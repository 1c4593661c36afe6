"""A model as ONNX, for onnxruntime, TensorRT, OpenVINO and others."""

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from errors import InputError
from misc.export.accuracy import compare_accuracy
from misc.export.messages import quiet
from misc.export.onnx_precision import change_precision
from misc.export.programs_folder import write_description
from misc.export.towers import Tower, build_towers, check_features, check_rounded, trace
from misc.export.trained_model import TrainedModel
from misc.search.exported import Exported
from misc.search.onnx_folder import OnnxTowers, open_onnx

OnnxPrecision = Literal["fp32", "fp16", "int8"]
NEEDED = ("onnx", "onnxscript", "onnxruntime")
INPUTS = {"image": "images", "text": "tokens"}  # names of the programs' inputs
MOST_BYTES = 1_900_000_000  # in one file; the format ends at 2 GiB


def write_onnx(
    trained: TrainedModel,
    folder: Path,
    precision: OnnxPrecision = "fp32",
    measures: bool = False,
) -> None:
    """Write `image.onnx`, and `text.onnx` if there is a text tower, with their descriptions.

    Features in fp32 are compared with PyTorch's; of a lower precision their least cosine and the
    loss in R1 on the test split are printed, too.

    Args:
        measures: print R1 of fp32, too.

    Raises:
        InputError: a package is missing, torch.export cannot follow a tower, ONNX lacks an
            operation of it, or its features differ.
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise InputError(
            "misc.export --format onnx needs onnx, onnxscript and onnxruntime: pip install "
            "onnx onnxscript onnxruntime"
        )
    towers = build_towers(trained)
    for tower in towers:
        convert(tower, folder / f"{tower.name}.onnx")
    write_description(trained, folder, towers[0].width, precision)
    runs = _open_towers(folder)
    for tower in towers:
        check_features(tower, runs[tower.name], f"{tower.name}.onnx")
    if precision != "fp32":
        round_towers(towers, folder, precision)
    if measures or precision != "fp32":
        compare_accuracy(trained, open_onnx(folder).encoder, precision)


def round_towers(towers: Sequence[Tower], folder: Path, precision: Literal["fp16", "int8"]) -> None:
    """Replace the programs in a folder by those of a lower precision, and run them.

    Raises:
        InputError: features are not finite.
    """
    for tower in towers:
        change_precision(folder / f"{tower.name}.onnx", precision)
    runs = _open_towers(folder)
    for tower in towers:
        check_rounded(tower, runs[tower.name], f"{tower.name}.onnx ({precision})")


def _open_towers(folder: Path) -> dict[str, Callable[[Tensor], Tensor]]:
    """The programs in a folder by the names of their towers."""
    written = OnnxTowers(folder, Exported.read(folder))
    return {"image": written.encode_image, "text": written.encode_text}


def convert(tower: Tower, file: Path) -> None:
    """Write a tower as ONNX.

    Raises:
        InputError: torch.export cannot follow it, or ONNX lacks an operation.
    """
    program = trace(tower)
    is_large = 4 * sum(each.numel() for each in program.state_dict.values()) > MOST_BYTES
    try:
        with quiet():
            converted = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=[INPUTS[tower.name]],
                output_names=["features"],
                external_data=is_large,
                custom_translation_table={torch.ops.aten.sort.stable: _sort_stably},
            )
    except torch.onnx.OnnxExporterError as error:
        raise InputError(_lacking_operation(tower.name, error)) from error
    assert converted is not None
    converted.save(file, external_data=is_large)


def _sort_stably(
    values: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> Any:
    """`aten.sort.stable`, which torch's exporter lacks, as ONNX's TopK of all values.

    TopK puts the lower index first where values are equal.
    """
    from onnxscript import opset18 as op

    axis = dim % len(values.shape)
    size = op.Shape(values, start=axis, end=axis + 1)
    return op.TopK(values, size, axis=axis, largest=int(descending), sorted=1)


def _lacking_operation(name: str, error: BaseException) -> str:
    """The sentence about a failed conversion; its cause names the operation."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    text = " ".join(map(str, causes))
    found = re.search(r"OpOverload\(op='([\w.:]+)'", text)
    if found is None:
        reason = str(causes[-1]).splitlines()[0][:200]
        return f"the {name} tower cannot be written as ONNX ({reason}): give --format torch"
    return f"ONNX has no operation for {found[1]} of the {name} tower: give --format torch"
