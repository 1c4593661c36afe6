"""k-reciprocal re-ranking (Zhong et al., CVPR 2017), in bounded memory.

Of N = Q + G images the N x N matrix is never held: distances are computed a block of rows at a
time, and an image has weights only to its k-reciprocal neighbours, some tens or hundreds.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 2**32  # steps in which distances are ranked: finer than float32, coarser than rounding


def k_reciprocal(
    query: Tensor, gallery: Tensor, k1: int = 20, k2: int = 6, weight: float = 0.3, chunk: int = 512
) -> Tensor:
    """(1 - weight) x Jaccard distance + weight x squared Euclidean distance, the latter divided by
    the largest from that query to any image: (Q, G), float32, on the features' device.

    An image is its own nearest neighbour; of others at the same distance the lower index is nearer,
    queries before the gallery.

    Args:
        query: (Q, D), raw features.
        gallery: (G, D), on the same device.
        k1: neighbours that must be reciprocal; may exceed the number of images.
        k2: neighbours, the image among them, whose weights are averaged (query expansion).
        weight: of the original distance, 0..1.
        chunk: rows at once, chunk x N x 8 bytes; it does not change the result.

    Raises:
        ValueError: if a setting is out of range, or features are not finite or differ in width.
    """
    if min(k1, k2, chunk) < 1 or not 0 <= weight <= 1:
        raise ValueError(f"{k1=}, {k2=}, {chunk=} must be at least 1 and {weight=} in 0..1")
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(f"features {tuple(query.shape)} and {tuple(gallery.shape)} do not match")
    features = torch.cat([query, gallery]).detach().double()
    if not features.isfinite().all():
        raise ValueError("a feature is not finite")
    features -= features[:1].clone()  # distances stay, and lose less to rounding

    nearest, furthest = _neighbours(features, max(k1 + 1, k2), chunk)
    weights = _weights(features, furthest, nearest, k1, chunk)
    weights = _expanded(weights, nearest[:, :k2], chunk)
    inverted = _inverted(weights, len(query))
    result = torch.empty(len(query), len(gallery), device=features.device)
    for images, squared in _squared_distances(features, len(query), chunk):
        squared.div_(furthest[images, None])
        result[images] = (weight * squared[:, len(query) :]).float()
    for index, row in enumerate(result):
        row += (1 - weight) * _jaccard(weights, inverted, index, len(gallery))
    return result


class SparseRows(NamedTuple):
    """Row i holds `values[starts[i] : starts[i + 1]]` in those `columns`."""

    starts: Tensor  # (N + 1,), int64
    columns: Tensor  # (entries,), int64
    values: Tensor  # (entries,), float32

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The entries of some rows: place of their row in `rows`, column, value."""
        starts = self.starts[rows]
        lengths = self.starts[rows + 1] - starts
        place = torch.repeat_interleave(lengths)
        entry = torch.arange(len(place), device=rows.device)
        entry += (starts - lengths.cumsum(0) + lengths)[place]
        return place, self.columns[entry], self.values[entry]


def _sparse_rows(pairs: Tensor, values: Tensor, size: int) -> SparseRows:
    """From ascending pairs, each size x row + column."""
    starts = F.pad((pairs // size).bincount(minlength=size).cumsum(0), (1, 0))
    return SparseRows(starts, pairs % size, values.float())


def _squared_distances(features: Tensor, count: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (B,) out of the first `count` and their squared Euclidean distances to all, (B, N),
    which lie where the last ones were.
    """
    norms = torch.linalg.vector_norm(features, dim=1).square()
    memory = features.new_empty(min(chunk, count), len(features))
    for images in torch.arange(count, device=features.device).split(chunk):
        block = memory[: len(images)]
        torch.addmm(norms, features[images], features.T, alpha=-2, out=block)
        yield images, block.add_(norms[images, None]).clamp_(min=0)


def _neighbours(features: Tensor, count: int, chunk: int) -> tuple[Tensor, Tensor]:
    """Each image's nearest, itself first, (N, count), and its largest squared distance, (N,)."""
    size = len(features)
    columns = torch.arange(size, device=features.device)
    nearest = columns.new_empty(size, min(count, size))
    furthest = features.new_empty(size)
    for images, squared in _squared_distances(features, size, chunk):
        # Images that are all alike are at distance 0, not 0 / 0.
        furthest[images] = squared.amax(dim=1).clamp(min=torch.finfo(features.dtype).tiny)
        # Whole levels tie what differs by the order of summation only; then the index decides.
        levels = squared.div_(furthest[images, None]).mul_(LEVELS).round_()
        levels.scatter_(1, images[:, None], -1)
        keys = levels.mul_(size).add_(columns)  # exact for up to 2**21 images
        nearest[images] = keys.topk(nearest.shape[1], largest=False).values.long() % size
    return nearest, furthest


def _mutual(near: Tensor) -> Tensor:
    """Which of an image's neighbours have it among theirs: (N, k), bool."""
    size = len(near)
    image = torch.arange(size, device=near.device)[:, None]
    return torch.isin(size * near + image, size * image + near)


def _weights(
    features: Tensor, furthest: Tensor, nearest: Tensor, k1: int, chunk: int
) -> SparseRows:
    """exp(-distance) to the images of the expanded k-reciprocal sets; a row sums to 1."""
    size = len(features)
    near, half = nearest[:, : k1 + 1], nearest[:, : round(k1 / 2) + 1]  # half goes to even
    mutual, half_mutual = _mutual(near), _mutual(half)
    parts = []
    for images in torch.arange(size, device=features.device).split(chunk):
        first = size * images[:, None]
        own = (first + near[images])[mutual[images]]
        theirs = first[:, :, None] + half[near[images]]  # (B, k1 + 1, k1 / 2 + 1)
        reciprocal = half_mutual[near[images]]
        shared = torch.isin(theirs, own) & reciprocal
        joins = mutual[images] & (3 * shared.sum(dim=2) > 2 * reciprocal.sum(dim=2))
        parts.append(torch.cat([own, theirs[reciprocal & joins[:, :, None]]]).unique())
    pairs = torch.cat(parts)
    image = pairs // size
    squared = furthest.new_empty(len(pairs))
    together = (squared.split(chunk), image.split(chunk), (pairs % size).split(chunk))
    for part, a, b in zip(*together, strict=True):
        part.copy_((features[a] - features[b]).square_().sum(dim=1))
    weights = (-squared / furthest[image]).exp()
    total = torch.zeros_like(furthest).index_add_(0, image, weights)
    return _sparse_rows(pairs, weights / total[image], size)


def _expanded(weights: SparseRows, nearest: Tensor, chunk: int) -> SparseRows:
    """For each image the mean weights of its nearest, (N, k2)."""
    size, k2 = nearest.shape
    parts, values = [], []
    for images in torch.arange(size, device=nearest.device).split(chunk):
        place, column, value = weights.take(nearest[images].flatten())
        pairs, where = (size * images[place // k2] + column).unique(return_inverse=True)
        parts.append(pairs)
        values.append(value.new_zeros(len(pairs)).index_add_(0, where, value / k2))
    return _sparse_rows(torch.cat(parts), torch.cat(values), size)


def _inverted(weights: SparseRows, first: int) -> SparseRows:
    """For each image those of the gallery, which begins at `first`, that have a weight to it."""
    size = len(weights.starts) - 1
    start = weights.starts[first]
    image = torch.repeat_interleave(weights.starts[first:].diff())
    pairs, order = (size * weights.columns[start:] + image).sort()
    return _sparse_rows(pairs, weights.values[start:][order], size)


def _jaccard(weights: SparseRows, inverted: SparseRows, query: int, count: int) -> Tensor:
    """1 - sum of minima / sum of maxima of a query's weights and each gallery image's: (G,)."""
    row = slice(*weights.starts[query : query + 2].tolist())
    place, image, value = inverted.take(weights.columns[row])
    minima = torch.minimum(weights.values[row][place], value)
    shared = minima.new_zeros(count).index_add_(0, image, minima)
    return 1 - shared / (2 - shared)  # both rows sum to 1
