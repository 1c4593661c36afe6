"""CLIP-ReID: CLIP's image tower trained to find a person or a vehicle from another picture.

Li et al., CLIP-ReID: Exploiting Vision-Language Model for Image Re-identification without Concrete
Text Labels, AAAI 2023, arXiv 2211.13977.
"""

from dataclasses import replace
from typing import overload

import torch
from torch import Tensor

from model.architecture import ReIDArchitecture
from model.clip import TextTransformer, build_image_tower
from model.heads import IdentityHead
from model.identity_prompts import IdentityPrompts
from model.interface import Method, PromptBatch, PromptOutputs, ReIDBatch, ReIDOutputs
from model.resnet import ModifiedResNet, ResNetShape
from model.side_information import SideInformation
from model.transformer import Activation
from model.vit import VisionTransformer

SMALLEST_SPREAD = 2e-3  # divided by less, float32 would not find a picture equal to itself


class CLIPReID(Method[PromptBatch | ReIDBatch, PromptOutputs | ReIDOutputs]):
    """A batch in, features and logits out. Parts that are not given are left out.

    The first stage learns the prompts, from features of `project_image`; the second one the rest,
    from pictures, after `fix_text_features`. A baseline has no prompts and only the latter. Of a
    tower with two class tokens the second is read.

    Args:
        embed_dim: D, the width of the joint space.
        activation: of the transformers' MLPs.
        num_identities: in the training set.
        side_information: of cameras and views, for a ViT.
        after_necks: whether pictures are compared by their features after the BN necks.
    """

    text_features: Tensor | None
    finishing = ("image_head.", "projected_head.")

    def __init__(
        self,
        visual: VisionTransformer | ModifiedResNet,
        embed_dim: int,
        activation: Activation,
        num_identities: int,
        *,
        prompts: IdentityPrompts | None = None,
        side_information: SideInformation | None = None,
        after_necks: bool = False,
    ) -> None:
        super().__init__()
        self.embed_dim, self.activation, self.after_necks = embed_dim, activation, after_necks
        self.visual, self.prompts, self.side_information = visual, prompts, side_information
        shape = visual.shape
        width = 32 * shape.width if isinstance(shape, ResNetShape) else shape.width
        self.image_head = IdentityHead(width, num_identities)
        self.projected_head = IdentityHead(embed_dim, num_identities)
        self.register_buffer("text_features", None, persistent=False)

    @overload
    def forward(self, batch: PromptBatch) -> PromptOutputs: ...
    @overload
    def forward(self, batch: ReIDBatch) -> ReIDOutputs: ...
    def forward(self, batch: PromptBatch | ReIDBatch) -> PromptOutputs | ReIDOutputs:
        """Outputs for the losses of the batch's stage."""
        return self.finish(self.encode(batch))

    @overload
    def encode(self, batch: PromptBatch) -> PromptOutputs: ...
    @overload
    def encode(self, batch: ReIDBatch) -> ReIDOutputs: ...
    def encode(self, batch: PromptBatch | ReIDBatch) -> PromptOutputs | ReIDOutputs:
        """The features of a batch."""
        if isinstance(batch, PromptBatch):
            assert self.prompts is not None, "a baseline has nothing to learn in this stage"
            return PromptOutputs(batch.image_features, self.prompts(batch.ids))
        return ReIDOutputs(*self._features(batch.images, batch.cameras, batch.views))

    @overload
    def finish(self, outputs: PromptOutputs) -> PromptOutputs: ...
    @overload
    def finish(self, outputs: ReIDOutputs) -> ReIDOutputs: ...
    def finish(self, outputs: PromptOutputs | ReIDOutputs) -> PromptOutputs | ReIDOutputs:
        """The features, with the logits of pictures, which go through batch norms."""
        if isinstance(outputs, PromptOutputs):
            return outputs
        return replace(
            outputs,
            image_logits=self.image_head(outputs.image_features),
            projected_logits=self.projected_head(outputs.projected_features),
            text_logits=self._text_logits(outputs.projected_features),
        )

    def _features(
        self, images: Tensor, cameras: Tensor | None, views: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.side_information is None or cameras is None or views is None:
            return self.visual.features(images)
        assert isinstance(self.visual, VisionTransformer), "a ResNet has no class token"
        return self.visual.features(images, self.side_information(cameras, views))

    def _text_logits(self, projected: Tensor) -> Tensor | None:
        if self.text_features is None:
            return None
        # un-normalised products are too large for the steps of half precision
        with torch.autocast(projected.device.type, enabled=False):
            return projected.float() @ self.text_features.T

    def project_image(self, images: Tensor) -> Tensor:
        """(N, 3, rows, columns) -> (N, D) in the joint space, un-normalised, without side
        information: what the prompts are learnt from.
        """
        return self.visual.features(images)[2]

    def encode_image(
        self, images: Tensor, cameras: Tensor | None = None, views: Tensor | None = None
    ) -> Tensor:
        """Features that pictures are compared by, un-normalised: the last two side by side.

        Args:
            images: (N, 3, rows, columns).
            cameras, views: (N,), int64, those of the training; without them there is no side
                information, as for pictures of other cameras.

        Returns:
            (N, width + D); with a ResNet (N, 32 width + D).
        """
        _, image, projected = self._features(images, cameras, views)
        return self.join(image, projected)

    @property
    def width(self) -> int:
        """The number of values of the result of `encode_image`."""
        return self.image_head.neck.num_features + self.projected_head.neck.num_features

    @property
    def spread(self) -> float:
        """1 - the mean cosine similarity of the features of two pictures of the training, by the
        running statistics of the BN necks.
        """
        if self.after_necks:
            return 1.0  # the necks have no bias
        necks = self.image_head.neck, self.projected_head.neck
        mean, variance = (
            torch.cat([neck.get_buffer(name) for neck in necks])
            for name in ("running_mean", "running_var")
        )
        return max(float(variance.sum() / (variance + mean.square()).sum()), SMALLEST_SPREAD)

    def join(self, image: Tensor, projected: Tensor) -> Tensor:
        """The last two of a tower's features -> the result of `encode_image`."""
        if self.after_necks:
            image, projected = self.image_head.neck(image), self.projected_head.neck(projected)
        return torch.cat([image, projected], dim=1)

    @torch.no_grad()
    def fix_text_features(self, chunk: int = 256) -> None:
        """Compute the text features of all identities once, for the logits of the pictures.

        Args:
            chunk: identities at once.
        """
        assert self.prompts is not None, "a baseline has no text features"
        self.prompts.eval()  # without dropout
        ids = torch.arange(len(self.prompts.words), device=self.prompts.words.device)
        features = [self.prompts(part) for part in ids.split(chunk)]
        self.text_features = torch.cat(features).float()

    def frozen(self, learns_prompts: bool) -> tuple[str, ...]:
        """Names of the parameters that one of the stages leaves as they are."""
        names = [name for name, _ in self.named_parameters()]
        if learns_prompts:
            return tuple(name for name in names if name != "prompts.words")
        fixed = ("prompts.", "image_head.neck.bias", "projected_head.neck.bias")
        return tuple(name for name in names if name.startswith(fixed))

    def describe(self) -> ReIDArchitecture:
        """The architecture, which `from_architecture` builds again."""
        side = self.side_information
        return ReIDArchitecture(
            backbone="clip",
            vision=self.visual.shape,
            text=None if self.prompts is None else self.prompts.text.shape,
            embed_dim=self.embed_dim,
            activation=self.activation,
            num_identities=self.image_head.classifier.out_features,
            num_cameras=0 if side is None else side.num_cameras,
            num_views=1 if side is None else side.num_views,
        )


def from_architecture(
    architecture: ReIDArchitecture,
    *,
    side_weight: float = 1.0,
    after_necks: bool = False,
    gradient_checkpointing: bool = False,
) -> CLIPReID:
    """A model with random weights, to be filled with those of a checkpoint.

    Args:
        side_weight: of the side information.
        after_necks: of `CLIPReID`.
    """
    vision, embed_dim = architecture.vision, architecture.embed_dim
    towers = embed_dim, architecture.activation, gradient_checkpointing
    prompts = side_information = None
    visual = build_image_tower(vision, *towers)
    if architecture.text is not None:
        text = TextTransformer(architecture.text, *towers)
        prompts = IdentityPrompts(text, architecture.num_identities)
    if architecture.num_cameras:
        side_information = SideInformation(
            vision.width,
            num_cameras=architecture.num_cameras,
            num_views=architecture.num_views,
            weight=side_weight,
        )
    return CLIPReID(
        visual,
        embed_dim,
        architecture.activation,
        architecture.num_identities,
        prompts=prompts,
        side_information=side_information,
        after_necks=after_necks,
    )
