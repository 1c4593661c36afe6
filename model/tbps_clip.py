"""TBPS-CLIP: CLIP's two towers trained to find a person from a sentence.

Cao et al., An Empirical Study of CLIP for Text-Based Person Search, AAAI 2024, arXiv 2308.10045.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from errors import InputError
from model.clip import DualEncoder
from model.heads import (
    Classifier,
    ImageTokenSelection,
    MaskedLanguageDecoder,
    ProjectionHead,
    SelectionShape,
    TextTokenSelection,
)
from model.interface import Method, TextBatch, TextOutputs
from model.weights.hash import hash_weights

# Beginnings of the names of parameters without pretraining, which train at a multiple of the rate;
# in the decoder's blocks the biases may have another one, as in IRRA's code.
NEW_PARAMETERS = ("classifier.", "mlm_decoder.to_words.", "image_selector.", "text_selector.")
NEW_WEIGHTS = ("mlm_decoder.cross_attn.", "mlm_decoder.transformer.")


# Beginnings of the names of parameters that an embedding depends on; only losses read the others.
ENCODERS = ("clip.", "image_selector.", "text_selector.")


class Selectors(NamedTuple):
    """The heads of a second embedding, from the tokens that draw the most attention."""

    image: ImageTokenSelection
    text: TextTokenSelection


def build_selectors(clip: DualEncoder, shape: SelectionShape | None) -> Selectors | None:
    """New heads of a second embedding, None without a shape.

    Raises:
        InputError: a tower has no attention to choose tokens by.
    """
    if shape is None:
        return None
    if not clip.shows_attention:
        raise InputError(
            "model.token_selection chooses tokens by the attention in CLIP's last blocks, which a "
            "ResNet does not have: set it to null, or give weights of CLIP with a ViT"
        )
    text = clip.text.shape
    return Selectors(
        ImageTokenSelection(clip.embed_dim, shape),
        TextTokenSelection(clip.embed_dim, shape, text.context_length),
    )


class Encoded(NamedTuple):
    """Features (B, D), and, where a head needs them, every token's (B, L, D) and their attention
    (B, L).
    """

    features: Tensor
    tokens: Tensor | None = None
    attention: Tensor | None = None


def join_embeddings(*embeddings: Tensor) -> Tensor:
    """Several embeddings (N, D_i) as one (N, sum of D_i), whose cosine is the mean of theirs."""
    normalised = [F.normalize(embedding.float(), dim=-1) for embedding in embeddings]
    return torch.cat(normalised, dim=-1) / math.sqrt(len(normalised))


class TBPSCLIP(Method[TextBatch, TextOutputs]):
    """A batch in, features and logits out; heads that are not given are left out.

    Args:
        clip: the backbone.
        simclr_mlp: projects the features of two views for their contrast.
        classifier: identities from the features of either modality.
        mlm_decoder: masked words from the dense features of both.
        selectors: a second embedding of either modality (Qin et al. 2024).
        fresh_soft_pass: compute the soft labels' text features in a pass of their own, with another
            dropout mask, as published; else they are those of the pass with gradient.
    """

    def __init__(
        self,
        clip: DualEncoder,
        simclr_mlp: ProjectionHead | None = None,
        classifier: Classifier | None = None,
        mlm_decoder: MaskedLanguageDecoder | None = None,
        selectors: Selectors | None = None,
        fresh_soft_pass: bool = False,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.image_selector = selectors.image if selectors else None
        self.text_selector = selectors.text if selectors else None
        self.simclr_mlp, self.classifier, self.mlm_decoder = simclr_mlp, classifier, mlm_decoder
        self.fresh_soft_pass = fresh_soft_pass

    def forward(self, batch: TextBatch) -> TextOutputs:
        """Encode all pictures in one call and the captions in another; then the heads."""
        size, groups = len(batch), [batch.images]
        if self.simclr_mlp is not None:
            assert batch.simclr_images is not None, "the head needs a batch with SimCLR views"
            groups.append(batch.simclr_images)
        image = self._encode_image(torch.cat(groups).flatten(0, 1))  # (all views x B, ...)
        text = self._encode_text(batch.tokens)
        views, simclr_views = image.features.unflatten(0, (-1, size)).tensor_split(
            [len(batch.images)]
        )  # (V, B, D), (2 or 0, B, D)
        soft_text_features = image_logits = text_logits = word_logits = None
        image_selection = text_selection = None
        if self.fresh_soft_pass:
            # After the pass with gradient: autocast caches its casts of the weights, and those made
            # without a graph would cut it off.
            with torch.no_grad():
                soft_text_features = self.clip.encode_text(batch.tokens)
        if self.classifier is not None:
            image_logits = self.classifier(views[0])
            text_logits = self.classifier(text.features)
        if self.mlm_decoder is not None:
            word_logits = self._predict_words(batch, image, text)
        if self.image_selector is not None:
            image_selection, text_selection = self._select_tokens(batch, image, text)
        return TextOutputs(
            image_features=views,
            text_features=text.features,
            logit_scale=self.clip.logit_scale,
            logit_bias=self.clip.logit_bias,
            soft_text_features=soft_text_features,
            simclr_features=None if self.simclr_mlp is None else self.simclr_mlp(simclr_views),
            image_logits=image_logits,
            text_logits=text_logits,
            word_logits=word_logits,
            image_selection=image_selection,
            text_selection=text_selection,
        )

    def _select_tokens(
        self, batch: TextBatch, image: Encoded, text: Encoded
    ) -> tuple[Tensor, Tensor]:
        """The second embedding of the first views and of the captions, (B, E) each."""
        assert self.image_selector is not None
        assert self.text_selector is not None
        assert image.tokens is not None
        assert image.attention is not None
        size, ends = len(batch), self.clip.text.locate(batch.tokens)
        return (
            self.image_selector(image.tokens[:size], image.attention[:size]),
            self.text_selector(text.tokens, text.attention, ends),
        )

    def _predict_words(self, batch: TextBatch, image: Encoded, text: Encoded) -> Tensor:
        assert self.mlm_decoder is not None
        assert batch.labels is not None, "the decoder needs a batch with masked words"
        assert image.tokens is not None
        words = text.tokens
        if batch.masked_tokens is not None:
            _, words = self.clip.encode_text(batch.masked_tokens, dense=True)
        assert words is not None
        return self.mlm_decoder(words, image.tokens[: len(batch)], batch.labels)

    def _encode_image(self, images: Tensor) -> Encoded:
        if self.image_selector is not None:
            return Encoded(*self.clip.attend_image(images))
        if self.mlm_decoder is not None:
            return Encoded(*self.clip.encode_image(images, dense=True))
        return Encoded(self.clip.encode_image(images))

    def _encode_text(self, tokens: Tensor) -> Encoded:
        if self.text_selector is not None:
            return Encoded(*self.clip.attend_text(tokens))
        if self.mlm_decoder is not None:
            return Encoded(*self.clip.encode_text(tokens, dense=True))
        return Encoded(self.clip.encode_text(tokens))

    def encode_image(self, images: Tensor) -> Tensor:
        """(N, 3, rows, columns) -> (N, D), un-normalised; (N, D+E) of `join_embeddings` where there
        are two.
        """
        if self.image_selector is None:
            return self.clip.encode_image(images)
        features, tokens, attention = self.clip.attend_image(images)
        return join_embeddings(features, self.image_selector(tokens, attention))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(N, L) -> (N, D), un-normalised; (N, D+E) of `join_embeddings` where there are two."""
        if self.text_selector is None:
            return self.clip.encode_text(tokens)
        features, every, attention = self.clip.attend_text(tokens)
        ends = self.clip.text.locate(tokens)
        return join_embeddings(features, self.text_selector(every, attention, ends))

    def encoder_hash(self) -> str:
        encoders = {k: v for k, v in self.state_dict().items() if k.startswith(ENCODERS)}
        return hash_weights(encoders)

    @torch.no_grad()
    def constrain(self) -> None:
        """Clamp the parameters that have bounds; called after each optimizer step.

        The logit scale itself is clamped, not its value in the forward pass: there the gradient
        would push the parameter on beyond the clamp, or stop for good.
        """
        self.clip.logit_scale.clamp_(max=self.clip.largest_logit_scale)
