"""k-reciprocal re-ranking (Zhong et al., CVPR 2017), in bounded memory.

The N x N matrix of N = Q + G images is never held: distances are computed in blocks of rows, and an
image has weights to its k-reciprocal neighbours only, tens or hundreds of them.
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
    """Re-ranked distances (Q, G), float32, on the features' device.

    They are (1 - weight) x Jaccard distance + weight x squared Euclidean distance, the latter
    divided by the query's largest to any image. An image is its own nearest neighbour; other ties
    go to the lower index, queries before the gallery.

    Args:
        query: (Q, D), raw features.
        gallery: (G, D), on the same device.
        k1: number of neighbours that must be reciprocal; may exceed the number of images.
        k2: number of neighbours, the image included, whose weights are averaged (local query
            expansion).
        weight: weight of the original distance, 0..1.
        chunk: rows at once, chunk x N x 8 bytes; the result does not depend on it.

    Raises:
        ValueError: if a setting is out of range, or features are not finite or differ in width.
    """
    if min(k1, k2, chunk) < 1 or not 0 <= weight <= 1:
        raise ValueError(f"{k1=}, {k2=}, {chunk=} must be at least 1 and {weight=} in 0..1")
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"features of shape {tuple(query.shape)} and {tuple(gallery.shape)} do not match"
        )
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
    """A sparse matrix (CSR): row i has `values[starts[i] : starts[i + 1]]` in those `columns`."""

    starts: Tensor  # (N + 1,), int64
    columns: Tensor  # (entries,), int64
    values: Tensor  # (entries,), float32

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The entries of some rows: position of their row in `rows`, column, value."""
        starts = self.starts[rows]
        lengths = self.starts[rows + 1] - starts
        position = torch.repeat_interleave(lengths)
        entry = torch.arange(len(position), device=rows.device)
        entry += (starts - lengths.cumsum(0) + lengths)[position]
        return position, self.columns[entry], self.values[entry]


def _sparse_rows(pairs: Tensor, values: Tensor, size: int) -> SparseRows:
    """The matrix with these values at ascending pairs, each size x row + column."""
    starts = F.pad((pairs // size).bincount(minlength=size).cumsum(0), (1, 0))
    return SparseRows(starts, pairs % size, values.float())


def _squared_distances(features: Tensor, count: int, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of the first `count` images: indices (B,), squared Euclidean distances to all (B, N).

    The distances of a block overwrite those of the last one.
    """
    norms = torch.linalg.vector_norm(features, dim=1).square()
    memory = features.new_empty(min(chunk, count), len(features))
    for images in torch.arange(count, device=features.device).split(chunk):
        block = memory[: len(images)]
        torch.addmm(norms, features[images], features.T, alpha=-2, out=block)
        yield images, block.add_(norms[images, None]).clamp_(min=0)


def _neighbours(features: Tensor, count: int, chunk: int) -> tuple[Tensor, Tensor]:
    """Each image's nearest, itself first, (N, count), and largest squared distance, (N,)."""
    size = len(features)
    columns = torch.arange(size, device=features.device)
    nearest = columns.new_empty(size, min(count, size))
    furthest = features.new_empty(size)
    for images, squared in _squared_distances(features, size, chunk):
        # If all images are equal, the distance is 0, not 0 / 0.
        furthest[images] = squared.amax(dim=1).clamp(min=torch.finfo(features.dtype).tiny)
        # Distances that differ by the order of summation only tie in a level; the index decides.
        levels = squared.div_(furthest[images, None]).mul_(LEVELS).round_()
        levels.scatter_(1, images[:, None], -1)
        keys = levels.mul_(size).add_(columns)  # exact for up to 2**21 images
        nearest[images] = keys.topk(nearest.shape[1], largest=False).values.long() % size
    return nearest, furthest


def _mutual(near: Tensor) -> Tensor:
    """A mask (N, k) of the neighbours of an image that have it among theirs."""
    size = len(near)
    image = torch.arange(size, device=near.device)[:, None]
    return torch.isin(size * near + image, size * image + near)


def _weights(
    features: Tensor, furthest: Tensor, nearest: Tensor, k1: int, chunk: int
) -> SparseRows:
    """exp(-distance) to the images of the expanded k-reciprocal set, normalised to a sum of 1."""
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
    """The mean of the weights of each image's nearest neighbours (N, k2)."""
    size, k2 = nearest.shape
    parts, values = [], []
    for images in torch.arange(size, device=nearest.device).split(chunk):
        position, column, value = weights.take(nearest[images].flatten())
        pairs, where = (size * images[position // k2] + column).unique(return_inverse=True)
        parts.append(pairs)
        values.append(value.new_zeros(len(pairs)).index_add_(0, where, value / k2))
    return _sparse_rows(torch.cat(parts), torch.cat(values), size)


def _inverted(weights: SparseRows, first: int) -> SparseRows:
    """The transpose of the gallery's weights: for each image, the gallery images weighting it.

    Args:
        first: the index that the gallery begins at.
    """
    size = len(weights.starts) - 1
    start = weights.starts[first]
    image = torch.repeat_interleave(weights.starts[first:].diff())
    pairs, order = (size * weights.columns[start:] + image).sort()
    return _sparse_rows(pairs, weights.values[start:][order], size)


def _jaccard(weights: SparseRows, inverted: SparseRows, query: int, count: int) -> Tensor:
    """1 - sum of minima / sum of maxima of a query's and each gallery image's weights: (G,)."""
    row = slice(*weights.starts[query : query + 2].tolist())
    position, image, value = inverted.take(weights.columns[row])
    minima = torch.minimum(weights.values[row][position], value)
    shared = minima.new_zeros(count).index_add_(0, image, minima)
    return 1 - shared / (2 - shared)  # both rows sum to 1
