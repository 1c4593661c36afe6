"""From the names of losses and their weights to the losses of one batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.criteria.base import Criterion
from model.gather import Alone, Gather, gather_together
from model.interface import TextBatch, TextOutputs
from model.objectives import Pairs, c_itc, cmpm, identity, itc, masked_lm, n_itc, r_itc, sdm, simclr


@dataclass(frozen=True)
class TextLossSettings:
    """What the losses can be told, with the published values.

    Args:
        softlabel_ratio: weight of the soft labels in N-ITC once the first epoch is over.
        ritc_eps: what R-ITC adds to its targets.
        citc_inmodal, citc_crossmodal: weights of the two parts of C-ITC.
        simclr_temperature: of the contrast of two views.
    """

    softlabel_ratio: float = 0.5
    ritc_eps: float = 1e-2
    citc_inmodal: float = 0.25
    citc_crossmodal: float = 0.25
    simclr_temperature: float = 0.1


class TextCriterion(Criterion):
    """The losses between pictures and captions."""

    def __init__(
        self, weights: Mapping[str, float], settings: TextLossSettings | None = None
    ) -> None:
        super().__init__(weights, LOSSES)
        self.settings = settings or TextLossSettings()

    def __call__(
        self,
        outputs: TextOutputs,
        batch: TextBatch,
        gather: Gather | None = None,
        progress: float = 1.0,
    ) -> dict[str, Tensor]:
        """The losses of one batch; the soft labels grow over the first epoch."""
        contrast = Contrast(outputs, batch, gather or Alone(), self.settings, progress)
        return {name: LOSSES[name](contrast) for name in self.weights}


class Contrast:
    """What the losses of one batch contrast: normalised features of this process with all."""

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
        self.ids = batch.ids
        self.every_ids = gather(batch.ids)
        self.first = gather.rank * len(batch)
        self.views = F.normalize(outputs.image_features.float(), dim=-1)  # (V, B, D)
        self.text = F.normalize(outputs.text_features.float(), dim=-1)  # (B, D)
        *every_view, self.every_text = gather_together(gather, [*self.views, self.text])
        self.every = [Pairs(view, self.every_text, self.every_ids) for view in every_view]

    @property
    def first_view(self) -> Pairs:
        """The pairs of this process."""
        return Pairs(self.views[0], self.text, self.ids)


def _n_itc(contrast: Contrast) -> Tensor:
    soft_text, every_soft_text = contrast.text, contrast.every_text
    if contrast.outputs.soft_text_features is not None:
        soft_text = F.normalize(contrast.outputs.soft_text_features.float(), dim=-1)
        every_soft_text = contrast.gather(soft_text)
    losses = [
        n_itc(
            view,
            contrast.text,
            contrast.ids,
            contrast.scale,
            contrast.alpha,
            soft_image=view.detach(),
            soft_text=soft_text.detach(),
            gathered=every,
            gathered_soft=every._replace(text=every_soft_text),
        )
        for view, every in zip(contrast.views, contrast.every, strict=True)
    ]
    return torch.stack(losses).mean()


def _r_itc(contrast: Contrast) -> Tensor:
    eps = contrast.settings.ritc_eps
    return r_itc(*contrast.first_view, contrast.scale, eps, gathered=contrast.every[0])


def _c_itc(contrast: Contrast) -> Tensor:
    image, text, _ = contrast.every[0]
    weights = contrast.settings.citc_inmodal, contrast.settings.citc_crossmodal
    return c_itc(image, text, contrast.scale, *weights)


def _itc(contrast: Contrast) -> Tensor:
    image, text, _ = contrast.first_view
    return itc(image, text, contrast.scale, gathered=contrast.every[0], first=contrast.first)


def _sdm(contrast: Contrast) -> Tensor:
    return sdm(*contrast.first_view, contrast.scale, gathered=contrast.every[0])


def _cmpm(contrast: Contrast) -> Tensor:
    image, text = contrast.outputs.image_features[0].float(), contrast.outputs.text_features.float()
    every_image, every_text = gather_together(contrast.gather, [image, text])
    every = Pairs(every_image, every_text, contrast.every_ids)
    return cmpm(image, text, contrast.ids, gathered=every)


def _simclr(contrast: Contrast) -> Tensor:
    assert contrast.outputs.simclr_features is not None
    view_a, view_b = F.normalize(contrast.outputs.simclr_features.float(), dim=-1)
    every_a, every_b = gather_together(contrast.gather, [view_a, view_b])
    temperature = contrast.settings.simclr_temperature
    return simclr(view_a, view_b, temperature, gathered=(every_a, every_b), first=contrast.first)


def _identity(contrast: Contrast) -> Tensor:
    image, text = contrast.outputs.image_logits, contrast.outputs.text_logits
    assert image is not None
    assert text is not None
    return (identity(image.float(), contrast.ids) + identity(text.float(), contrast.ids)) / 2


def _masked_lm(contrast: Contrast) -> Tensor:
    logits, labels = contrast.outputs.word_logits, contrast.batch.labels
    assert logits is not None
    assert labels is not None
    masked = (labels != -100).sum().float()
    mean_masked = contrast.gather(masked[None]).mean()  # a word counts alike in every process
    return masked_lm(logits.float(), labels[labels != -100], mean_masked)


LOSSES: dict[str, Callable[[Contrast], Tensor]] = {
    "nitc": _n_itc,
    "ritc": _r_itc,
    "citc": _c_itc,
    "ss": _simclr,
    "id": _identity,
    "mlm": _masked_lm,
    "itc": _itc,
    "sdm": _sdm,
    "cmpm": _cmpm,
}
