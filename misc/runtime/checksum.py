"""Checksums of trees, and of checkpoints: all tensors, and everything beside them."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from errors import InputError
from model.trees import Tree, leaves

FORMAT = 1  # to be raised when a version could not read the files of the next


def sealed(content: Tree) -> Tree:
    """The content of a checkpoint with its format and its checksum."""
    content = {"format": FORMAT, **content}
    return {**content, "checksum": checksum(content)}


def check_seal(file: Path, content: Tree) -> None:
    """Compare a checkpoint with its checksum; the files of older versions have none.

    Raises:
        InputError: they differ, or a later version wrote the file.
    """
    version, sealed = content.get("format"), content.pop("checksum", None)
    if version is None and sealed is None:
        return
    if isinstance(version, int) and version > FORMAT:
        raise InputError(f"{file} was written by a later version of this project: update this one")
    try:
        is_whole = sealed == checksum(content)
    except ValueError:  # a number of too many digits to be printed
        is_whole = False
    if not is_whole:
        raise InputError(
            f"{file} is damaged, its content differs from its checksum: use another checkpoint, or "
            "copy it again"
        )


def checksum(tree: Tree) -> str:
    """A digest of the paths, types and values of a tree.

    A tensor enters it by its type, its shape and the sum of its bits as 64-bit integers, which
    differs whenever one byte does. This takes a tenth of the time of a hash over all bytes, and is
    no protection against a forger.

    Raises:
        ValueError: the tree has more parts than a file of weights can have.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path, leaf in leaves(tree):
        if isinstance(leaf, Tensor):
            leaf = (str(leaf.dtype), tuple(leaf.shape), *_sums(leaf))
        digest.update(f"{path} {type(leaf).__name__} {leaf!r}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def _sums(tensor: Tensor) -> tuple[int, ...]:
    """The sum of a tensor's 64-bit words, and the bytes that fill none."""
    content = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    if content.data_ptr() % 8:
        content = content.clone()
    whole = len(content) // 8 * 8
    return int(content[:whole].view(torch.int64).sum()), *content[whole:].tolist()
