"""Position embeddings of rectangles in the square tables that transformers has."""

import torch
import torch.nn.functional as F
from torch import Tensor


def square_positions(embedding: Tensor, grid: tuple[int, int], num_class_rows: int = 1) -> Tensor:
    """The smallest square table that transformers interpolates to these position embeddings.

    With `interpolate_pos_encoding=True` its image towers interpolate a square table bicubically to
    the patches of a picture. That is a linear map of rows and one of columns, R = A S B^T, which a
    square of the longer side can undo: S = A^+ R (B^+)^T gives R again.

    Args:
        embedding: (n + rows * columns, D), n the `num_class_rows`.
        grid: rows and columns of patches.

    Returns:
        (n + side * side, D), `side` the longer one; a square is returned as it is.
    """
    rows, columns = grid
    if rows == columns:
        return embedding
    side, first = max(grid), embedding[:num_class_rows]
    patches = embedding[num_class_rows:].double().unflatten(0, grid)  # (rows, columns, D)
    to_rows, to_columns = (torch.linalg.pinv(_bicubic(side, length)) for length in grid)
    square = torch.einsum("sr,rcd,tc->std", to_rows, patches, to_columns)
    return torch.cat([first, square.flatten(0, 1).to(embedding.dtype)])


def _bicubic(side: int, length: int) -> Tensor:
    """The matrix (length, side) by which a line of `side` values is interpolated to `length`."""
    lines = torch.eye(side, dtype=torch.float64)[None, :, :, None]  # (1, lines, side, 1)
    resized = F.interpolate(lines, (length, 1), mode="bicubic", align_corners=False)
    return resized[0, :, :, 0].t()
