"""Losses of CLIP-ReID, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.criteria.base import Criterion, LossRegistry
from model.gather import Alone, Gather, gather_together
from model.interface import PromptBatch, PromptOutputs, ReIDBatch, ReIDOutputs
from model.objectives import identity, sup_con, triplet


@dataclass(frozen=True)
class ReIDLossSettings:
    """Hyperparameters of the losses; the defaults are the published ones.

    Args:
        smoothing: of the labels in every identity loss.
        margin: of the triplets; soft when None.
    """

    smoothing: float = 0.1
    margin: float | None = 0.3


@dataclass(frozen=True)
class Comparison:
    """Inputs of the losses of one batch, with the gather that brings in the other processes."""

    outputs: PromptOutputs | ReIDOutputs
    ids: Tensor  # (B,)
    gather: Gather
    settings: ReIDLossSettings

    @property
    def prompt_outputs(self) -> PromptOutputs:
        assert isinstance(self.outputs, PromptOutputs), "a loss of the first stage"
        return self.outputs

    @property
    def image_outputs(self) -> ReIDOutputs:
        assert isinstance(self.outputs, ReIDOutputs), "a loss of the second stage"
        return self.outputs

    def identity_loss(self, logits: Tensor | None) -> Tensor:
        """Smoothed cross-entropy of identity logits (B, num_identities)."""
        assert logits is not None, "the outputs are not finished"
        return identity(logits.float(), self.ids, self.settings.smoothing)


LOSSES: LossRegistry[Comparison] = LossRegistry()
register_reid_loss = LOSSES.register  # @register_reid_loss(name) over a (comparison) -> Tensor


class ReIDCriterion(Criterion[PromptOutputs | ReIDOutputs, PromptBatch | ReIDBatch]):
    """The losses of either stage of CLIP-ReID (Li et al. 2023, arXiv 2211.13977, section 3.2).

    Raises:
        InputError: a loss is not registered.
    """

    def __init__(
        self, weights: Mapping[str, float], settings: ReIDLossSettings | None = None
    ) -> None:
        LOSSES.require(weights, "reid")
        super().__init__(weights)
        self.settings = settings or ReIDLossSettings()

    def __call__(
        self,
        outputs: PromptOutputs | ReIDOutputs,
        batch: PromptBatch | ReIDBatch,
        gather: Gather | None = None,
        progress: float | Tensor = 1.0,
    ) -> dict[str, Tensor]:
        """The losses of one batch, un-weighted, by name; triplets are mined across processes."""
        comparison = Comparison(outputs, batch.ids, gather or Alone(), self.settings)
        return {name: LOSSES[name](comparison) for name in self.weights}


@register_reid_loss("sup_con")
def _sup_con(comparison: Comparison) -> Tensor:
    image = comparison.prompt_outputs.image_features.float()
    text = comparison.prompt_outputs.text_features.float()
    gathered_image, gathered_text = gather_together(comparison.gather, [image, text])
    ids, gathered_ids = comparison.ids, comparison.gather(comparison.ids)
    image_to_text = sup_con(image, gathered_text, ids, gathered_ids)
    return image_to_text + sup_con(text, gathered_image, ids, gathered_ids)


@register_reid_loss("id")
def _identity(comparison: Comparison) -> Tensor:
    outputs = comparison.image_outputs
    image = comparison.identity_loss(outputs.image_logits)
    return image + comparison.identity_loss(outputs.projected_logits)


@register_reid_loss("triplet")
def _triplet(comparison: Comparison) -> Tensor:
    outputs = comparison.image_outputs
    gathered_ids = comparison.gather(comparison.ids)
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
            gathered=gathered,
            gathered_ids=gathered_ids,
        )
        for features, gathered in zip(own, gather_together(comparison.gather, own), strict=True)
    ]
    return torch.stack(losses).sum()


@register_reid_loss("i2t")
def _image_to_text(comparison: Comparison) -> Tensor:
    logits = comparison.image_outputs.text_logits
    assert logits is not None, "the text features are not fixed"
    return comparison.identity_loss(logits)
