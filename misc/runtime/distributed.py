"""The processes of a run: one, or those that torchrun starts, on GPUs (nccl) or CPUs (gloo)."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.distributed.rendezvous import rendezvous

from errors import InputError
from misc.runtime.allocator import keep_freed_memory
from misc.runtime.heartbeats import Heartbeats

if sys.platform != "win32":
    import resource

T = TypeVar("T")

# One process re-ranks for all; on a CPU the largest test sets take it hours. Heartbeats tell that
# from a process that hangs.
LONGEST_WAIT = timedelta(hours=12)
DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as seen from this one."""

    rank: int
    world_size: int
    device: torch.device
    heartbeats: Heartbeats | None = None  # None: of one process
    cpu_group: dist.ProcessGroup | None = None  # likewise; for what must not wait for a GPU

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def peak_memory(self) -> int:
        """The most bytes that this process has held: on its GPU, or in main memory where it has
        none; 0 on Windows, which does not report it.
        """
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if sys.platform == "win32":
            return 0
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.world_size > 1:
            values = values.clone()
            with self._waiting():
                dist.all_reduce(values)
            values /= self.world_size
        return values

    def largest(self, number: int) -> Callable[[], int]:
        """A function that waits for the largest of the processes' numbers; nothing else does."""
        if self.world_size == 1:
            return lambda: number
        largest = torch.tensor(number)
        work = dist.all_reduce(largest, dist.ReduceOp.MAX, self.cpu_group, async_op=True)

        def wait() -> int:
            with self._waiting():
                work.wait()
            return int(largest)

        return wait

    def collect(self, rows: Tensor) -> list[Tensor]:
        """The rows of every process, by rank, on the CPU; their numbers may differ."""
        if self.world_size == 1:
            return [rows.cpu()]
        counts = [
            torch.zeros(1, dtype=torch.long, device=self.device) for _ in range(self.world_size)
        ]
        with self._waiting():
            dist.all_gather(counts, torch.tensor([len(rows)], device=self.device))
        most = int(torch.cat(counts).max())
        padded = rows.new_zeros(most, *rows.shape[1:], device=self.device)
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.world_size)]
        dist.all_gather(parts, padded)
        return [part[: int(count)].cpu() for part, count in zip(parts, counts, strict=True)]

    def share(self, value: T) -> T:
        """The main process's value, in every process; any object that can be pickled."""
        if self.world_size == 1:
            return value
        box = [value]
        with self._waiting():
            dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def align(self, model: nn.Module) -> None:
        """Copy the main process's weights and buffers to every process."""
        if self.world_size > 1:
            with self._waiting():
                for tensor in model.state_dict().values():
                    dist.broadcast(tensor, src=0)

    def batches(self, loader: Iterable[T]) -> Iterable[T]:
        """The batches of a loader, in each of which the process must come further."""
        return self.heartbeats.batches(loader) if self.heartbeats else loader

    def _waiting(self) -> AbstractContextManager[None]:
        return self.heartbeats.waiting() if self.heartbeats else nullcontext()


@contextmanager
def processes(
    device: str | None = None, backend: str = "auto", timeout_minutes: float = 10
) -> Iterator[Processes]:
    """Join the processes that torchrun started, or be the only one; leave them at the end.

    Args:
        device: `cuda`, `cuda:1`, `cpu`, ...; None is a GPU for each process if the machine has any,
            else the CPU.
        backend: `nccl`, `gloo`, or `auto`: nccl on GPUs, gloo elsewhere.
        timeout_minutes: without a sign of a process after which all end.

    Raises:
        InputError: if the device does not exist, this machine has fewer GPUs than processes, the
            memory of a GPU is full, or another process has failed.
    """
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    own_device = choose_device(device, int(os.environ.get("LOCAL_RANK", 0)), world_size)
    if backend == "auto":
        backend = "nccl" if own_device.type == "cuda" else "gloo"
    if backend == "nccl" and own_device.type == "cpu":
        raise InputError("distributed.backend=nccl needs GPUs; use gloo or auto")
    if own_device.type == "cuda":
        torch.cuda.set_device(own_device)
    if own_device.type == "cpu":
        keep_freed_memory()
    _prepare_for_signals()
    if world_size == 1:
        with _tell_if_full(own_device):
            yield Processes(rank=0, world_size=1, device=own_device)
        return
    limit = timedelta(minutes=timeout_minutes)
    store, rank, _ = next(rendezvous("env://", timeout=limit))
    with Heartbeats(store.clone(), rank, world_size, limit) as heartbeats:
        try:
            with _joined(backend, store, own_device, heartbeats) as own, _tell_if_full(own_device):
                yield own
        except RuntimeError as error:
            if not is_of_another_process(error):
                raise
            if not heartbeats.is_first_to_tell():
                sys.exit(1)
            raise InputError(
                "another process of the run has failed; see its error message", in_one_process=True
            ) from error


@contextmanager
def _tell_if_full(device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        wanted = str(error).split(". ")[1:2]  # "Tried to allocate 2.00 GiB"
        raise InputError(
            f"the memory of {device} is full{''.join(f' ({words})' for words in wanted)}: lower "
            "data.batch_size, or data.test_batch_size if it is evaluated; docs/troubleshooting.md "
            "has more ways",
            in_one_process=True,
        ) from error


def is_of_another_process(error: RuntimeError) -> bool:
    """Whether a collective call failed because a process that takes part in it has ended."""
    return isinstance(error, dist.DistError) or "by peer" in str(error)


@contextmanager
def _joined(
    backend: str, store: dist.Store, device: torch.device, heartbeats: Heartbeats
) -> Iterator[Processes]:
    rank, world_size = heartbeats.rank, int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        backend,
        store=store,
        rank=rank,
        world_size=world_size,
        timeout=LONGEST_WAIT,
        device_id=device if backend == "nccl" else None,
    )
    try:
        cpu_group = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
        yield Processes(rank, world_size, device, heartbeats, cpu_group)
    finally:
        dist.destroy_process_group()


def _prepare_for_signals() -> None:
    """Let this process end when torchrun's does, even by SIGKILL; and outlive SIGUSR1, which only a
    training needs (misc/runtime/signals.py).
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if sys.platform == "linux" and "LOCAL_RANK" in os.environ:
        ctypes.CDLL(None).prctl(DEATH_OF_PARENT, signal.SIGKILL)


def choose_device(name: str | None, local_rank: int = 0, world_size: int = 1) -> torch.device:
    """The device of a process.

    Args:
        name: `cuda`, `cuda:1`, `cpu`, ...; None: a GPU if there is one.

    Raises:
        InputError: it does not exist.
    """
    try:
        default = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(default if name is None else name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"--device {name}: unknown device; use cpu, cuda or cuda:N")
    if device.type == "cpu":
        if device.index:
            raise InputError(f"--device {name} does not exist: CPUs have no number; use cpu")
        return torch.device("cpu")
    if device.index is None or world_size > 1:
        device = torch.device("cuda", local_rank)
    num_gpus = torch.cuda.device_count()
    if num_gpus == 0:
        raise InputError(f"--device {device}: no GPU found; use --device cpu", in_one_process=True)
    if (device.index or 0) >= num_gpus:
        raise InputError(
            f"--device {device} does not exist: GPUs found: {num_gpus}; start at most one process "
            "for each",
            in_one_process=True,
        )
    return device


class AllGather:
    """A differentiable all-gather; the backward sums the gradients of all processes.

    The loss of local rows against gathered columns, averaged over the processes, then has the
    gradient of the loss of the global batch. Every process must have the same number of rows.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank()

    def __call__(self, rows: Tensor) -> Tensor:
        return _AllGather.apply(rows)


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor) -> Tensor:
        gathered = rows.new_empty(dist.get_world_size() * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(gathered, rows.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)  # autograd may share it
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]
