"""From the names of CLIP-ReID's losses and their weights to the losses of one batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.criteria.base import Criterion
from model.gather import Alone, Gather, gather_together
from model.interface import PromptBatch, PromptOutputs, ReIDBatch, ReIDOutputs
from model.objectives import identity, sup_con, triplet


@dataclass(frozen=True)
class ReIDLossSettings:
    """What the losses can be told, with the published values.

    Args:
        smoothing: of the labels, wherever identities are classified.
        margin: of the triplets; soft when None.
    """

    smoothing: float = 0.1
    margin: float | None = 0.3


class ReIDCriterion(Criterion):
    """The losses of either stage of CLIP-ReID (Li et al. 2023, arXiv 2211.13977, section 3.2)."""

    def __init__(
        self, weights: Mapping[str, float], settings: ReIDLossSettings | None = None
    ) -> None:
        super().__init__(weights, LOSSES)
        self.settings = settings or ReIDLossSettings()

    def __call__(
        self,
        outputs: PromptOutputs | ReIDOutputs,
        batch: PromptBatch | ReIDBatch,
        gather: Gather | None = None,
        progress: float = 1.0,
    ) -> dict[str, Tensor]:
        """The losses of one batch; triplets are mined among all that is gathered."""
        comparison = Comparison(outputs, batch.ids, gather or Alone(), self.settings)
        return {name: LOSSES[name](comparison) for name in self.weights}


@dataclass(frozen=True)
class Comparison:
    """What the losses of one batch compare: features of this process with all."""

    outputs: PromptOutputs | ReIDOutputs
    ids: Tensor  # (B,)
    gather: Gather
    settings: ReIDLossSettings

    @property
    def of_prompts(self) -> PromptOutputs:
        assert isinstance(self.outputs, PromptOutputs), "a loss of the first stage"
        return self.outputs

    @property
    def of_pictures(self) -> ReIDOutputs:
        assert isinstance(self.outputs, ReIDOutputs), "a loss of the second stage"
        return self.outputs

    def identify(self, logits: Tensor) -> Tensor:
        """The loss of identity logits (B, identities)."""
        return identity(logits.float(), self.ids, self.settings.smoothing)


def _sup_con(comparison: Comparison) -> Tensor:
    image = comparison.of_prompts.image_features.float()
    text = comparison.of_prompts.text_features.float()
    every_image, every_text = gather_together(comparison.gather, [image, text])
    ids, every_ids = comparison.ids, comparison.gather(comparison.ids)
    image_to_text = sup_con(image, every_text, ids, every_ids)
    return image_to_text + sup_con(text, every_image, ids, every_ids)


def _identity(comparison: Comparison) -> Tensor:
    outputs = comparison.of_pictures
    image = comparison.identify(outputs.image_logits)
    return image + comparison.identify(outputs.projected_logits)


def _triplet(comparison: Comparison) -> Tensor:
    outputs = comparison.of_pictures
    every_ids = comparison.gather(comparison.ids)
    own = [
        outputs.penultimate_features.float(),
        outputs.image_features.float(),
        outputs.projected_features.float(),
    ]
    losses = [
        triplet(
            features,
            comparison.ids,
            comparison.settings.margin,
            gathered=every,
            gathered_ids=every_ids,
        )
        for features, every in zip(own, gather_together(comparison.gather, own), strict=True)
    ]
    return torch.stack(losses).sum()


def _image_to_text(comparison: Comparison) -> Tensor:
    logits = comparison.of_pictures.text_logits
    assert logits is not None, "the text features are not fixed"
    return comparison.identify(logits)


LOSSES: dict[str, Callable[[Comparison], Tensor]] = {
    "sup_con": _sup_con,
    "id": _identity,
    "triplet": _triplet,
    "i2t": _image_to_text,
}
