"""UFine6926 (Zuo et al., CVPR 2024, arXiv 2312.03441): images with two long captions each."""

import re
from collections.abc import Sequence

from misc.datasets.counts import TextCount
from misc.datasets.text_annotations import Record
from misc.datasets.text_published import PublishedTextDataset

PATH = re.compile(r"(^|/)images/\d+\.jpg$")
FEWEST_WORDS = 50  # on average; ICFG-PEDES, the next longest, has 37


def recognises(records: Sequence[Record]) -> bool:
    """By `images/N.jpg`, two long captions per image, and no validation split."""
    fits = all(
        record.split != "val"
        and len(record.picture.captions) == 2
        and PATH.search(record.picture.path)
        for record in records
    )
    words = sum(len(text.split()) for record in records for text in record.picture.captions)
    return fits and words >= FEWEST_WORDS * 2 * len(records)


UFINE6926 = PublishedTextDataset(
    "UFine6926",
    {"train": TextCount(18577, 4926, 37154), "test": TextCount(7629, 2000, 15258)},
    recognises,
)
