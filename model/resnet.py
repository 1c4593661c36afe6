"""CLIP's other image tower: a modified ResNet with attention pooling, for images of any size."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import InputError
from model.batch_norm import BatchNorm


@dataclass(frozen=True)
class ResNetShape:
    """Sizes of the image tower: `width` of the stem, `image_size` (rows, columns) in pixels.

    `layers` are the numbers of blocks in layer1 to layer4, whose outputs have 4, 8, 16 and 32 times
    `width` channels; `last_stride` is the stride of layer4: 2 in CLIP, 1 in CLIP-ReID.

    Raises:
        InputError: the image is smaller than one cell of the last feature map.
    """

    width: int
    layers: tuple[int, int, int, int]
    heads: int
    image_size: tuple[int, int]
    last_stride: int = 2

    def __post_init__(self) -> None:
        if min(self.grid) < 1:
            raise InputError(
                f"an image of {self.image_size} pixels is too small for a ResNet of stride "
                f"{16 * self.last_stride}: set a larger image size"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of layer4's feature map."""
        rows, columns = self.image_size
        stride = 16 * self.last_stride
        return (rows + 1) // stride, (columns + 1) // stride


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut (He et al., 2016, section 4.1).

    Both branches downsample by average pooling, not by a stride (Radford et al., 2021, section
    2.4).

    Args:
        channels: of the input; the output has 4 * `width`.
    """

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = BatchNorm(4 * width)
        nn.init.zeros_(self.bn3.weight)  # the block starts as the identity
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample = (
            nn.Identity()
            if channels == 4 * width
            else nn.Sequential(nn.Conv2d(channels, 4 * width, 1, bias=False), BatchNorm(4 * width))
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(self.pool(x))
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = self.bn3(self.conv3(self.pool(x)))
        return F.relu(x + shortcut, inplace=True)


class AttentionPool(nn.Module):
    """One attention layer over a feature map, with the map's mean as the class token.

    Args:
        width: D, channels of the map, a multiple of `heads`.
        cells: N, rows times columns of the map.
        embed_dim: output width of `c_proj`, which the caller applies.
    """

    def __init__(self, width: int, heads: int, cells: int, embed_dim: int) -> None:
        super().__init__()
        assert width % heads == 0, f"width {width} is not a multiple of {heads} heads"
        self.heads = heads
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(1 + cells, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embed_dim)
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(projection.weight, std=width**-0.5)

    def forward(self, x: Tensor, dense: bool = True) -> Tensor:
        """Feature map (B, D, rows, columns) -> attended tokens (B, 1+N, D), that of the mean first;
        only that one, (B, 1, D), unless `dense`.
        """
        x = x.flatten(2).transpose(1, 2)  # (B, N, D)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding
        B, _, D = x.shape
        split = (B, -1, self.heads, D // self.heads)
        q = self.q_proj(x if dense else x[:, :1]).view(split).transpose(1, 2)
        k = self.k_proj(x).view(split).transpose(1, 2)  # (B, heads, 1+N, D / heads)
        v = self.v_proj(x).view(split).transpose(1, 2)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, -1, D)


class ModifiedResNet(nn.Module):
    """ResNet with a stem of three convolutions (Radford et al., 2021, section 2.4).

    Initialised as in OpenAI's code (github.com/openai/CLIP, clip/model.py,
    `initialize_parameters`): normal weights in the attention pool, torch's defaults elsewhere.
    """

    def __init__(self, shape: ResNetShape, embed_dim: int) -> None:
        super().__init__()
        self.shape = shape
        width, (rows, columns) = shape.width, shape.grid
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = BatchNorm(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = BatchNorm(width)
        self.layer1 = _stack(width, width, shape.layers[0], stride=1)
        self.layer2 = _stack(4 * width, 2 * width, shape.layers[1], stride=2)
        self.layer3 = _stack(8 * width, 4 * width, shape.layers[2], stride=2)
        self.layer4 = _stack(16 * width, 8 * width, shape.layers[3], shape.last_stride)
        self.attnpool = AttentionPool(32 * width, shape.heads, rows * columns, embed_dim)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) -> feature maps of layer3 and layer4.

        Their shapes are (B, 16 width, H / 16, W / 16) and (B, 32 width, *grid).
        """
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = F.relu(self.bn3(self.conv3(x)), inplace=True)
        x = self.layer2(self.layer1(F.avg_pool2d(x, 2)))
        layer3 = self.layer3(x)
        return layer3, self.layer4(layer3)

    def project(self, x: Tensor) -> Tensor:
        """Tokens (..., 32 width) -> the joint space (..., embed_dim)."""
        return self.attnpool.c_proj(x)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, H, W) -> the three features of CLIP-ReID (Li et al., 2023), not normalised.

        They are the spatial means of layer3 (B, 16 width) and layer4 (B, 32 width), and the
        projected token of the attention pool (B, embed_dim), which equals `CLIP.encode_image`.
        """
        layer3, layer4 = self.maps(images)
        token = self.attnpool(layer4, dense=False)[:, 0]
        return layer3.mean(dim=(2, 3)), layer4.mean(dim=(2, 3)), self.project(token)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> the mean's token, projected, (B, embed_dim), not normalised."""
        return self.project(self.attnpool(self.maps(images)[1], dense=False)[:, 0])

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> attended tokens (B, 1+N, 32 width), that of the mean first."""
        return self.attnpool(self.maps(images)[1])


def _stack(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    more = (Bottleneck(4 * width, width) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(channels, width, stride), *more)
