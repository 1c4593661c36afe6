"""Loaders: batches for training, items for evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset, Subset

from errors import InputError
from misc.data.samplers import EpochSampler
from model.interface import Batch


class Items(Dataset[Any], ABC):
    """What is encoded for an evaluation, each item once."""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def collate(self, items: Sequence[Any]) -> Any:
        """A batch of them, which `to` brings to a device."""


class Loader:
    """A DataLoader that hands a user's error on as the one sentence it is, also out of a worker
    process.
    """

    def __init__(self, loader: DataLoader[Any], sampler: EpochSampler | None = None) -> None:
        self.loader, self.sampler = loader, sampler

    def __len__(self) -> int:
        return len(self.loader)

    def start(self, epoch: int, first_step: int = 0) -> None:
        """The next iteration is of `epoch`, from `first_step` on."""
        assert self.sampler is not None
        self.sampler.start(epoch, first_step)

    def __iter__(self) -> Iterator[Any]:
        sentence = None
        try:
            yield from self.loader
        except InputError as error:
            # The loader wraps a worker's error into its traceback, the sentence last.
            sentence = str(error).strip().splitlines()[-1].removeprefix("errors.InputError: ")
        if sentence:  # raised here, the error does not keep the loader's workers alive
            raise InputError(sentence, in_one_process=True)


def train_loader(
    dataset: Dataset[Any],
    collate: Callable[[Sequence[Any]], Batch],
    sampler: EpochSampler,
    num_workers: int,
    pin_memory: bool,
) -> Loader:
    """The batches of an epoch; `start` says of which."""
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=pin_memory,
    )
    return Loader(loader, sampler)


def evaluation_loader(
    dataset: Items,
    batch_size: int,
    num_workers: int,
    pin_memory: bool,
    rank: int = 0,
    world_size: int = 1,
) -> Loader:
    """The items `rank`, `rank + world_size`, ... of a dataset, in order: each rank its own.

    A rank that there is no item for gets the first one, so that it has features to bring.
    """
    own = range(rank, len(dataset), world_size) or range(1)
    loader = DataLoader(
        Subset(dataset, own),
        batch_size,
        num_workers=num_workers,
        pin_memory=pin_memory,
        collate_fn=dataset.collate,
    )
    return Loader(loader)
