"""Losses between images and captions, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from model.criteria.base import Criterion, LossRegistry
from model.gather import Alone, Gather, gather_together
from model.interface import TextBatch, TextOutputs
from model.objectives import (
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
    tal,
    trl,
)
from model.pairs import Pairs, Reduction


@dataclass(frozen=True)
class TextLossSettings:
    """Hyperparameters of the losses; the defaults are the published ones.

    Args:
        softlabel_ratio: weight of the soft labels in N-ITC once the first epoch is over.
        ritc_eps: added to the targets of R-ITC.
        citc_inmodal, citc_crossmodal: weights of the two parts of C-ITC.
        simclr_temperature: of the contrast between two views.
        tal_temperature, tal_margin: of TAL and TRL.
        sigmoid_positives: "identity": pairs of the same identity attract each other in the sigmoid
            loss; "pair": a caption and its own image alone, as published.
    """

    softlabel_ratio: float = 0.5
    ritc_eps: float = 1e-2
    citc_inmodal: float = 0.25
    citc_crossmodal: float = 0.25
    simclr_temperature: float = 0.1
    tal_temperature: float = 0.015
    tal_margin: float = 0.1
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
        reduce: the mean of the terms of the pairs, weighted by their cleanness where it is known.
        add: likewise the sum.
        reduce_twos: the mean of terms (B, B) of two pairs each, of all processes, weighted by the
            product of their cleanness.
    """

    def __init__(
        self,
        outputs: TextOutputs,
        batch: TextBatch,
        gather: Gather,
        settings: TextLossSettings,
        progress: float | Tensor,
        clean: Tensor | None = None,
    ) -> None:
        self.outputs, self.batch, self.gather, self.settings = outputs, batch, gather, settings
        grown = progress.clamp(max=1) if isinstance(progress, Tensor) else min(1.0, progress)
        self.alpha = settings.softlabel_ratio * grown
        self.scale = outputs.logit_scale.exp()
        self.ids, self.gathered_ids = batch.ids, gather(batch.ids)
        self.first_row = gather.rank * len(batch)
        self.views = F.normalize(outputs.image_features.float(), dim=-1)
        self.text = F.normalize(outputs.text_features.float(), dim=-1)
        *gathered_views, self.gathered_text = gather_together(gather, [*self.views, self.text])
        self.gathered = [
            Pairs(view, self.gathered_text, self.gathered_ids) for view in gathered_views
        ]

        self.reduce: Reduction = torch.mean
        self.add: Reduction = torch.sum
        self.reduce_twos: Reduction = torch.mean
        if clean is not None:
            self.add = lambda terms: (clean * terms).sum()
            gathered_clean = gather(clean)
            mean = gathered_clean.mean()
            divisor = mean.where(mean > 0, torch.ones_like(mean))
            weights, all_weights = clean / divisor, gathered_clean / divisor
            self.reduce = lambda terms: (weights * terms).mean()
            self.reduce_twos = lambda terms: (all_weights[:, None] * all_weights * terms).mean()

    @property
    def pairs(self) -> Pairs:
        """The first view of this process's images, and their captions."""
        return Pairs(self.views[0], self.text, self.ids)

    @cached_property
    def embeddings(self) -> list[tuple[Pairs, Pairs]]:
        """`pairs` and those of all processes, for each embedding that the model has."""
        found = [(self.pairs, self.gathered[0])]
        image, text = self.outputs.image_selection, self.outputs.text_selection
        if image is not None and text is not None:
            image, text = (F.normalize(rows.float(), dim=-1) for rows in (image, text))
            all_image, all_text = gather_together(self.gather, [image, text])
            gathered = Pairs(all_image, all_text, self.gathered_ids)
            found.append((Pairs(image, text, self.ids), gathered))
        return found


LOSSES: LossRegistry[Contrast] = LossRegistry()
register_text_loss = LOSSES.register  # @register_text_loss(name) over a (contrast) -> Tensor


class TextCriterion(Criterion[TextOutputs, TextBatch]):
    """A weighted sum of registered losses between images and captions.

    If `clean` is set, N-ITC, R-ITC, ITC, SDM, CMPM, the sigmoid loss, TAL and TRL multiply the
    terms of each pair by its weight there, and C-ITC those of two pairs by both of their weights.
    All but TAL and TRL divide the weights by the mean weight of the global batch.
    ITC, SDM, TAL and TRL are the sum over the embeddings, if the model has two.

    Attributes:
        clean: (N,), the weight of each pair of the training set, on the device that trains.

    Raises:
        InputError: a loss is not registered.
    """

    def __init__(
        self, weights: Mapping[str, float], settings: TextLossSettings | None = None
    ) -> None:
        LOSSES.require(weights, "experiment.losses")
        super().__init__(weights)
        self.settings = settings or TextLossSettings()
        self.clean: Tensor | None = None

    def __call__(
        self,
        outputs: TextOutputs,
        batch: TextBatch,
        gather: Gather | None = None,
        progress: float | Tensor = 1.0,
    ) -> dict[str, Tensor]:
        """The losses of one batch, un-weighted, by name."""
        clean = None
        if self.clean is not None:
            assert batch.indices is not None
            clean = self.clean[batch.indices]
        contrast = Contrast(outputs, batch, gather or Alone(), self.settings, progress, clean)
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
            reduce=contrast.reduce,
        )
        for view, gathered in zip(contrast.views, contrast.gathered, strict=True)
    ]
    return torch.stack(losses).mean()


@register_text_loss("ritc")
def _r_itc(contrast: Contrast) -> Tensor:
    eps, gathered = contrast.settings.ritc_eps, contrast.gathered[0]
    return r_itc(*contrast.pairs, contrast.scale, eps, gathered=gathered, reduce=contrast.reduce)


@register_text_loss("citc")
def _c_itc(contrast: Contrast) -> Tensor:
    image, text, _ = contrast.gathered[0]
    weights = contrast.settings.citc_inmodal, contrast.settings.citc_crossmodal
    return c_itc(image, text, contrast.scale, *weights, reduce=contrast.reduce_twos)


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


def _itc_of(contrast: Contrast, own: Pairs, gathered: Pairs, reduce: Reduction) -> Tensor:
    first = contrast.first_row
    return itc(own.image, own.text, contrast.scale, gathered=gathered, first=first, reduce=reduce)


def _sdm_of(contrast: Contrast, own: Pairs, gathered: Pairs, reduce: Reduction) -> Tensor:
    return sdm(*own, contrast.scale, gathered=gathered, reduce=reduce)


def _tal_of(contrast: Contrast, own: Pairs, gathered: Pairs, reduce: Reduction) -> Tensor:
    settings = contrast.settings.tal_temperature, contrast.settings.tal_margin
    return tal(*own, *settings, gathered=gathered, reduce=reduce)


def _trl_of(contrast: Contrast, own: Pairs, gathered: Pairs, reduce: Reduction) -> Tensor:
    settings = contrast.settings.tal_temperature, contrast.settings.tal_margin
    return trl(*own, *settings, gathered=gathered, reduce=reduce)


PairLoss = Callable[[Contrast, Pairs, Pairs, Reduction], Tensor]
PAIR_LOSSES: dict[str, PairLoss] = {
    "tal": _tal_of, "trl": _trl_of, "itc": _itc_of, "sdm": _sdm_of
}  # fmt: skip


def pair_terms(
    name: str, outputs: TextOutputs, batch: TextBatch, settings: TextLossSettings
) -> Tensor:
    """The terms of a batch's pairs in one of `PAIR_LOSSES`: (embeddings, B)."""
    contrast = Contrast(outputs, batch, Alone(), settings, progress=1.0)
    pairs = contrast.embeddings
    return torch.stack([PAIR_LOSSES[name](contrast, *each, lambda terms: terms) for each in pairs])


def _over_embeddings(contrast: Contrast, loss: PairLoss, reduce: Reduction) -> Tensor:
    return torch.stack([loss(contrast, *each, reduce) for each in contrast.embeddings]).sum()


@register_text_loss("itc")
def _itc(contrast: Contrast) -> Tensor:
    return _over_embeddings(contrast, _itc_of, contrast.reduce)


@register_text_loss("sdm")
def _sdm(contrast: Contrast) -> Tensor:
    return _over_embeddings(contrast, _sdm_of, contrast.reduce)


@register_text_loss("tal")
def _tal(contrast: Contrast) -> Tensor:
    return _over_embeddings(contrast, _tal_of, contrast.add)


@register_text_loss("trl")
def _trl(contrast: Contrast) -> Tensor:
    return _over_embeddings(contrast, _trl_of, contrast.add)


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
        reduce=contrast.reduce,
    )


@register_text_loss("cmpm")
def _cmpm(contrast: Contrast) -> Tensor:
    image, text = contrast.outputs.image_features[0].float(), contrast.outputs.text_features.float()
    gathered_image, gathered_text = gather_together(contrast.gather, [image, text])
    gathered = Pairs(gathered_image, gathered_text, contrast.gathered_ids)
    return cmpm(image, text, contrast.ids, gathered=gathered, reduce=contrast.reduce)
