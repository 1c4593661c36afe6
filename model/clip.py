"""CLIP's dual encoder (Radford et al., 2021, arXiv 2103.00020)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, overload

import torch
from torch import Tensor, nn

from model.resnet import ModifiedResNet, ResNetShape
from model.transformer import Activation, Transformer
from model.tuning.description import LoraTarget, Tower
from model.tuning.ways import Way
from model.vit import VisionShape, VisionTransformer

PIXEL_MEAN, PIXEL_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# Names of the linear layers in a tower of CLIP, as regular expressions.
LORA_LAYERS: dict[LoraTarget, str] = {
    "attention": r"transformer\.blocks\.\d+\.attn\.(q|k|v|out)_proj",
    "mlp": r"transformer\.blocks\.\d+\.mlp\.c_(fc|proj)",
}


@dataclass(frozen=True)
class TextShape:
    """Sizes of the text tower; `dropout` is that of its attention weights.

    `mlp_width` is that of the MLPs' hidden layer; None: four times the width.
    """

    width: int
    layers: int
    heads: int
    context_length: int
    vocab_size: int
    dropout: float = 0.0
    mlp_width: int | None = None


class TextTransformer(nn.Module):
    """A causal transformer over token ids; a caption's feature stands at its end-of-text token."""

    def __init__(
        self,
        shape: TextShape,
        embed_dim: int,
        activation: Activation = "quickgelu",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.token_embedding = nn.Embedding(shape.vocab_size, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(shape.context_length, width))
        self.transformer = Transformer(
            width,
            shape.layers,
            shape.heads,
            activation=activation,
            causal=True,
            dropout=shape.dropout,
            gradient_checkpointing=gradient_checkpointing,
            mlp_width=shape.mlp_width,
        )
        self.ln_final = nn.LayerNorm(width)
        self.projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    @property
    def room(self) -> int:
        """Tokens of the longest caption that is read whole: prompts take places of their own."""
        prompts = self.transformer.prompts
        return self.shape.context_length - (0 if prompts is None else prompts.count)

    def cut(self, tokens: Tensor) -> Tensor:
        """Ids (B, L) -> (B, L'), L' up to `room`; the end of a caption that is cut stays, last."""
        if tokens.shape[1] <= self.room:
            return tokens
        kept, rest = tokens.tensor_split([self.room - 1], dim=1)
        return torch.cat([kept, rest.amax(dim=1, keepdim=True)], dim=1)

    def embed(self, tokens: Tensor) -> Tensor:
        """Ids (B, L), L up to `room` -> (B, L, width); prompts, if any, are among the words."""
        x, prompts = self.token_embedding(tokens), self.transformer.prompts
        if prompts is not None:
            x = prompts(0, x)
        return x + self.positional_embedding[: x.shape[1]]

    def locate(self, tokens: Tensor) -> Tensor:
        """The end-of-text token, whose id is the highest: ids (B, L) -> (B,), below `room`."""
        return tokens.argmax(dim=1).clamp(max=self.room - 1)

    def project(self, x: Tensor) -> Tensor:
        """Tokens (..., width) -> the joint space (..., embed_dim)."""
        return self.ln_final(x) @ self.projection

    def attend(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`forward`, and the attention of the end-of-text token in the last block, (B, L)."""
        return self.transformer.attend(self.embed(self.cut(tokens)), self.locate(tokens))

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids (B, L) -> tokens after the last block (B, L, width), L at most `room`: see `cut`."""
        x, prompts = self.transformer(self.embed(self.cut(tokens))), self.transformer.prompts
        return x if prompts is None else prompts.remove(x)


class Attended(NamedTuple):
    """Features of a batch, and the attention that they come from."""

    features: Tensor  # (B, D), of the class or end-of-text token, not normalised
    tokens: Tensor  # (B, L, D), every token's
    attention: Tensor  # (B, L), of that token to all in the last block, the mean over the heads


class ImageTower(Protocol):
    """The interface of an image tower, as `DualEncoder` uses it."""

    @property
    def shape(self) -> VisionShape | ResNetShape: ...

    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> tokens (B, N, width)."""

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> features (B, D), not normalised."""

    def project(self, x: Tensor) -> Tensor:
        """Tokens (..., width) -> the joint space (..., embed_dim)."""


class TextTower(Protocol):
    """The interface of a text tower, as `DualEncoder` uses it."""

    @property
    def shape(self) -> TextShape: ...

    @property
    def room(self) -> int:
        """Tokens of the longest caption that is read whole."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """Ids (B, L) -> tokens after the last block (B, L, width)."""

    def locate(self, tokens: Tensor) -> Tensor:
        """Index of the token that the caption's feature is read from: ids (B, L) -> (B,)."""

    def project(self, x: Tensor) -> Tensor:
        """Tokens (..., width) -> the joint space (..., embed_dim)."""


class DualEncoder(nn.Module):
    """The two towers, and `logit_scale`, the logarithm of the factor of their similarities.

    `logit_bias` is added to them; SigLIP has one, others None.

    `prompts` is a slot for the parameters of the prompts in both towers; `ways` holds the
    registered ways of tuning by name.

    Args:
        embed_dim: D, the width of the joint space.
        activation: of the image tower's MLPs.
    """

    logit_bias: nn.Parameter | None
    # Of the steps of a training; exp of it is 100 (Radford et al., 2021, section 2.5).
    largest_logit_scale: float = math.log(100)
    # By tower: the linear layers that LoRA can wrap, as regular expressions.
    lora_layers: Mapping[Tower, Mapping[LoraTarget, str]] = {
        "image": LORA_LAYERS,
        "text": LORA_LAYERS,
    }

    def __init__(
        self,
        visual: ImageTower,
        text: TextTower,
        embed_dim: int,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.embed_dim, self.activation = embed_dim, activation
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.register_parameter("logit_bias", None)
        self.prompts: nn.Module | None = None
        self.ways: dict[str, Way] = {}

    @torch.no_grad()
    def set_temperature(self, temperature: float) -> None:
        """Multiply the similarities by 1 / temperature."""
        self.logit_scale.fill_(math.log(1 / temperature))

    @overload
    def encode_image(self, images: Tensor, dense: Literal[False] = False) -> Tensor: ...
    @overload
    def encode_image(self, images: Tensor, dense: Literal[True]) -> tuple[Tensor, Tensor]: ...
    def encode_image(self, images: Tensor, dense: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) -> features (B, D) of the class token, not normalised.

        With `dense`, also every token's, the class token first and prompts, if any, last: (B, D),
        (B, 1+N, D). A ResNet's class token is the mean of its map.
        """
        return self._dense_image(images) if dense else self.visual.encode(images)

    def _dense_image(self, images: Tensor) -> tuple[Tensor, Tensor]:
        every = self.visual.project(self.visual(images))  # (B, 1+N, D)
        return every[:, 0], every

    @overload
    def encode_text(self, tokens: Tensor, dense: Literal[False] = False) -> Tensor: ...
    @overload
    def encode_text(self, tokens: Tensor, dense: Literal[True]) -> tuple[Tensor, Tensor]: ...
    def encode_text(self, tokens: Tensor, dense: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Ids (B, L) -> features (B, D) of the token that `text.locate` names, not normalised.

        With `dense`, also every token's but prompts': (B, D), (B, L, D), L at most `text.room`.
        """
        features, every = self._read_text(tokens, dense)
        return features if every is None else (features, every)

    def _read_text(self, tokens: Tensor, dense: bool) -> tuple[Tensor, Tensor | None]:
        x = self.text(tokens)  # (B, L, width)
        rows, places = torch.arange(tokens.shape[0], device=tokens.device), self.text.locate(tokens)
        if not dense:
            return self.text.project(x[rows, places]), None
        every = self.text.project(x)  # (B, L, D)
        return every[rows, places], every

    def check_tokens(self) -> None:
        """Check that both towers give features of single tokens.

        Raises:
            InputError: one of them does not, which only towers of open_clip may not.
        """

    @property
    def shows_attention(self) -> bool:
        """Whether `attend_image` and `attend_text` can be called: not of a ResNet or AltCLIP."""
        return isinstance(self.visual, VisionTransformer) and isinstance(self.text, TextTransformer)

    def attend_image(self, images: Tensor) -> Attended:
        """`encode_image` of every token, with the attention of the class token."""
        assert isinstance(self.visual, VisionTransformer)
        x, attention = self.visual.attend(images)
        tokens = self.visual.project(x)
        return Attended(tokens[:, 0], tokens, attention)

    def attend_text(self, tokens: Tensor) -> Attended:
        """`encode_text` of every token, with the attention of the end-of-text token."""
        assert isinstance(self.text, TextTransformer)
        x, attention = self.text.attend(tokens)
        every = self.text.project(x)
        rows = torch.arange(tokens.shape[0], device=tokens.device)
        return Attended(every[rows, self.text.locate(tokens)], every, attention)


def build_image_tower(
    shape: VisionShape | ResNetShape,
    embed_dim: int,
    activation: Activation = "quickgelu",
    gradient_checkpointing: bool = False,
) -> VisionTransformer | ModifiedResNet:
    """The image tower of a shape, with random weights."""
    if isinstance(shape, ResNetShape):
        return ModifiedResNet(shape, embed_dim)
    return VisionTransformer(shape, embed_dim, activation, gradient_checkpointing)


class CLIP(DualEncoder):
    """A vision transformer or a ResNet, and a causal text transformer.

    Random weights are drawn as in OpenAI's code (github.com/openai/CLIP, clip/model.py,
    `initialize_parameters`); see `Transformer.init_weights`.

    Args:
        vision: the kind of image tower, too.
        embed_dim: D, the width of the joint space.
        activation: of the transformers' MLPs.
        gradient_checkpointing: recompute the transformers' blocks in the backward: less memory,
            more time.
    """

    visual: VisionTransformer | ModifiedResNet
    text: TextTransformer

    def __init__(
        self,
        vision: VisionShape | ResNetShape,
        text: TextShape,
        embed_dim: int,
        activation: Activation = "quickgelu",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(
            build_image_tower(vision, embed_dim, activation, gradient_checkpointing),
            TextTransformer(text, embed_dim, activation, gradient_checkpointing),
            embed_dim,
            activation,
        )
