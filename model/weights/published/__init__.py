"""The catalogue of published formats: a new one is a file here, and a line in `FORMATS`."""

from collections.abc import Collection

from model.weights.published import clip_reid, cskt, irra, rde, tbps_clip
from model.weights.published.format import PublishedFormat

# CSKT and RDE before IRRA, whose names their files have, too.
FORMATS = (tbps_clip.FORMAT, cskt.FORMAT, rde.FORMAT, irra.FORMAT, clip_reid.FORMAT)


def find_format(names: Collection[str]) -> PublishedFormat | None:
    """The project whose names these names of tensors are, None if it is none of the catalogue."""
    return next((each for each in FORMATS if each.recognises(names)), None)
