"""Checkpoints of this project with one byte changed: each is refused, or reads as it was."""

import io
import struct
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from misc.runtime.checkpoint import Checkpoint, open_checkpoint, save_checkpoint
from model.trees import Tree, leaves
from tests.fuzz._weights import small_content

COUNT, SAMPLE = 400, 30


def case(random: Random, folder: Path) -> None:
    """Half of the places are anywhere, half outside the tensors: names, sizes, plain values."""
    content, beside = written()
    place = random.randrange(len(content)) if random.random() < 0.5 else random.choice(beside)
    file = folder / "checkpoint.pt"
    file.write_bytes(content)
    whole = values(open_checkpoint(file))
    damaged = bytearray(content)
    damaged[place] = (damaged[place] + 1) % 256
    file.write_bytes(damaged)
    found = values(open_checkpoint(file))
    assert found.keys() == whole.keys(), f"byte {place} goes unnoticed"
    for name, value in whole.items():
        assert same(value, found[name]), f"byte {place} changes {name}, unnoticed"


@cache
def written() -> tuple[bytes, list[int]]:
    """A checkpoint in the middle of a training, and the places that are no tensor's."""
    content = small_content()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint.pt"
        save_checkpoint(content | training(content["model"]), file)
        stored = file.read_bytes()
    tensors = set()
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        for info in archive.infolist():
            if "/data/" in info.filename:
                lengths = struct.unpack_from("<HH", stored, info.header_offset + 26)
                start = info.header_offset + 30 + sum(lengths)  # after name and padding
                tensors.update(range(start, start + info.file_size))
    return stored, [place for place in range(len(stored)) if place not in tensors]


def training(weights: Tree) -> Tree:
    parameters = [nn.Parameter(tensor.clone()) for tensor in weights.values()]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    position = {"epoch": 1, "step": 7, "best": 12.5, "best_epoch": 1}
    return {"optimizer": optimizer.state_dict(), "scaler": {}, "position": position}


def values(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        path: leaf.clone() if isinstance(leaf, Tensor) else leaf
        for path, leaf in leaves(checkpoint.to_tree())
    }


def same(first: object, second: object) -> bool:
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return type(first) is type(second) and first == second
    return first.dtype == second.dtype and torch.equal(first, second)
