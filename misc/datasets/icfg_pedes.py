"""ICFG-PEDES (Ding et al. 2021, arXiv 2107.12666): images of MSMT17, each with a long caption."""

import re
from collections.abc import Sequence

from misc.datasets.counts import TextCount
from misc.datasets.text_annotations import Record
from misc.datasets.text_published import PublishedTextDataset

PATH = re.compile(r"(^|/)(train|test)/[^/]+/[^/]+$")


def recognises(records: Sequence[Record]) -> bool:
    """By one caption per image, no validation split, and a folder for each identity."""
    return all(
        "file_path" in record.fields
        and record.split != "val"
        and len(record.picture.captions) == 1
        and PATH.search(record.picture.path)
        for record in records
    )


ICFG_PEDES = PublishedTextDataset(
    "ICFG-PEDES",
    {"train": TextCount(34674, 3102, 34674), "test": TextCount(19848, 1000, 19848)},
    recognises,
)
