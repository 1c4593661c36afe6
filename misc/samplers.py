"""Which captions make up which batch."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from errors import InputError
from misc.seeding import Purpose, generator

Place = tuple[
    int, int
]  # (epoch, index of the sample): what one item of a training set is asked for by


class GlobalBatchSampler(Sampler[list[Place]]):
    """This process's part of every global batch of an epoch.

    One permutation of all samples is drawn for each epoch; the global batches are its consecutive
    slices, and the ranks take consecutive slices of these. So the same samples meet in a step
    however many processes share it. The samples that fill no whole batch sit this epoch out.

    Args:
        size: samples in the training set.
        batch_size: samples of one step in this process.
    """

    def __init__(
        self, size: int, batch_size: int, rank: int = 0, world_size: int = 1, seed: int = 0
    ) -> None:
        if batch_size * world_size > size:
            raise InputError(
                f"data.batch_size (or global_batch_size): a batch of {batch_size} in each of "
                f"{world_size} processes is larger than the training set of {size} captions; "
                "lower it"
            )
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.first_step = 0

    def start(self, epoch: int, first_step: int = 0) -> None:
        """The next iteration is of `epoch`, from `first_step` on."""
        self.epoch, self.first_step = epoch, first_step

    def __len__(self) -> int:
        """Steps in a whole epoch."""
        return self.size // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[Place]]:
        order = generator(self.seed, Purpose.ORDER, self.epoch).permutation(self.size).tolist()
        for step in range(self.first_step, len(self)):
            first = (step * self.world_size + self.rank) * self.batch_size
            yield [(self.epoch, index) for index in order[first : first + self.batch_size]]
