"""The samples of a training, and their loader by the settings of a configuration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from misc.data.cache import PictureCache
from misc.data.loader import Trainable, TrainItems, TrainLoader
from misc.data.samplers import StepSampler
from misc.runtime.distributed import Processes
from misc.settings.sections import DataSettings

ItemsT = TypeVar("ItemsT", bound=TrainItems[Any])
CollateT = TypeVar("CollateT", bound=Callable[[Sequence[Any]], Trainable])


@dataclass(frozen=True)
class TrainingSet(Generic[ItemsT, CollateT]):
    """Samples, their collation to batches, and which of them a step has.

    Args:
        caches: that the samples are read through.
    """

    items: ItemsT
    collate: CollateT
    sampler: StepSampler
    caches: Sequence[PictureCache] = ()

    def load(self, data: DataSettings, processes: Processes) -> TrainLoader[Trainable]:
        """The batches, by the settings of `data`."""
        return TrainLoader(
            self.items,
            self.collate,
            self.sampler,
            num_workers=data.num_workers,
            pin_memory=processes.device.type == "cuda",
            substitutes=self.items.substitutes if data.on_bad_image == "skip" else None,
            caches=self.caches,
        )
