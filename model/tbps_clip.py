"""TBPS-CLIP: CLIP's two towers trained to find a person from a sentence.

Cao et al., An Empirical Study of CLIP for Text-Based Person Search, AAAI 2024, arXiv 2308.10045.
"""

from typing import Literal, Protocol, overload

import torch
from torch import Tensor

from model.clip import DualEncoder
from model.heads import Classifier, MaskedLanguageDecoder, ProjectionHead
from model.interface import Method, TextBatch, TextOutputs
from model.weights.hash import hash_weights

# Beginnings of the names of parameters without pretraining, which train at a multiple of the rate.
NEW_PARAMETERS = (
    "classifier.",
    "mlm_decoder.cross_attn.",
    "mlm_decoder.transformer.",
    "mlm_decoder.to_words.",
)


class Encoder(Protocol):
    """`DualEncoder.encode_image` or `encode_text`."""

    @overload
    def __call__(self, inputs: Tensor, /) -> Tensor: ...
    @overload
    def __call__(self, inputs: Tensor, /, dense: Literal[True]) -> tuple[Tensor, Tensor]: ...


class TBPSCLIP(Method[TextBatch, TextOutputs]):
    """A batch in, features and logits out; heads that are not given are left out.

    Args:
        clip: the backbone.
        simclr_mlp: projects the features of two views for their contrast.
        classifier: identities from the features of either modality.
        mlm_decoder: masked words from the dense features of both.
        fresh_soft_pass: compute the soft labels' text features in a pass of their own, with another
            dropout mask, as published; else they are those of the pass with gradient.
    """

    def __init__(
        self,
        clip: DualEncoder,
        simclr_mlp: ProjectionHead | None = None,
        classifier: Classifier | None = None,
        mlm_decoder: MaskedLanguageDecoder | None = None,
        fresh_soft_pass: bool = False,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.simclr_mlp, self.classifier, self.mlm_decoder = simclr_mlp, classifier, mlm_decoder
        self.fresh_soft_pass = fresh_soft_pass

    def forward(self, batch: TextBatch) -> TextOutputs:
        """Encode all pictures in one call and the captions in another; then the heads."""
        views, simclr_views, image_tokens = self._encode_pictures(batch)
        text_features, text_tokens = self._encode(self.clip.encode_text, batch.tokens)
        soft_text_features = image_logits = text_logits = word_logits = None
        if self.fresh_soft_pass:
            # After the pass with gradient: autocast caches its casts of the weights, and those made
            # without a graph would cut it off.
            with torch.no_grad():
                soft_text_features = self.encode_text(batch.tokens)
        if self.classifier is not None:
            image_logits, text_logits = self.classifier(views[0]), self.classifier(text_features)
        if self.mlm_decoder is not None:
            assert batch.labels is not None, "the decoder needs a batch with masked words"
            assert text_tokens is not None
            assert image_tokens is not None
            word_logits = self.mlm_decoder(text_tokens, image_tokens[: len(batch)], batch.labels)
        return TextOutputs(
            image_features=views,
            text_features=text_features,
            logit_scale=self.clip.logit_scale,
            logit_bias=self.clip.logit_bias,
            soft_text_features=soft_text_features,
            simclr_features=None if self.simclr_mlp is None else self.simclr_mlp(simclr_views),
            image_logits=image_logits,
            text_logits=text_logits,
            word_logits=word_logits,
        )

    def _encode_pictures(self, batch: TextBatch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features (V, B, D) of the training views, (2 or 0, B, D) of SimCLR's, and all tokens."""
        groups = [batch.images]
        if self.simclr_mlp is not None:
            assert batch.simclr_images is not None, "the head needs a batch with SimCLR views"
            groups.append(batch.simclr_images)
        pictures = torch.cat(groups).flatten(0, 1)  # (all views x B, 3, rows, columns)
        features, tokens = self._encode(self.clip.encode_image, pictures)
        features = features.unflatten(0, (-1, len(batch)))  # (all views, B, D)
        return features[: len(batch.images)], features[len(batch.images) :], tokens

    def _encode(self, encode: Encoder, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and, where the decoder needs them, every token's."""
        if self.mlm_decoder is None:
            return encode(inputs), None
        return encode(inputs, dense=True)

    def encode_image(self, images: Tensor) -> Tensor:
        """(N, 3, rows, columns) -> (N, D), un-normalised."""
        return self.clip.encode_image(images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(N, L) -> (N, D), un-normalised."""
        return self.clip.encode_text(tokens)

    def encoder_hash(self) -> str:
        towers = {k: v for k, v in self.state_dict().items() if k.startswith("clip.")}
        return hash_weights(towers)

    @torch.no_grad()
    def constrain(self) -> None:
        """Clamp the parameters that have bounds; called after each optimizer step.

        The logit scale itself is clamped, not its value in the forward pass: there the gradient
        would push the parameter on beyond the clamp, or stop for good.
        """
        self.clip.logit_scale.clamp_(max=self.clip.largest_logit_scale)
