"""CUHK-PEDES (Li et al., CVPR 2017): captions for images of five older pedestrian datasets."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from misc.datasets.counts import TextCount
from misc.datasets.text_annotations import Record
from misc.datasets.text_published import PublishedTextDataset

FOLDERS = {"cam_a", "cam_b", "CUHK01", "CUHK03", "Market", "train_query", "test_query"}


def recognises(records: Sequence[Record]) -> bool:
    """By `processed_tokens` in the published file; by the image folders in the processed form."""
    return all(
        "processed_tokens" in record.fields
        or FOLDERS & set(PurePosixPath(record.picture.path).parts[:-1])
        for record in records
    )


CUHK_PEDES = PublishedTextDataset(
    "CUHK-PEDES",
    {
        "train": TextCount(34054, 11003, 68126),
        "val": TextCount(3078, 1000, 6158),
        "test": TextCount(3074, 1000, 6156),
    },
    recognises,
)
