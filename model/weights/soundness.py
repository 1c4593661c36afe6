"""Soundness of the tensors that a file holds, whatever they are for."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from errors import InputError
from model.trees import Tree, leaves

MOST_SHARED = 4  # times the size of the file that its tensors, which may share values, can take


def is_sound_zip(file: Path) -> bool:
    """Whether a file is a zip archive; torch's are, since 1.6.

    Raises:
        zipfile.BadZipFile: it is one that torch did not write: compressed, which may make much out
            of little, or damaged.
    """
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise zipfile.BadZipFile(f"{file} is compressed")
    return True


def check_tensors(file: Path, tree: Tree) -> None:
    """Check that a file holds as many values as its tensors claim, in a finite tree.

    A few bytes can describe a tensor of any size by strides of 0, by sharing, or by no storage.

    Raises:
        InputError: it does not.
    """
    most = MOST_SHARED * file.stat().st_size
    try:
        tensors = [leaf for _, leaf in leaves(tree) if isinstance(leaf, Tensor)]
    except ValueError as error:
        raise InputError(f"{file} cannot be read: {error}, so it is no file of weights") from None
    if any(t.layout != torch.strided or t.is_quantized or t.device.type != "cpu" for t in tensors):
        raise InputError(
            f"{file} holds tensors that are sparse, quantized or without values: give plain ones"
        )
    if sum(tensor.nbytes for tensor in tensors) > most:
        raise InputError(
            f"{file} holds fewer values than its tensors claim: it is damaged, get it again"
        )


def check_finite(source: str | Path, state: Mapping[str, Tensor]) -> None:
    """Check that all weights are numbers.

    Raises:
        InputError: one is NaN or infinite.
    """
    for name, tensor in state.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        wide = tensor.float() if tensor.itemsize == 1 else tensor  # no kernel for 8 bits
        if not all(math.isfinite(bound) for bound in wide.aminmax()):
            raise InputError(
                f"{source} holds values that are not finite, in {name}: its training diverged, or "
                "it is damaged; give other weights"
            )
