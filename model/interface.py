"""Batches that go into a model, and the outputs that its losses read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from model.weights.hash import hash_weights


@dataclass(frozen=True)
class Tensors:
    """Named tensors of one batch, some of them None.

    `dims` gives the batch dimension of each tensor; a tensor that is not in it has none.
    """

    dims: ClassVar[dict[str, int]] = {}

    def present(self) -> dict[str, Tensor]:
        """The tensors that are not None, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    @classmethod
    def of(cls, named: Mapping[str, Tensor]) -> Self:
        """The inverse of `present`."""
        return cls(**named)

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `change` applied to every tensor."""
        return self.of({name: change(tensor) for name, tensor in self.present().items()})

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the rows of all parts; tensors without a batch dimension are the first's."""
        first = parts[0].present()
        return cls.of(
            {
                name: torch.cat([part.present()[name] for part in parts], dim=cls.dims[name])
                if name in cls.dims
                else tensor
                for name, tensor in first.items()
            }
        )

    def split_like(self, parts: Sequence[Self]) -> list[Self]:
        """The inverse of `join`: split every tensor into as many rows as each part has."""
        pieces = {
            name: tensor.split([part.present()[name].shape[self.dims[name]] for part in parts], dim)
            if (dim := self.dims.get(name)) is not None
            else [tensor] * len(parts)
            for name, tensor in self.present().items()
        }
        return [self.of({n: p[i] for n, p in pieces.items()}) for i in range(len(parts))]


Value = TypeVar("Value")


def _joined(**parts: Mapping[str, Value]) -> dict[str, Value]:
    """All values of the parts, by PART.NAME."""
    return {
        f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()
    }


def _part_of(named: Mapping[str, Value], part: str) -> dict[str, Value]:
    """The inverse of `_joined`, for one of the parts."""
    start = f"{part}."
    return {k.removeprefix(start): value for k, value in named.items() if k.startswith(start)}


@dataclass(frozen=True)
class Batch(Tensors):
    """A batch of any method: tensors paired by row, among them the identities, `ids`."""

    def __len__(self) -> int:
        return len(self.present()["ids"])

    def to(self, device: torch.device, non_blocking: bool = True) -> Self:
        """The batch on `device`; a copy from pinned memory overlaps with computation."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The batch in pinned memory; called by the data loader."""
        return self.map(Tensor.pin_memory)

    def split(self, size: int) -> list[Self]:
        """Batches of `size` rows; the last may be smaller."""
        pieces = {name: t.split(size, self.dims[name]) for name, t in self.present().items()}
        count = -(-len(self) // size)
        return [type(self)(**{name: p[i] for name, p in pieces.items()}) for i in range(count)]


PartT = TypeVar("PartT", bound=Batch)


def _cut(batch: PartT, count: int) -> list[PartT]:
    """So many batches of equal size, up to one row."""
    pieces = {n: t.tensor_split(count, batch.dims[n]) for n, t in batch.present().items()}
    return [batch.of({name: piece[i] for name, piece in pieces.items()}) for i in range(count)]


@dataclass(frozen=True)
class TextBatch(Batch):
    """B image-caption pairs, each image in V views of the training augmentation."""

    images: Tensor  # (V, B, 3, rows, columns)
    tokens: Tensor  # (B, L), int64; some are masked if there are `labels` without `masked_tokens`
    ids: Tensor  # (B,), int64, identities numbered from 0
    simclr_images: Tensor | None = None  # (2, B, 3, rows, columns), SimCLR's augmentation
    labels: Tensor | None = None  # (B, L), int64, the masked words; -100 elsewhere
    masked_tokens: Tensor | None = None  # (B, L), int64, where only the decoder sees masked ones
    indices: Tensor | None = None  # (B,), int64, of the pairs in the training set

    dims: ClassVar[dict[str, int]] = {
        "images": 1, "tokens": 0, "ids": 0, "simclr_images": 1, "labels": 0, "masked_tokens": 0,
        "indices": 0
    }  # fmt: skip


@dataclass(frozen=True)
class PromptBatch(Batch):
    """B image features, from which prompts are learned."""

    image_features: Tensor  # (B, D), from `CLIPReID.project_image`
    ids: Tensor  # (B,), int64, identities numbered from 0

    dims: ClassVar[dict[str, int]] = {"image_features": 0, "ids": 0}


@dataclass(frozen=True)
class ReIDBatch(Batch):
    """B images of people or vehicles."""

    images: Tensor  # (B, 3, rows, columns)
    ids: Tensor  # (B,), int64, identities numbered from 0
    cameras: Tensor  # (B,), int64, numbered from 0
    views: Tensor  # (B,), int64, numbered from 0

    dims: ClassVar[dict[str, int]] = {"images": 0, "ids": 0, "cameras": 0, "views": 0}


@dataclass(frozen=True)
class JointBatch(Batch):
    """Image-caption pairs, and pictures of people beside them, whose identities are others."""

    pairs: TextBatch
    pictures: ReIDBatch

    def __len__(self) -> int:
        return len(self.pairs) + len(self.pictures)

    def present(self) -> dict[str, Tensor]:
        return _joined(pairs=self.pairs.present(), pictures=self.pictures.present())

    @classmethod
    def of(cls, named: Mapping[str, Tensor]) -> Self:
        pairs, pictures = (_part_of(named, part) for part in ("pairs", "pictures"))
        return cls(TextBatch.of(pairs), ReIDBatch.of(pictures))

    def split(self, size: int) -> list[Self]:
        """Batches of up to `size` pairs and as many pictures, alike but for one."""
        count = -(-max(len(self.pairs), len(self.pictures)) // size)
        assert count <= min(len(self.pairs), len(self.pictures)), "a part would be empty"
        pairs, pictures = _cut(self.pairs, count), _cut(self.pictures, count)
        return [type(self)(*each) for each in zip(pairs, pictures, strict=True)]


@dataclass(frozen=True)
class TextOutputs(Tensors):
    """Features and logits of one batch, not normalised, still in the graph; no losses."""

    image_features: Tensor  # (V, B, D)
    text_features: Tensor  # (B, D)
    logit_scale: Tensor  # (), the logarithm of the scale
    soft_text_features: Tensor | None = None  # (B, D), without gradient
    simclr_features: Tensor | None = None  # (2, B, D'), from the projection head
    image_logits: Tensor | None = None  # (B, num_identities)
    text_logits: Tensor | None = None  # (B, num_identities)
    word_logits: Tensor | None = None  # (M, vocabulary), at the M masked words
    image_selection: Tensor | None = None  # (B, E), of the first view, from its chosen tokens
    text_selection: Tensor | None = None  # (B, E)
    logit_bias: Tensor | None = None  # (), added to the scaled similarities

    dims: ClassVar[dict[str, int]] = {
        "image_features": 1, "text_features": 0, "soft_text_features": 0, "simclr_features": 1,
        "image_logits": 0, "text_logits": 0, "word_logits": 0,
        "image_selection": 0, "text_selection": 0
    }  # fmt: skip


@dataclass(frozen=True)
class PromptOutputs(Tensors):
    """Features of one batch, not normalised; those of the text are still in the graph."""

    image_features: Tensor  # (B, D)
    text_features: Tensor  # (B, D), of the images' identities

    dims: ClassVar[dict[str, int]] = {"image_features": 0, "text_features": 0}


@dataclass(frozen=True)
class ReIDOutputs(Tensors):
    """Features and logits of one batch, not normalised, still in the graph; no losses.

    The three features are those that `VisionTransformer.features` and `ModifiedResNet.features`
    return, in their order.
    """

    penultimate_features: Tensor  # (B, D1)
    image_features: Tensor  # (B, D2)
    projected_features: Tensor  # (B, D), in the joint space
    image_logits: Tensor | None = None  # (B, num_identities), as are the others: see `finish`
    projected_logits: Tensor | None = None
    text_logits: Tensor | None = None  # by similarity to text features

    dims: ClassVar[dict[str, int]] = {
        "penultimate_features": 0, "image_features": 0, "projected_features": 0,
        "image_logits": 0, "projected_logits": 0, "text_logits": 0
    }  # fmt: skip


@dataclass(frozen=True)
class JointOutputs(Tensors):
    """Outputs of either task, for a `JointBatch`."""

    pairs: TextOutputs
    pictures: ReIDOutputs

    dims: ClassVar[dict[str, int]] = _joined(pairs=TextOutputs.dims, pictures=ReIDOutputs.dims)

    def present(self) -> dict[str, Tensor]:
        return _joined(pairs=self.pairs.present(), pictures=self.pictures.present())

    @classmethod
    def of(cls, named: Mapping[str, Tensor]) -> Self:
        pairs, pictures = (_part_of(named, part) for part in ("pairs", "pictures"))
        return cls(TextOutputs.of(pairs), ReIDOutputs.of(pictures))


BatchT = TypeVar("BatchT", bound=Batch)
OutputsT = TypeVar("OutputsT", bound=Tensors)


class Method(nn.Module, ABC, Generic[BatchT, OutputsT]):
    """A backbone and the heads of a method: a `BatchT` in, the `OutputsT` of its losses out.

    `forward` is `encode`, then `finish`.
    """

    # Of the modules that only `finish` passes through: beginnings of their names.
    finishing: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, batch: BatchT) -> OutputsT:
        """Encode a batch."""

    def encode(self, batch: BatchT) -> OutputsT:
        """The outputs of some samples that do not depend on the others of their batch."""
        return self(batch)

    def finish(self, outputs: OutputsT) -> OutputsT:
        """The outputs of a whole batch, with those that do, as through batch norms."""
        return outputs

    def encoder_hash(self) -> str:
        """`hash_weights` of the weights that encode; heads that only losses read do not count."""
        return hash_weights(self.state_dict())

    def constrain(self) -> None:
        """Clamp the parameters that have bounds; called after every optimizer step."""
