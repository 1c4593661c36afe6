"""A map of identities: pictures of a few dozen people, placed by the similarity of features."""

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from misc.report.markup import inline_picture, paragraph
from misc.report.measured import EncodedSet, Measured

PEOPLE, PICTURES = 30, 6  # of each person
PERPLEXITY = 12
SIDE, THUMB = 640, (22, 44)  # of the map and of its pictures, in its own units
PIXELS = 48  # height of a picture in the page


def draw_map(measured: Measured, test: EncodedSet) -> str:
    """A t-SNE of picture features; nothing for fewer than four pictures."""
    features = test.retrieval.features(test.encoded, measured.job.model)
    rows = choose_pictures(features.image_ids)
    if len(rows) < 4:
        return ""
    places = place(features.image[rows].numpy())
    people = features.image_ids[rows].unique().tolist()
    paths = [Path(features.image_paths[row]) for row in rows]
    return paragraph(
        f"{len(rows)} pictures of {len(people)} people of {test.name}, placed by t-SNE of their "
        "features; frames of one colour are of one person. Pictures that lie close together are "
        "similar for the model; distances between others mean little."
    ) + _draw(places, paths, features.image_ids[rows].tolist(), people)


def choose_pictures(identities: torch.Tensor) -> list[int]:
    """The first pictures of identities spread evenly over the test set, those with several first.

    Args:
        identities: (N,), of all pictures.
    """
    ids, counts = identities.unique(return_counts=True)
    several = ids[counts > 1] if (counts > 1).any() else ids
    chosen = several[torch.linspace(0, len(several) - 1, min(PEOPLE, len(several))).long()]
    rows = [(identities == one).nonzero().flatten()[:PICTURES] for one in chosen]
    return torch.cat(rows).tolist()


def place(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Places (N, 2) within the unit square.

    Args:
        features: (N, D), L2-normalised.
    """
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=0)
    places = tsne.fit_transform(features)
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.maximum(high - low, 1e-9)


def _draw(
    places: NDArray[np.float32], paths: Sequence[Path], identities: list[int], people: list[int]
) -> str:
    width, height = THUMB
    parts = []
    for (x, y), path, identity in zip(places, paths, identities, strict=True):
        left, top = x * (SIDE - width), y * (SIDE - height)
        box = f'x="{left:.0f}" y="{top:.0f}" width="{width}" height="{height}"'
        colour = _colour(people.index(identity), len(people))
        parts.append(
            f"<g><title>identity {identity}</title>"
            f'<image {box} href="{inline_picture(path, PIXELS)}" preserveAspectRatio="none"/>'
            f'<rect {box} fill="none" stroke="{colour}" stroke-width="3"/></g>'
        )
    return (
        f'<svg class="map" viewBox="-3 -3 {SIDE + 6} {SIDE + 6}" role="img" '
        f'aria-label="map of identities">{"".join(parts)}</svg>'
    )


def _colour(number: int, count: int) -> str:
    """Colours around the wheel, in three lightnesses, as many as there are people."""
    lightness = (0.42, 0.56, 0.7)[number % 3]
    red, green, blue = colorsys.hls_to_rgb(number / count, lightness, 0.75)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
