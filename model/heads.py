"""Heads on the features of the two towers."""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.batch_norm import BatchNorm
from model.transformer import QuickGELU, Transformer


class ProjectionHead(nn.Sequential):
    """Linear layers with ReLU in between, as SimCLR projects its views (Chen et al. 2020).

    Args:
        widths: of the input, the hidden layers and the output.
    """

    def __init__(self, *widths: int) -> None:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        super().__init__(*layers[:-1])


class Classifier(nn.Linear):
    """Identity logits: (B, D) -> (B, num_identities). Weights N(0, 0.001), bias 0."""

    def __init__(self, width: int, num_identities: int, bias: bool = True) -> None:
        super().__init__(width, num_identities, bias)
        nn.init.normal_(self.weight, std=0.001)
        if bias:
            nn.init.zeros_(self.bias)


class BNNeck(BatchNorm):
    """Batch norm between the features of metric losses and those of a classifier, (B, D) -> (B, D)
    (Luo et al. 2019, arXiv 1903.07071, section 3.5).

    The bias stays 0, so that the classifier's hyperplanes pass through the origin.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.bias.requires_grad_(False)


class IdentityHead(nn.Module):
    """A BN neck and a classifier without bias: (B, D) -> (B, num_identities)."""

    def __init__(self, width: int, num_identities: int) -> None:
        super().__init__()
        self.neck = BNNeck(width)
        self.classifier = Classifier(width, num_identities, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.neck(features))


@dataclass(frozen=True)
class SelectionShape:
    """Sizes of `TokenSelection`: E, and the share of the tokens that is chosen."""

    embed_dim: int = 1024
    ratio: float = 0.3


class TokenSelection(nn.Module):
    """An embedding of the tokens that draw the most attention (Qin et al. 2024, RDE, arXiv
    2308.09911, section 3.2: token selection embedding).

    Their normalised features go through a linear layer and, beside it, an MLP with batch norm; the
    maximum over the tokens is the embedding.

    Args:
        width: D, of the tokens.
    """

    def __init__(self, width: int, shape: SelectionShape) -> None:
        super().__init__()
        self.shape, hidden = shape, shape.embed_dim // 2
        self.linear = nn.Linear(width, shape.embed_dim)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            BatchNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, shape.embed_dim),
        )

    def pool(
        self, tokens: Tensor, attention: Tensor, count: int, lengths: Tensor | None = None
    ) -> Tensor:
        """Tokens (B, L, D) -> the embedding (B, E).

        Args:
            attention: (B, L); the first of equals is chosen first.
            count: tokens that are chosen, one at least.
            lengths: (B,); only so many of them, the first, are looked at. None: all.
        """
        order = attention.argsort(dim=1, descending=True, stable=True)[:, : max(1, count)]  # (B, k)
        x = tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2])).float()
        x = x / (x.norm(dim=2, keepdim=True) + 1e-8)  # (B, k, D)
        x = self.linear(x) + self.mlp(x.flatten(0, 1)).unflatten(0, order.shape)  # (B, k, E)
        if lengths is not None:
            places = torch.arange(order.shape[1], device=order.device)
            x = x.masked_fill((places >= lengths[:, None].clamp(min=1))[..., None], -torch.inf)
        return x.max(dim=1).values


class ImageTokenSelection(TokenSelection):
    """`TokenSelection` among the patches of an image."""

    def forward(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """Tokens (B, 1+N, D), attention of the class token, their first, (B, 1+N) -> (B, E)."""
        patches = attention[:, 1:]
        return self.pool(tokens[:, 1:], patches, int(patches.shape[1] * self.shape.ratio))


class TextTokenSelection(TokenSelection):
    """`TokenSelection` among the words of a caption.

    Padding fills the tokens up to their number, which batch norm sees in training.

    Args:
        context_length: that the share of the tokens is of.
    """

    def __init__(self, width: int, shape: SelectionShape, context_length: int) -> None:
        super().__init__(width, shape)
        self.count = int((context_length - 2) * shape.ratio)

    def forward(self, tokens: Tensor, attention: Tensor, ends: Tensor) -> Tensor:
        """Tokens (B, L, D), attention of the end-of-text token (B, L), its index (B,) -> (B, E)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        attention = attention.masked_fill(places > ends[:, None], 0.0)
        attention = attention.masked_fill((places == ends[:, None]) | (places == 0), -1.0)
        return self.pool(tokens, attention, self.count, ends - 1)


class MaskedLanguageDecoder(nn.Module):
    """Masked words predicted from caption and image (Cao et al. 2024; IRRA, section 3.2).

    Cross-attention from the caption's tokens to the image's, self-attention blocks, and logits over
    the vocabulary at the masked tokens only.

    Args:
        width: D, of the dense features.
        depth: self-attention blocks after the cross-attention.
        heads: of every attention layer.
    """

    def __init__(self, width: int, depth: int, heads: int, vocab_size: int) -> None:
        super().__init__()
        self.ln_text, self.ln_image = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.transformer = Transformer(width, depth, heads)
        self.ln_post = nn.LayerNorm(width)
        dense, to_vocabulary = nn.Linear(width, width), nn.Linear(width, vocab_size)
        self.to_words = nn.Sequential(dense, QuickGELU(), nn.LayerNorm(width), to_vocabulary)
        nn.init.normal_(self.cross_attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(self.cross_attn.out_proj.weight, std=(2 * depth * width) ** -0.5)
        nn.init.normal_(dense.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(to_vocabulary.weight, std=(2 * depth * width) ** -0.5)

    def forward(self, text: Tensor, image: Tensor, labels: Tensor) -> Tensor:
        """Logits (M, vocabulary) at the M masked tokens, in row-major order.

        Args:
            text: (B, L, D), token features of the masked caption.
            image: (B, 1+N, D), token features of the image.
            labels: (B, L), -100 at tokens that are not masked.
        """
        image = self.ln_image(image)
        x, _ = self.cross_attn(self.ln_text(text), image, image, need_weights=False)  # (B, L, D)
        x = self.ln_post(self.transformer(x))
        return self.to_words(x[labels != -100])


class Combiner(nn.Module):
    """The query of a picture and words (Baldrati et al., Effective conditioned and composed image
    retrieval combining CLIP-based features, CVPR 2022).

    A gate weighs both features, and an MLP over both adds what their sum lacks. Untrained it is
    the sum in equal parts; the paper's starts at random, and its layers are four times as wide.

    Args:
        width: D, of the features.
    """

    def __init__(self, width: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.width = width

        def layer(fan_in: int, fan_out: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(fan_in, fan_out), nn.ReLU(), nn.Dropout(dropout))

        self.image, self.text = layer(width, width), layer(width, width)
        to_residual, to_gate = nn.Linear(2 * width, width), nn.Linear(2 * width, 1)
        self.residual = nn.Sequential(layer(2 * width, 2 * width), to_residual)
        self.gate = nn.Sequential(layer(2 * width, 2 * width), to_gate)
        for last in (to_residual, to_gate):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Normalised features (B, D) of pictures and of words -> normalised queries (B, D)."""
        x = torch.cat([self.image(image), self.text(text)], dim=-1)  # (B, 2 D)
        gate = self.gate(x).sigmoid()  # (B, 1), the share of the words
        return F.normalize(self.residual(x) + gate * text + (1 - gate) * image, dim=-1)
