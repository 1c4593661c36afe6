"""Which samples make up which batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.random import Generator
from torch.utils.data import Sampler

from errors import InputError
from misc.runtime.seeding import Purpose, generator

# (epoch, index of the sample): what one item of a training set is asked for by
Place = tuple[int, int]


class EpochSampler(Sampler[list[Place]], ABC):
    """This process's part of every global batch of an epoch.

    A subclass draws each epoch's list of samples; the global batches are its consecutive slices,
    and the ranks take consecutive slices of these. So the same samples meet in a step however many
    processes share it.

    Args:
        steps: global batches of every epoch.
        batch_size: samples of one step in this process.
    """

    def __init__(
        self, steps: int, batch_size: int, rank: int = 0, world_size: int = 1, seed: int = 0
    ) -> None:
        self.steps, self.batch_size, self.seed = steps, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.first_step = 0

    def start(self, epoch: int, first_step: int = 0) -> None:
        """The next iteration is of `epoch`, from `first_step` on."""
        self.epoch, self.first_step = epoch, first_step

    def __len__(self) -> int:
        """Steps in a whole epoch."""
        return self.steps

    def __iter__(self) -> Iterator[list[Place]]:
        order = self.draw(generator(self.seed, Purpose.ORDER, self.epoch))
        for step in range(self.first_step, len(self)):
            first = (step * self.world_size + self.rank) * self.batch_size
            yield [(self.epoch, index) for index in order[first : first + self.batch_size]]

    @abstractmethod
    def draw(self, rng: Generator) -> list[int]:
        """The samples of an epoch, in order."""


class GlobalBatchSampler(EpochSampler):
    """Slices of one permutation of all samples; those that fill no batch sit the epoch out.

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
                f"{world_size} processes is larger than the training set of {size} samples; "
                "lower it"
            )
        self.size = size
        super().__init__(size // (batch_size * world_size), batch_size, rank, world_size, seed)

    def draw(self, rng: Generator) -> list[int]:
        return rng.permutation(self.size).tolist()


class IdentitySampler(EpochSampler):
    """Global batches of some pictures of each of some identities (Hermans et al. 2017, arXiv
    1703.07737, section 2).

    In each epoch every identity's shuffled pictures are cut into groups. Each batch takes a group
    of some identities, drawn among those that have groups left, until these are too few. An
    identity with as many groups left as batches can follow is drawn first: so every epoch is as
    long as any can be, and all are of one length.

    What fills no group sits the epoch out, but an identity with too few pictures repeats some.

    Args:
        identities: of every sample.
        identities_per_batch: of the global batch; each process has its part of them.
        images_per_identity: samples in a group.

    Raises:
        InputError: if the processes cannot share the identities of a batch, or there are fewer.
    """

    def __init__(
        self,
        identities: Sequence[int],
        identities_per_batch: int,
        images_per_identity: int,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
    ) -> None:
        _, self.identities, counts = np.unique(identities, return_inverse=True, return_counts=True)
        self.drawn, self.images = identities_per_batch, images_per_identity
        if self.drawn % world_size:
            raise InputError(
                f"a batch of {self.drawn} identities cannot be shared by {world_size} processes, "
                "each with all pictures of its own: let data.global_batch_size be a multiple of "
                f"{self.images * world_size}, or change reid.images_per_identity"
            )
        if self.drawn > len(counts):
            raise InputError(
                f"a batch of {self.drawn} identities is more than the {len(counts)} of the "
                f"training set: lower data.global_batch_size to {self.images * len(counts)} at most"
            )
        self.splits = counts.cumsum()[:-1]
        self.groups = np.maximum(counts // self.images, 1)
        steps, bound = 0, int(self.groups.sum())
        while steps != bound:  # an identity gives a batch one group at most, so an epoch `bound`
            steps, bound = bound, int(np.minimum(self.groups, bound).sum()) // self.drawn
        size = self.drawn * self.images // world_size
        super().__init__(steps, size, rank, world_size, seed)

    def draw(self, rng: Generator) -> list[int]:
        order = rng.permutation(len(self.identities))
        order = order[np.argsort(self.identities[order], kind="stable")]
        pools = [
            np.append(pool, rng.choice(pool, max(0, self.images - len(pool))))
            for pool in np.split(order, self.splits)
        ]
        left = self.groups.copy()
        batches = []
        for following in range(self.steps, 0, -1):
            turns = np.where(left > 0, rng.random(len(left)) - (left >= following), np.inf)
            chosen = np.argsort(turns)[: self.drawn]
            left[chosen] -= 1
            batches += [pools[i][left[i] * self.images :][: self.images] for i in chosen]
        return np.concatenate(batches).tolist()
