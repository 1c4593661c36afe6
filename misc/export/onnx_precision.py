"""Lower precisions of ONNX files, by onnxruntime's own tools."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from misc.export.messages import quiet


def change_precision(file: Path, precision: Literal["fp16", "int8"]) -> None:
    """Replace an ONNX file by one of a lower precision; inputs and features keep their types.

    fp16 rounds weights and activations. int8 rounds the weights of matrix products, convolutions
    and embeddings to 8 bits, and activations by the range that each batch has (dynamic
    quantization). Weights that lie beside the file, in `FILE.data`, do so afterwards, too.
    """
    data = file.with_name(f"{file.name}.data")
    write = _write_half if precision == "fp16" else _write_int8
    with TemporaryDirectory(dir=file.parent) as folder:
        write(file, Path(folder) / file.name, data.is_file())
        data.unlink(missing_ok=True)
        for written in Path(folder).iterdir():
            written.replace(file.parent / written.name)


def _write_half(file: Path, output: Path, is_large: bool) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(str(file), keep_io_types=True)
    location = f"{output.name}.data"
    onnx.save(model, str(output), save_as_external_data=is_large, location=location)


def _write_int8(file: Path, output: Path, is_large: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():  # it advises a preprocessing that static quantization needs
        quantize_dynamic(
            str(file),
            str(output),
            weight_type=QuantType.QInt8,
            use_external_data_format=is_large,
        )
