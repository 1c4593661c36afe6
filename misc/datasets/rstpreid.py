"""RSTPReid (Zhu et al., ACM MM 2021): pictures of MSMT17, two captions each."""

import re
from collections.abc import Sequence

from misc.datasets.text_annotations import Record
from misc.datasets.text_published import Count, PublishedTextDataset

NAME = re.compile(r"(^|/)\d+_c\d+_\d+\.\w+$")


def recognises(records: Sequence[Record]) -> bool:
    """By the owners' `img_path`; in the processed form, by the names of the pictures."""
    return all(
        "img_path" in record.fields or NAME.search(record.picture.path) for record in records
    )


RSTPREID = PublishedTextDataset(
    "RSTPReid",
    {
        "train": Count(18505, 37010, 3701),
        "val": Count(1000, 2000, 200),
        "test": Count(1000, 2000, 200),
    },
    recognises,
)
