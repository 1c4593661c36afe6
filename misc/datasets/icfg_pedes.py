"""ICFG-PEDES (Ding et al. 2021, arXiv 2107.12666): pictures of MSMT17, a long caption each."""

import re
from collections.abc import Sequence

from misc.datasets.text_annotations import Record
from misc.datasets.text_published import Count, PublishedTextDataset

PATH = re.compile(r"(^|/)(train|test)/[^/]+/[^/]+$")


def recognises(records: Sequence[Record]) -> bool:
    """By one caption a picture, no validation split, and a folder for each identity."""
    return all(
        "file_path" in record.fields
        and record.split != "val"
        and len(record.picture.captions) == 1
        and PATH.search(record.picture.path)
        for record in records
    )


ICFG_PEDES = PublishedTextDataset(
    "ICFG-PEDES",
    {"train": Count(34674, 34674, 3102), "test": Count(19848, 19848, 1000)},
    recognises,
)
