"""Features of files, batch by batch, while the rest is still being read."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from misc.data.loader import evaluation_loader
from misc.retrieval.base import Loading
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.search.picture_batches import PictureFiles
from misc.tasks.encoder import Encoder


class Rows(NamedTuple):
    """Consecutive files, encoded."""

    features: Tensor  # (N, D), L2-normalised, on the CPU
    digests: Tensor  # (N, 16), uint8
    readable: Tensor  # (N,), uint8


@torch.inference_mode()
def encode_files(
    files: PictureFiles,
    encoder: Encoder,
    *,
    processes: Processes,
    precision: Precision,
    loading: Loading,
) -> Iterator[Rows]:
    """The files in order, some at a time; the processes share the work, and all get all rows."""
    total, rank, world_size = len(files), processes.rank, processes.world_size
    loader = evaluation_loader(
        files,
        batch_size=loading.batch_size,
        num_workers=loading.num_workers,
        pin_memory=processes.device.type == "cuda",
        rank=rank,
        world_size=world_size,
    )
    batches = iter(loader)
    for first in range(0, total, loading.batch_size * world_size):
        batch = next(batches, None)
        if batch is not None:  # else this process has had its last, and repeats it for its shape
            batch = batch.to(processes.device, non_blocking=True)
            with precision.autocast():
                own = Rows(encoder.encode(batch.images), batch.digests, batch.readable)
        number = min(loading.batch_size * world_size, total - first)
        shares = [len(range(each, number, world_size)) for each in range(world_size)]
        yield Rows(*(_interleave(processes.collect(t[: shares[rank]]), number) for t in own))


def _interleave(parts: list[Tensor], number: int) -> Tensor:
    """The rows of all processes, one of each in turn."""
    rows = parts[0].new_empty(number, *parts[0].shape[1:])
    for rank, part in enumerate(parts):
        rows[rank :: len(parts)] = part
    return rows
