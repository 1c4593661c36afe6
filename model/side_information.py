"""Side information embeddings: learned vectors for the camera and the view of an image."""

import torch
from torch import Tensor, nn


class SideInformation(nn.Module):
    """A learned vector for each pair of camera and view (He et al., ICCV 2021, arXiv 2102.04378,
    section 3.3), drawn from N(0, 0.02).

    Args:
        width: of the class token, to which the vector is added.
        num_cameras, num_views: 1 to ignore the camera, or the view, of an image.
        weight: factor of the vector; CLIP-ReID's `sie_coe`.
    """

    def __init__(
        self, width: int, *, num_cameras: int, num_views: int = 1, weight: float = 1.0
    ) -> None:
        super().__init__()
        self.num_cameras, self.num_views, self.weight = num_cameras, num_views, weight
        self.embedding = nn.Parameter(torch.empty(num_cameras * num_views, width))
        nn.init.trunc_normal_(self.embedding, std=0.02)

    def forward(self, cameras: Tensor, views: Tensor) -> Tensor:
        """Cameras and views (B,), int64, numbered from 0 -> (B, width)."""
        rows = cameras * self.num_views * (self.num_cameras > 1) + views * (self.num_views > 1)
        return self.weight * self.embedding[rows]
