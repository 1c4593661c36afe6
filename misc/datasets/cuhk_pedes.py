"""CUHK-PEDES (Li et al., CVPR 2017): five older datasets of pedestrians, described anew."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from misc.datasets.text_annotations import Record
from misc.datasets.text_published import Count, PublishedTextDataset

FOLDERS = {"cam_a", "cam_b", "CUHK01", "CUHK03", "Market", "train_query", "test_query"}


def recognises(records: Sequence[Record]) -> bool:
    """By the owners' `processed_tokens`; in the processed form, by the folders of the pictures."""
    return all(
        "processed_tokens" in record.fields
        or FOLDERS & set(PurePosixPath(record.picture.path).parts[:-1])
        for record in records
    )


CUHK_PEDES = PublishedTextDataset(
    "CUHK-PEDES",
    {
        "train": Count(34054, 68126, 11003),
        "val": Count(3078, 6158, 1000),
        "test": Count(3074, 6156, 1000),
    },
    recognises,
)
