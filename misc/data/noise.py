"""Captions that are given to other pictures of the training set, to study their effect."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import InputError
from misc.runtime.seeding import Purpose, generator


def draw_mismatches(num_pairs: int, rate: float, seed: int) -> NDArray[np.int64]:
    """For every pair the one whose caption it gets: a share of them exchange theirs at random.

    Args:
        rate: that share, of which the permutation may leave some as they were.
    """
    rng, captions = generator(seed, Purpose.NOISE), np.arange(num_pairs)
    chosen = rng.choice(num_pairs, int(rate * num_pairs), replace=False)
    captions[chosen] = rng.permutation(chosen)
    return captions


def read_mismatches(file: str, num_pairs: int) -> NDArray[np.int64]:
    """The same from an index file of RDE (Qin et al. 2024, arXiv 2308.09911): one whole number a
    pair, in the order of the annotation file.

    Raises:
        InputError: it cannot be read, or is of another training set.
    """
    try:
        captions = np.load(Path(file), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"data.noise.file: {file} cannot be read as an array of NumPy ({reason}): give one of "
            "RDE's index files (.npy)"
        ) from None
    if not (
        isinstance(captions, np.ndarray) and captions.ndim == 1 and captions.dtype.kind in "iu"
    ):
        raise InputError(
            f"data.noise.file: {file} is not a row of whole numbers: give one of RDE's index files"
        )
    if len(captions) != num_pairs:
        raise InputError(
            f"data.noise.file: {file} is for {len(captions)} pairs, but the training set has "
            f"{num_pairs}: give the file of this dataset"
        )
    if captions.min() < 0 or captions.max() >= num_pairs:
        raise InputError(
            f"data.noise.file: {file} names pairs that are not among the {num_pairs} of the "
            "training set: give the file of this dataset"
        )
    return captions.astype(np.int64)
