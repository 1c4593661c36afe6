"""Losses between images and captions, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from model.criteria.base import Criterion, LossRegistry
from model.gather import Alone, Gather, gather_together
from model.interface import TextBatch, TextOutputs
from model.objectives import (
    Pairs,
    c_itc,
    cmpm,
    identity,
    itc,
    masked_lm,
    n_itc,
    r_itc,
    sdm,
    sigmoid,
    simclr,
)


@dataclass(frozen=True)
class TextLossSettings:
    """Hyperparameters of the losses; the defaults are the published ones.

    Args:
        softlabel_ratio: weight of the soft labels in N-ITC once the first epoch is over.
        ritc_eps: added to the targets of R-ITC.
        citc_inmodal, citc_crossmodal: weights of the two parts of C-ITC.
        simclr_temperature: of the contrast between two views.
        sigmoid_positives: "identity": pairs of the same identity attract each other in the sigmoid
            loss; "pair": a caption and its own image alone, as published.
    """

    softlabel_ratio: float = 0.5
    ritc_eps: float = 1e-2
    citc_inmodal: float = 0.25
    citc_crossmodal: float = 0.25
    simclr_temperature: float = 0.1
    sigmoid_positives: Literal["identity", "pair"] = "identity"


class Contrast:
    """Inputs of the losses of one batch: this process's normalised features and those of all.

    Attributes:
        outputs, batch: of this process, for losses that need more than the features.
        alpha: current weight of the soft labels; it grows over the first epoch.
        scale: the exponentiated logit scale, a scalar.
        ids: (B,), and `gathered_ids` of all processes.
        views: (V, B, D), image features of every view.
        text: (B, D), and `gathered_text` of all processes.
        gathered: V pairs of an image view and the captions, of all processes.
        first_row: row of `gathered` that holds this process's first row.
    """

    def __init__(
        self,
        outputs: TextOutputs,
        batch: TextBatch,
        gather: Gather,
        settings: TextLossSettings,
        progress: float,
    ) -> None:
        self.outputs, self.batch, self.gather, self.settings = outputs, batch, gather, settings
        self.alpha = settings.softlabel_ratio * min(1.0, progress)
        self.scale = outputs.logit_scale.exp()
        self.ids, self.gathered_ids = batch.ids, gather(batch.ids)
        self.first_row = gather.rank * len(batch)
        self.views = F.normalize(outputs.image_features.float(), dim=-1)
        self.text = F.normalize(outputs.text_features.float(), dim=-1)
        *gathered_views, self.gathered_text = gather_together(gather, [*self.views, self.text])
        self.gathered = [
            Pairs(view, self.gathered_text, self.gathered_ids) for view in gathered_views
        ]

    @property
    def pairs(self) -> Pairs:
        """The first view of this process's images, and their captions."""
        return Pairs(self.views[0], self.text, self.ids)


LOSSES: LossRegistry[Contrast] = LossRegistry()
register_text_loss = LOSSES.register  # @register_text_loss(name) over a (contrast) -> Tensor


class TextCriterion(Criterion[TextOutputs, TextBatch]):
    """A weighted sum of registered losses between images and captions.

    Raises:
        InputError: a loss is not registered.
    """

    def __init__(
        self, weights: Mapping[str, float], settings: TextLossSettings | None = None
    ) -> None:
        LOSSES.require(weights, "experiment.losses")
        super().__init__(weights)
        self.settings = settings or TextLossSettings()

    def __call__(
        self,
        outputs: TextOutputs,
        batch: TextBatch,
        gather: Gather | None = None,
        progress: float = 1.0,
    ) -> dict[str, Tensor]:
        """The losses of one batch, un-weighted, by name."""
        contrast = Contrast(outputs, batch, gather or Alone(), self.settings, progress)
        return {name: LOSSES[name](contrast) for name in self.weights}


@register_text_loss("nitc")
def _n_itc(contrast: Contrast) -> Tensor:
    soft_text, gathered_soft_text = contrast.text, contrast.gathered_text
    if contrast.outputs.soft_text_features is not None:
        soft_text = F.normalize(contrast.outputs.soft_text_features.float(), dim=-1)
        gathered_soft_text = contrast.gather(soft_text)
    losses = [
        n_itc(
            view,
            contrast.text,
            contrast.ids,
            contrast.scale,
            contrast.alpha,
            soft_image=view.detach(),
            soft_text=soft_text.detach(),
            gathered=gathered,
            gathered_soft=gathered._replace(text=gathered_soft_text),
        )
        for view, gathered in zip(contrast.views, contrast.gathered, strict=True)
    ]
    return torch.stack(losses).mean()


@register_text_loss("ritc")
def _r_itc(contrast: Contrast) -> Tensor:
    eps = contrast.settings.ritc_eps
    return r_itc(*contrast.pairs, contrast.scale, eps, gathered=contrast.gathered[0])


@register_text_loss("citc")
def _c_itc(contrast: Contrast) -> Tensor:
    image, text, _ = contrast.gathered[0]
    weights = contrast.settings.citc_inmodal, contrast.settings.citc_crossmodal
    return c_itc(image, text, contrast.scale, *weights)


@register_text_loss("ss")
def _simclr(contrast: Contrast) -> Tensor:
    assert contrast.outputs.simclr_features is not None
    view_a, view_b = F.normalize(contrast.outputs.simclr_features.float(), dim=-1)
    gathered_a, gathered_b = gather_together(contrast.gather, [view_a, view_b])
    return simclr(
        view_a,
        view_b,
        contrast.settings.simclr_temperature,
        gathered=(gathered_a, gathered_b),
        first=contrast.first_row,
    )


@register_text_loss("id")
def _identity(contrast: Contrast) -> Tensor:
    image, text = contrast.outputs.image_logits, contrast.outputs.text_logits
    assert image is not None
    assert text is not None
    return (identity(image.float(), contrast.ids) + identity(text.float(), contrast.ids)) / 2


@register_text_loss("mlm")
def _masked_lm(contrast: Contrast) -> Tensor:
    logits, labels = contrast.outputs.word_logits, contrast.batch.labels
    assert logits is not None
    assert labels is not None
    masked = (labels != -100).sum().float()
    mean_masked = contrast.gather(masked[None]).mean()  # every word counts alike in any process
    return masked_lm(logits.float(), labels[labels != -100], mean_masked)


@register_text_loss("itc")
def _itc(contrast: Contrast) -> Tensor:
    image, text, _ = contrast.pairs
    return itc(image, text, contrast.scale, gathered=contrast.gathered[0], first=contrast.first_row)


@register_text_loss("sdm")
def _sdm(contrast: Contrast) -> Tensor:
    return sdm(*contrast.pairs, contrast.scale, gathered=contrast.gathered[0])


@register_text_loss("sigmoid")
def _sigmoid(contrast: Contrast) -> Tensor:
    bias, ids = contrast.outputs.logit_bias, contrast.ids
    assert bias is not None, "the loss needs a backbone with a bias"
    by_pair = contrast.settings.sigmoid_positives == "pair"
    own = contrast.first_row + torch.arange(len(ids), device=ids.device)
    return sigmoid(
        *contrast.pairs,
        contrast.scale,
        bias,
        gathered=contrast.gathered[0],
        own=own if by_pair else None,
    )


@register_text_loss("cmpm")
def _cmpm(contrast: Contrast) -> Tensor:
    image, text = contrast.outputs.image_features[0].float(), contrast.outputs.text_features.float()
    gathered_image, gathered_text = gather_together(contrast.gather, [image, text])
    gathered = Pairs(gathered_image, gathered_text, contrast.gathered_ids)
    return cmpm(image, text, contrast.ids, gathered=gathered)
