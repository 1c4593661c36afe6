"""Tensors of a TorchScript archive, read without running any of its code.

The archive is a zip. Its `data.pkl` pickles the module tree: objects of classes that the archive
defines itself, whose attributes are tensors, submodules and numbers. Here every such object becomes
a bare `_Node`, and of all other names a pickle may ask for, only those of tensors are known.
"""

import io
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {  # of storages
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """All tensors of an archive by the path of their attribute, on the CPU.

    Raises:
        zipfile.BadZipFile, pickle.UnpicklingError, ...: nearly any error, where the file is damaged
            or asks for more than tensors.
    """
    with zipfile.ZipFile(path) as archive:
        (root,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        tree = _Unpickler(archive, root.removesuffix("data.pkl")).load()
    if not isinstance(tree, _Node):
        raise pickle.UnpicklingError("the archive holds no module")
    return dict(_tensors(tree))


class _Node:
    """A module, without its class's code."""


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows tensors and `_Node`s.

    Args:
        prefix: of the names in the archive.
    """

    def __init__(self, archive: zipfile.ZipFile, prefix: str) -> None:
        content = _stored(archive, f"{prefix}data.pkl")
        for opcode, number, _ in pickletools.genops(content):
            if "PUT" in opcode.name and int(number or 0) > len(content):
                raise pickle.UnpicklingError("a memo of such a size would fill the memory")
        super().__init__(io.BytesIO(content))
        self.archive, self.prefix = archive, prefix
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Node
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module == "torch.jit._pickle":
            return _first
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"the archive asks for {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        """A storage: `("storage", dtype, name of its file, device, number of values)`."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("the archive asks for something else than a storage")
        if key not in self.storages:
            content = bytearray(_stored(self.archive, f"{self.prefix}data/{key}"))
            empty = torch.empty(0, dtype=dtype)
            self.storages[key] = torch.frombuffer(content, dtype=dtype) if count else empty
        return self.storages[key]


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the archive; torch compresses none, and a compressed one may be a bomb."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError(f"{name} is compressed")
    return archive.read(name)


def _rebuild_tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> Tensor:
    return storage.as_strided(size, stride, offset)  # which checks the bounds


def _first(value: Any, *_: object) -> Any:
    """The content of a typed list or dictionary."""
    return value


def _tensors(root: _Node) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a module and of those below it, with their paths."""
    waiting, seen = [("", root)], {id(root)}
    while waiting:
        prefix, node = waiting.pop()
        for name, value in vars(node).items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
            elif isinstance(value, _Node) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{prefix}{name}.", value))
