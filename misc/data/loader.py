"""Loaders: batches for training, items for evaluation."""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, get_worker_info

from errors import InputError
from misc.data.cache import Counts, PictureCache
from misc.data.samplers import EpochSampler, SampleKey, StepSampler
from misc.datasets.pictures import BadPicture
from model.interface import Batch

log = logging.getLogger(__name__)

MOST_SUBSTITUTES = 1000  # that are tried for a sample
Substitutes = Callable[[int], Iterable[int]]


class Movable(Protocol):
    """A batch as an evaluation needs it: a tensor or a `Batch`."""

    def to(self, device: torch.device, *, non_blocking: bool) -> Self:
        """The batch on a device."""
        ...


class Trainable(Protocol):
    """A batch as a training needs it."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, as the model takes it."""
        ...


Key = TypeVar("Key")
Item = TypeVar("Item")
Loaded = TypeVar("Loaded", covariant=True)  # a batch
MovableBatch = TypeVar("MovableBatch", bound=Movable)


class Items(Dataset[Item], ABC, Generic[Item, MovableBatch]):
    """The items of an evaluation, each of which is encoded once."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of items."""

    @abstractmethod
    def collate(self, items: Sequence[Item]) -> MovableBatch:
        """A batch of items."""


class TrainItems(Dataset[Item], ABC, Generic[Item]):
    """The samples of a training, by `SampleKey`."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples."""

    @abstractmethod
    def substitutes(self, index: int) -> Iterable[int]:
        """The samples that may stand for one whose picture is bad, nearest first."""


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """`torch.stack`; in a worker into shared memory, where the main process finds it."""
    if get_worker_info() is None:
        return torch.stack([*tensors], dim)
    shape = [*tensors[0].shape]
    shape.insert(dim, len(tensors))
    storage = tensors[0].untyped_storage()
    shared = storage._new_shared(math.prod(shape) * tensors[0].element_size())
    return torch.stack([*tensors], dim, out=tensors[0].new(shared).view(shape))


class _Batches(Dataset[Loaded | InputError], Generic[Key, Item, Loaded]):
    """Whole batches of a dataset, by the keys of their items; an `InputError` is returned.

    Raised, it would reach the main process as another one: a DataLoader re-raises a worker's
    exception with the text of its traceback for a message.
    """

    def __init__(self, dataset: Dataset[Item], collate: Callable[[Sequence[Item]], Loaded]) -> None:
        self.dataset, self.collate = dataset, collate

    def __getitem__(self, keys: Sequence[Key]) -> Loaded | InputError:
        try:
            return self.collate([self.dataset[key] for key in keys])
        except InputError as error:
            return error


class Loader(Generic[Loaded]):
    """A DataLoader whose workers hand the user's errors on unchanged.

    Args:
        sampler: gives the keys of each batch.
        start_method: of the workers, as multiprocessing names it; None: the system's.
        persistent: keep the workers from one iteration to the next.
    """

    def __init__(
        self,
        dataset: Dataset[Item],
        collate: Callable[[Sequence[Item]], Loaded],
        sampler: Sampler[list[Key]],
        *,
        num_workers: int,
        pin_memory: bool,
        start_method: str | None = None,
        persistent: bool = False,
    ) -> None:
        self.loader = DataLoader(
            _Batches(dataset, collate),
            batch_size=None,  # an index of `_Batches` is a batch already
            sampler=sampler,
            num_workers=num_workers,
            pin_memory=pin_memory,
            multiprocessing_context=start_method if num_workers else None,
            persistent_workers=persistent and num_workers > 0,
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Loaded]:
        """The batches.

        Raises:
            InputError: a sample could not be read; the other processes may not have met it.
        """
        mistake = None
        for batch in self.loader:
            if isinstance(batch, InputError):
                mistake = batch
                break
            yield batch
        if mistake:  # after the loop, whose workers the traceback would keep alive
            raise InputError(str(mistake), in_one_process=True)


class _Substituting(Dataset[tuple[Item, list[str]]], Generic[Item]):
    """A training set in which other samples stand for those whose pictures are bad.

    An item is a sample with the faults of the pictures that were tried before. It depends on its
    key and the files alone, so that all ranks, workers and resumed runs have the same one.

    Args:
        substitutes: None: a bad picture is an error.
    """

    def __init__(self, dataset: Dataset[Item], substitutes: Substitutes | None) -> None:
        self.dataset, self.substitutes = dataset, substitutes

    def __getitem__(self, key: SampleKey) -> tuple[Item, list[str]]:
        if self.substitutes is None:
            return self.dataset[key], []
        epoch, index = key
        faults: list[str] = []
        for other in islice(chain((index,), self.substitutes(index)), 1 + MOST_SUBSTITUTES):
            try:
                return self.dataset[epoch, other], faults
            except BadPicture as fault:
                faults.append(str(fault))
        raise InputError(f"data.on_bad_image: {len(faults)} bad images in a row: {faults[0]}")


def _collate(
    collate: Callable[[Sequence[Item]], Loaded],
    caches: Sequence[PictureCache],
    items: Sequence[tuple[Item, list[str]]],
) -> tuple[Loaded, list[str], list[Counts]]:
    """A batch with the faults of all its items, and how often the caches had a picture."""
    faults = [fault for _, faults in items for fault in faults]
    return collate([item for item, _ in items]), faults, [each.take_counts() for each in caches]


class TrainLoader(Generic[Loaded]):
    """The batches of one epoch after another, which `start` chooses.

    Args:
        substitutes: the samples that may stand for one whose picture is bad, nearest first; None: a
            bad picture is an error.
        caches: those of the dataset, whose use is told after each epoch.
    """

    def __init__(
        self,
        dataset: Dataset[Item],
        collate: Callable[[Sequence[Item]], Loaded],
        sampler: StepSampler,
        *,
        num_workers: int,
        pin_memory: bool,
        substitutes: Substitutes | None = None,
        caches: Sequence[PictureCache] = (),
    ) -> None:
        self.loader = Loader(
            _Substituting(dataset, substitutes),
            partial(_collate, collate, caches),
            sampler,
            num_workers=num_workers,
            pin_memory=pin_memory,
            start_method="fork" if caches else None,  # a cache is an open file
            persistent=True,
        )
        self.sampler, self.caches = sampler, caches
        self.faults: set[str] = set()  # of the bad pictures so far

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Loaded]:
        """The batches; the fault of a bad picture is logged once.

        Raises:
            InputError: as in `Loader`.
        """
        read = cached = 0
        for batch, faults, counts in self.loader:
            read += sum(each.read for each in counts)
            cached += sum(each.cached for each in counts)
            for fault in dict.fromkeys(faults):
                if fault not in self.faults:
                    self.faults.add(fault)
                    log.error("skipped, bad image %d: %s", len(self.faults), fault)
            yield batch
        if self.caches and read:
            share = 100 * cached / read
            size = sum(cache.used() for cache in self.caches) / 2**30
            log.info("data.cache: %.1f %% of the images were in it, %.2f GiB", share, size)

    def start(self, epoch: int, first_step: int = 0) -> None:
        """Let the next iteration be over `epoch`, from `first_step` on."""
        self.sampler.start(epoch, first_step)

    def deal(self, epoch: int) -> None:
        """Let the next iteration be over all samples of `epoch`, as `EpochSampler.deal` says."""
        assert isinstance(self.sampler, EpochSampler)
        self.sampler.deal(epoch)

    def global_batches(self, epoch: int, steps: Sequence[int]) -> list[list[int]]:
        """The indices of the samples of all processes in some steps of an epoch."""
        return self.sampler.global_batches(epoch, steps)


def evaluation_loader(
    items: Items[Item, MovableBatch],
    *,
    batch_size: int,
    num_workers: int,
    pin_memory: bool,
    rank: int = 0,
    world_size: int = 1,
    start_method: str | None = None,
) -> Loader[MovableBatch]:
    """Batches of the items `rank`, `rank + world_size`, ... in order: a part for each rank.

    A rank without an item gets the first one, so that it has features to gather.

    Args:
        start_method: as of `Loader`.
    """
    own = range(rank, len(items), world_size) or range(1)
    return Loader(
        items,
        items.collate,
        BatchSampler(own, batch_size, drop_last=False),
        num_workers=num_workers,
        pin_memory=pin_memory,
        start_method=start_method,
    )
