"""What is known of a picture beside its pixels: the camera that took it, and the side it shows."""

import torch
from torch import Tensor, nn


class SideInformation(nn.Module):
    """A learnt vector for every camera, or for every view under every camera (He et al., ICCV 2021,
    arXiv 2102.04378, section 3.3); N(0, 0.02).

    Args:
        width: of the class token, which the vector is added to.
        cameras, views: that are told apart; of 1, all that a picture is given mean the same.
        weight: of the vector; CLIP-ReID's `sie_coe`.
    """

    def __init__(self, width: int, cameras: int, views: int = 1, weight: float = 1.0) -> None:
        super().__init__()
        self.cameras, self.views, self.weight = cameras, views, weight
        self.embedding = nn.Parameter(torch.empty(cameras * views, width))
        nn.init.trunc_normal_(self.embedding, std=0.02)

    def forward(self, cameras: Tensor, views: Tensor) -> Tensor:
        """Numbers of cameras and views (B,), int64, from 0 -> (B, width)."""
        rows = cameras * self.views * (self.cameras > 1) + views * (self.views > 1)
        return self.weight * self.embedding[rows]
