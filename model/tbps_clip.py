"""TBPS-CLIP: CLIP's two towers trained to find a person from a sentence (Cao et al. 2024, arXiv
2308.10045).
"""

import math

import torch
from torch import Tensor, nn

from model.clip import CLIP
from model.interface import Batch, Outputs

LARGEST_LOGIT_SCALE = math.log(100)  # Radford et al. 2021, section 2.5


class TBPSCLIP(nn.Module):
    """A batch in, features out.

    Args:
        clip: the backbone.
    """

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, batch: Batch) -> Outputs:
        """Encode all views of the pictures in one call, and the captions in another."""
        image_features = self.encode_image(batch.images.flatten(0, 1))  # (V B, D)
        return Outputs(
            image_features=image_features.unflatten(0, batch.images.shape[:2]),  # (V, B, D)
            text_features=self.encode_text(batch.tokens),  # (B, D)
            logit_scale=self.clip.logit_scale,
        )

    def encode_image(self, images: Tensor) -> Tensor:
        """(N, 3, rows, columns) -> (N, D), un-normalised."""
        return self.clip.encode_image(images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(N, L) -> (N, D), un-normalised."""
        return self.clip.encode_text(tokens)

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the parameters back to where they may be; called after each optimizer step.

        The logit scale itself is clamped, not its value in the forward pass: there the gradient
        would push the parameter on beyond the clamp, or stop for good.
        """
        self.clip.logit_scale.clamp_(max=LARGEST_LOGIT_SCALE)
