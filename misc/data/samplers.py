"""Samplers: the composition of the batches of an epoch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch.utils.data import Sampler

from errors import InputError
from misc.runtime.seeding import Purpose, generator

# The key of an item of a training set: epoch and index of the sample. All that is drawn at random
# for a sample is drawn from it.
SampleKey = tuple[int, int]


class StepSampler(Sampler[list[SampleKey]], ABC):
    """This process's part of every global batch of an epoch.

    A step has the same samples whatever the number of processes.

    Args:
        steps: global batches of every epoch.
        batch_size: samples of one step in this process.
    """

    def __init__(
        self, steps: int, batch_size: int, *, rank: int, world_size: int, seed: int
    ) -> None:
        self.steps, self.batch_size, self.seed = steps, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.first_step = 0

    def start(self, epoch: int, first_step: int = 0) -> None:
        """Let the next iteration be over `epoch`, from `first_step` on."""
        self.epoch, self.first_step = epoch, first_step

    def __len__(self) -> int:
        """Steps in a whole epoch."""
        return self.steps

    def parts(self, size: int) -> int:
        """The number of parts of up to `size` samples that this process's batch has."""
        return -(-self.batch_size // size)

    @abstractmethod
    def global_batches(self, epoch: int, steps: Sequence[int]) -> list[list[int]]:
        """The samples of all processes in some steps of an epoch."""


class EpochSampler(StepSampler):
    """Batches of one order of samples.

    A subclass draws the samples of each epoch, in order. Consecutive slices of them are the global
    batches, and consecutive slices of these are the ranks' parts.
    """

    deals = False

    def start(self, epoch: int, first_step: int = 0) -> None:
        super().start(epoch, first_step)
        self.deals = False

    def deal(self, epoch: int) -> None:
        """Let the next iteration be over all samples of `epoch`: whole global batches, the last one
        incomplete, which the ranks take in turn. A rank without one has the first.
        """
        self.epoch, self.deals = epoch, True

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order = self.draw(generator(self.seed, Purpose.ORDER, self.epoch))
        if self.deals:
            size = self.batch_size * self.world_size
            batches = [order[first : first + size] for first in range(0, len(order), size)]
            for batch in batches[self.rank :: self.world_size] or batches[:1]:
                yield [(self.epoch, index) for index in batch.tolist()]
            return
        for step in range(self.first_step, len(self)):
            first = (step * self.world_size + self.rank) * self.batch_size
            own = order[first : first + self.batch_size].tolist()
            yield [(self.epoch, index) for index in own]

    def global_batches(self, epoch: int, steps: Sequence[int]) -> list[list[int]]:
        order = self.draw(generator(self.seed, Purpose.ORDER, epoch))
        size = self.batch_size * self.world_size
        return [order[step * size :][:size].tolist() for step in steps]

    @abstractmethod
    def draw(self, rng: Generator) -> NDArray[np.int64]:
        """The samples of an epoch, in order."""


class GlobalBatchSampler(EpochSampler):
    """Slices of one permutation of all samples; an incomplete last batch is dropped.

    Args:
        size: samples in the training set.
        batch_size: samples of one step in this process.
    """

    def __init__(
        self, size: int, batch_size: int, *, rank: int = 0, world_size: int = 1, seed: int = 0
    ) -> None:
        if batch_size * world_size > size:
            raise InputError(
                f"data.batch_size (or global_batch_size): a batch of {batch_size} in each of "
                f"{world_size} processes is larger than the training set of {size} samples; "
                "reduce it"
            )
        self.size = size
        steps = size // (batch_size * world_size)
        super().__init__(steps, batch_size, rank=rank, world_size=world_size, seed=seed)

    def draw(self, rng: Generator) -> NDArray[np.int64]:
        return rng.permutation(self.size)


class IdentitySampler(EpochSampler):
    """PK batches: K samples of each of P identities (Hermans et al. 2017, arXiv 1703.07737, section
    2).

    In each epoch the shuffled samples of an identity are cut into groups of K. A batch takes one
    group of each of P identities, drawn among those with groups left, until there are fewer than P.
    An identity with as many groups left as there are batches to come is drawn first: every epoch is
    then as long as it can be, and all have the same length.

    An incomplete last group is dropped, but an identity with fewer than K samples repeats some.

    Args:
        identities: the identity of each sample.
        identities_per_batch: P of the global batch; the processes share them.
        images_per_identity: K.
        key: of the configuration that gives P times K.

    Raises:
        InputError: if P is not a multiple of the number of processes, or there are fewer than P
            identities.
    """

    def __init__(
        self,
        identities: Sequence[int],
        *,
        identities_per_batch: int,
        images_per_identity: int,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        key: str = "data.global_batch_size",
    ) -> None:
        _, self.identities, counts = np.unique(identities, return_inverse=True, return_counts=True)
        self.drawn, self.images = identities_per_batch, images_per_identity
        if self.drawn % world_size:
            raise InputError(
                f"{self.drawn} identities in a batch cannot be divided among {world_size} "
                f"processes; make {key} a multiple of {self.images * world_size}, or change "
                "reid.images_per_identity"
            )
        if self.drawn > len(counts):
            raise InputError(
                f"a batch has {self.drawn} identities, the training set only {len(counts)}; reduce "
                f"{key} to {self.images * len(counts)} at most"
            )
        self.splits = counts.cumsum()[:-1]
        self.groups = np.maximum(counts // self.images, 1)
        steps, bound = 0, int(self.groups.sum())
        while steps != bound:  # an identity has one group per batch, so at most `bound` per epoch
            steps, bound = bound, int(np.minimum(self.groups, bound).sum()) // self.drawn
        size = self.drawn * self.images // world_size
        super().__init__(steps, size, rank=rank, world_size=world_size, seed=seed)

    def draw(self, rng: Generator) -> NDArray[np.int64]:
        order = rng.permutation(len(self.identities))
        order = order[np.argsort(self.identities[order], kind="stable")]
        pools = [
            np.append(pool, rng.choice(pool, max(0, self.images - len(pool))))
            for pool in np.split(order, self.splits)
        ]
        left = self.groups.copy()
        batches = []
        for num_left in range(self.steps, 0, -1):  # batches to come, this one included
            turns = np.where(left > 0, rng.random(len(left)) - (left >= num_left), np.inf)
            chosen = np.argsort(turns)[: self.drawn]
            left[chosen] -= 1
            batches += [pools[i][left[i] * self.images :][: self.images] for i in chosen]
        return np.concatenate(batches)


class JointSampler(StepSampler):
    """Batches of two samplers side by side, for two training sets one after the other.

    An epoch is one of the first sampler. The epochs of the second one, by which its samples are
    drawn, follow one another from step to step, wherever those of the first one end.

    Args:
        offset: samples of the first training set, which the second one's are counted from.
    """

    def __init__(self, first: StepSampler, second: StepSampler, offset: int) -> None:
        assert (first.rank, first.world_size) == (second.rank, second.world_size)
        self.first, self.second, self.offset = first, second, offset
        super().__init__(
            first.steps,
            first.batch_size + second.batch_size,
            rank=first.rank,
            world_size=first.world_size,
            seed=first.seed,
        )

    def parts(self, size: int) -> int:
        return max(self.first.parts(size), self.second.parts(size))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        self.first.start(self.epoch, self.first_step)
        following = self._following(*self._place(self.epoch, self.first_step))
        for own in self.first:
            yield own + [(epoch, self.offset + index) for epoch, index in next(following)]

    def _place(self, epoch: int, step: int) -> tuple[int, int]:
        """The epoch and step of the second sampler in a step of the first."""
        return divmod(epoch * self.steps + step, self.second.steps)

    def _following(self, epoch: int, step: int) -> Iterator[list[SampleKey]]:
        while True:
            self.second.start(epoch, step)
            yield from self.second
            epoch, step = epoch + 1, 0

    def global_batches(self, epoch: int, steps: Sequence[int]) -> list[list[int]]:
        batches = self.first.global_batches(epoch, steps)
        for batch, step in zip(batches, steps, strict=True):
            other_epoch, other_step = self._place(epoch, step)
            (others,) = self.second.global_batches(other_epoch, [other_step])
            batch += [self.offset + index for index in others]
        return batches
