"""RSTPReid (Zhu et al., ACM MM 2021): images of MSMT17, each with two captions."""

import re
from collections.abc import Sequence

from misc.datasets.counts import TextCount
from misc.datasets.text_annotations import Record
from misc.datasets.text_published import PublishedTextDataset

NAME = re.compile(r"(^|/)\d+_c\d+_\d+\.\w+$")


def recognises(records: Sequence[Record]) -> bool:
    """By `img_path` in the published file; by the image names in the processed form."""
    return all(
        "img_path" in record.fields or NAME.search(record.picture.path) for record in records
    )


RSTPREID = PublishedTextDataset(
    "RSTPReid",
    {
        "train": TextCount(18505, 3701, 37010),
        "val": TextCount(1000, 200, 2000),
        "test": TextCount(1000, 200, 2000),
    },
    recognises,
)
