"""What goes into a model and what comes out: a batch, and the outputs that the losses read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tensors:
    """Tensors of one batch, some of them absent; `dims` says along which dimension its rows lie.

    A tensor that is not in `dims` belongs to no row.
    """

    dims: ClassVar[dict[str, int]] = {}

    def present(self) -> dict[str, Tensor]:
        """The tensors that are there, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with every tensor changed."""
        return type(self)(**{name: change(tensor) for name, tensor in self.present().items()})

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts in one; what belongs to no row is the first part's."""
        first = parts[0].present()
        return cls(
            **{
                name: torch.cat([part.present()[name] for part in parts], dim=cls.dims[name])
                if name in cls.dims
                else tensor
                for name, tensor in first.items()
            }
        )

    def split_like(self, parts: Sequence[Self]) -> list[Self]:
        """The inverse of `join`: as many rows of each tensor as the parts have."""
        pieces = {
            name: tensor.split([part.present()[name].shape[self.dims[name]] for part in parts], dim)
            if (dim := self.dims.get(name)) is not None
            else [tensor] * len(parts)
            for name, tensor in self.present().items()
        }
        return [type(self)(**{n: p[i] for n, p in pieces.items()}) for i in range(len(parts))]


@dataclass(frozen=True)
class Batch(Tensors):
    """A batch of any method: the rows of its tensors, whose identities are `ids`, go together."""

    def __len__(self) -> int:
        return len(self.present()["ids"])

    def to(self, device: torch.device, non_blocking: bool = True) -> Self:
        """The batch on `device`; from pinned memory the copy runs beside the computation."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The batch in pinned memory; called by the loader."""
        return self.map(Tensor.pin_memory)

    def split(self, size: int) -> list[Self]:
        """Batches of `size` rows."""
        pieces = {name: t.split(size, self.dims[name]) for name, t in self.present().items()}
        count = -(-len(self) // size)
        return [type(self)(**{name: p[i] for name, p in pieces.items()}) for i in range(count)]


@dataclass(frozen=True)
class TextBatch(Batch):
    """B captions with their pictures, each picture in V views of the training augmentation."""

    images: Tensor  # (V, B, 3, rows, columns)
    tokens: Tensor  # (B, L), int64; with masked words where `labels` are given
    ids: Tensor  # (B,), int64, identities numbered from 0
    simclr_images: Tensor | None = None  # (2, B, 3, rows, columns), views of SimCLR's augmentation
    labels: Tensor | None = None  # (B, L), int64, the words that were masked, elsewhere -100

    dims: ClassVar[dict[str, int]] = {
        "images": 1, "tokens": 0, "ids": 0, "simclr_images": 1, "labels": 0
    }  # fmt: skip


@dataclass(frozen=True)
class PromptBatch(Batch):
    """B features of pictures, to learn prompts from."""

    image_features: Tensor  # (B, D), of `CLIPReID.project_image`
    ids: Tensor  # (B,), int64, identities numbered from 0

    dims: ClassVar[dict[str, int]] = {"image_features": 0, "ids": 0}


@dataclass(frozen=True)
class ReIDBatch(Batch):
    """B pictures of people or vehicles."""

    images: Tensor  # (B, 3, rows, columns)
    ids: Tensor  # (B,), int64, identities numbered from 0
    cameras: Tensor  # (B,), int64, numbered from 0
    views: Tensor  # (B,), int64, numbered from 0

    dims: ClassVar[dict[str, int]] = {"images": 0, "ids": 0, "cameras": 0, "views": 0}


@dataclass(frozen=True)
class TextOutputs(Tensors):
    """Features and logits of one batch, un-normalised, still in the graph. No losses."""

    image_features: Tensor  # (V, B, D)
    text_features: Tensor  # (B, D)
    logit_scale: Tensor  # (), the log
    soft_text_features: Tensor | None = None  # (B, D), of a pass without gradient
    simclr_features: Tensor | None = None  # (2, B, D'), of the projection head
    image_logits: Tensor | None = None  # (B, identities)
    text_logits: Tensor | None = None  # (B, identities)
    word_logits: Tensor | None = None  # (M, vocabulary), of the M masked words of all rows

    dims: ClassVar[dict[str, int]] = {
        "image_features": 1, "text_features": 0, "soft_text_features": 0, "simclr_features": 1,
        "image_logits": 0, "text_logits": 0, "word_logits": 0
    }  # fmt: skip


@dataclass(frozen=True)
class PromptOutputs(Tensors):
    """Features of one batch, un-normalised; those of the text are still in the graph."""

    image_features: Tensor  # (B, D)
    text_features: Tensor  # (B, D), of the pictures' identities

    dims: ClassVar[dict[str, int]] = {"image_features": 0, "text_features": 0}


@dataclass(frozen=True)
class ReIDOutputs(Tensors):
    """Features and logits of one batch, un-normalised, still in the graph. No losses.

    The features are those of `VisionTransformer.features` or `ModifiedResNet.features`, in order.
    """

    penultimate_features: Tensor  # (B, D1)
    image_features: Tensor  # (B, D2)
    projected_features: Tensor  # (B, D), in the joint space
    image_logits: Tensor  # (B, identities)
    projected_logits: Tensor  # (B, identities)
    text_logits: Tensor | None = None  # (B, identities), with the identities' text features

    dims: ClassVar[dict[str, int]] = {
        "penultimate_features": 0, "image_features": 0, "projected_features": 0,
        "image_logits": 0, "projected_logits": 0, "text_logits": 0
    }  # fmt: skip


class Method(nn.Module):
    """A backbone with what a method adds to it: a batch in, `Tensors` for the losses out."""

    def constrain(self) -> None:
        """After a step: bring what has bounds back within them."""
