"""CLIP's image tower: a vision transformer for images of any size and patches of any stride."""

from collections import deque
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from errors import InputError
from model.transformer import Activation, Transformer


@dataclass(frozen=True)
class VisionShape:
    """Sizes of the image tower: `patch_size`, `stride`, `image_size` (rows, columns) in pixels.

    `mlp_width` is that of the MLPs' hidden layer; None: four times the width. Of two `class_tokens`
    the second is for re-identification.

    Raises:
        InputError: the image is smaller than one patch.
    """

    width: int
    layers: int
    heads: int
    patch_size: int
    stride: int
    image_size: tuple[int, int]
    mlp_width: int | None = None
    class_tokens: int = 1

    def __post_init__(self) -> None:
        if min(self.grid) < 1:
            raise InputError(
                f"an image of {self.image_size} pixels is smaller than a patch of "
                f"{self.patch_size}: set a larger image size"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches; pixels beyond the last whole patch are cut off."""
        rows, columns = self.image_size
        return (
            (rows - self.patch_size) // self.stride + 1,
            (columns - self.patch_size) // self.stride + 1,
        )


class VisionTransformer(nn.Module):
    """ViT with a LayerNorm before its blocks and a projection (Radford et al., 2021, section 2).

    A second class token, if there is one, sees the patches and itself, and no other token sees it:
    all others are as without it. Only `features` computes it.
    """

    second_class: nn.Parameter | None

    def __init__(
        self,
        shape: VisionShape,
        embed_dim: int,
        activation: Activation = "quickgelu",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        width, scale = shape.width, shape.width**-0.5
        rows, columns = shape.grid
        self.conv1 = nn.Conv2d(3, width, shape.patch_size, shape.stride, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(1 + rows * columns, width))
        self.register_parameter("second_class", None)
        if shape.class_tokens == 2:
            self.add_class_token()
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(
            width,
            shape.layers,
            shape.heads,
            activation=activation,
            gradient_checkpointing=gradient_checkpointing,
            mlp_width=shape.mlp_width,
        )
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))

    @torch.no_grad()
    def add_class_token(self) -> None:
        """Add the second class token, as a copy of the first with its position embedding.

        It then has the features of the first, as the two see the same patches.
        """
        copy = self.class_embedding + self.positional_embedding[0]
        self.second_class = nn.Parameter(copy)
        self.shape = replace(self.shape, class_tokens=2)

    def embed(self, images: Tensor, class_offset: Tensor | None = None) -> Tensor:
        """Images (B, 3, H, W) -> class token and N patches in row-major order (B, 1+N, width).

        Prompts, if set, are appended without a position embedding.

        Args:
            class_offset: (B, width), added to the class token, such as `SideInformation`.
        """
        patches = self.conv1(images).flatten(2).transpose(1, 2)  # (B, N, width)
        class_token = self.class_embedding.expand(images.shape[0], 1, -1)
        if class_offset is not None:
            class_token = class_token + class_offset[:, None]
        x = torch.cat([class_token, patches], dim=1) + self.positional_embedding
        prompts = self.transformer.prompts
        return x if prompts is None else prompts(0, x)

    def project(self, x: Tensor) -> Tensor:
        """Tokens (..., width) -> the joint space (..., embed_dim)."""
        return self.ln_post(x) @ self.proj

    def features(
        self, images: Tensor, class_offset: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, H, W) -> the three features of CLIP-ReID (Li et al., 2023), not normalised.

        They are the class token before the last block (B, width); after it and `ln_post`
        (B, width); and projected (B, embed_dim). The token is the second one if there are two;
        else the projected feature equals `CLIP.encode_image` if there is no `class_offset`.
        """
        return self._read_features(*self._last_two(images, class_offset))

    def both_features(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The first class token, projected (B, embed_dim), and the result of `features`."""
        penultimate, last = self._last_two(images, None)
        return self.project(last[:, 0]), self._read_features(penultimate, last)

    def _read_features(self, penultimate: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        token = self.ln_post(last[:, -1])
        return penultimate[:, -1], token, token @ self.proj

    def _last_two(self, images: Tensor, class_offset: Tensor | None) -> tuple[Tensor, Tensor]:
        """The class tokens before and after the last block, (B, 1 or 2, width) each."""
        mask, places = None, slice(1)
        if self.second_class is None:
            x = self.embed(images, class_offset)
        else:
            assert self.transformer.prompts is None
            token = self.second_class.expand(images.shape[0], 1, -1)
            if class_offset is not None:
                token = token + class_offset[:, None]
            x = torch.cat([self.embed(images), token], dim=1)  # (B, 2+N, width)
            mask, places = self._mask(x.shape[1], x.device), slice(None, None, x.shape[1] - 1)
        penultimate, last = deque(self.transformer.stream(self.ln_pre(x), mask, places), maxlen=2)
        return penultimate[:, places], last

    @staticmethod
    def _mask(length: int, device: torch.device) -> Tensor:
        """Whether a token (row) sees another (column): the class tokens, at both ends, do not see
        each other, and the patches see the first.
        """
        mask = torch.ones(length, length, dtype=torch.bool, device=device)
        mask[:-1, -1].fill_(False)
        mask[-1, 0].fill_(False)
        return mask

    def attend(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`forward`, and the attention of the class token in the last block, (B, 1+N)."""
        class_token = torch.zeros(images.shape[0], dtype=torch.long, device=images.device)
        return self.transformer.attend(self.ln_pre(self.embed(images)), class_token)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> the class token, projected, (B, embed_dim), not normalised."""
        x = self.transformer(self.ln_pre(self.embed(images)), slice(1))
        return self.project(x[:, 0])

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> tokens after the last block (B, 1+N, width), class token first.

        Prompts, if set, are at the end.
        """
        return self.transformer(self.ln_pre(self.embed(images)))
