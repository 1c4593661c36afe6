"""Lower precisions of ONNX files, by onnxruntime's own tools."""

from pathlib import Path
from typing import Literal

from misc.export.messages import quiet
from misc.runtime.atomic import atomic_write


def change_precision(file: Path, precision: Literal["fp16", "int8"]) -> None:
    """Replace an ONNX file by one of a lower precision; inputs and features keep their types.

    fp16 rounds weights and activations. int8 rounds the weights of matrix products and embeddings
    to 8 bits, and activations by the range that each batch has (dynamic quantization).
    """
    if precision == "fp16":
        _to_half(file)
    else:
        _to_int8(file)
    file.with_name(f"{file.name}.data").unlink(missing_ok=True)  # the fp32 weights of a large one


def _to_half(file: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(str(file), keep_io_types=True)
    with atomic_write(file) as partial:
        onnx.save(model, str(partial))


def _to_int8(file: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It advises a preprocessing that static quantization needs.
    with quiet(), atomic_write(file) as partial:
        quantize_dynamic(str(file), str(partial), weight_type=QuantType.QInt8)
