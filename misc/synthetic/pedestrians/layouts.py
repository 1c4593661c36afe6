"""Disk layouts of the published text-to-person datasets: folders, annotation files, records."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from misc.synthetic.drawing_plan import DiskLayout


@dataclass(frozen=True)
class Sample:
    """One image with its captions and their back-translations."""

    split: str
    id: int
    file_path: str
    captions: list[str]
    captions_bt: list[str]


@dataclass(frozen=True)
class Layout(DiskLayout):
    """The layout of a text-to-person dataset.

    Args:
        captions: number per image.
        file_path: the file name below `imgs` for (split, identity, camera, number of the image).
        record: the annotation of a sample.
        descriptions: number that a caption is made of.
    """

    annotation_file: str
    captions: int
    file_path: Callable[[str, int, int, int], str]
    record: Callable[[Sample], dict[str, object]]
    descriptions: int = 1


def _cuhk_path(split: str, identity: int, camera: int, picture: int) -> str:
    queries = "train_query" if split == "train" else "test_query"
    folders = ("cam_a", "cam_b", "CUHK01", "CUHK03", "Market", queries)
    return f"{folders[camera]}/{identity:05d}_{picture:02d}.jpg"


def _icfg_path(split: str, identity: int, camera: int, picture: int) -> str:
    name = f"{identity:04d}_{picture:03d}_{camera + 1:02d}_0303morning_{identity:04d}_0.jpg"
    return f"{split}/{identity:04d}/{name}"


def _rstp_path(split: str, identity: int, camera: int, picture: int) -> str:
    return f"{identity:04d}_c{camera + 1}_{picture:04d}.jpg"


def _ufine_path(split: str, identity: int, camera: int, picture: int) -> str:
    return f"images/{identity}{picture:04d}.jpg"


def _cuhk_record(sample: Sample) -> dict[str, object]:
    tokens = [re.findall(r"[\w'-]+", caption.lower()) for caption in sample.captions]
    return _icfg_record(sample) | {"processed_tokens": tokens}


def _icfg_record(sample: Sample) -> dict[str, object]:
    return {
        "split": sample.split,
        "captions": sample.captions,
        "file_path": sample.file_path,
        "id": sample.id,
    }


def _rstp_record(sample: Sample) -> dict[str, object]:
    record = _icfg_record(sample)
    return {"img_path": record.pop("file_path"), **record}


LAYOUTS = {
    "cuhk-pedes": Layout(
        folder="CUHK-PEDES",
        annotation_file="reid_raw.json",
        splits=("train", "val", "test"),
        first_id=1,
        captions=2,
        cameras=6,
        file_path=_cuhk_path,
        record=_cuhk_record,
    ),
    "icfg-pedes": Layout(
        folder="ICFG-PEDES",
        annotation_file="ICFG-PEDES.json",
        splits=("train", "test"),
        first_id=0,
        captions=1,
        cameras=15,
        file_path=_icfg_path,
        record=_icfg_record,
    ),
    "rstpreid": Layout(
        folder="RSTPReid",
        annotation_file="data_captions.json",
        splits=("train", "val", "test"),
        first_id=0,
        captions=2,
        cameras=15,
        file_path=_rstp_path,
        record=_rstp_record,
    ),
    "ufine6926": Layout(
        folder="UFine6926",
        annotation_file="UFine6926.json",
        splits=("train", "test"),
        first_id=1,
        captions=2,
        cameras=15,
        file_path=_ufine_path,
        record=_icfg_record,
        descriptions=3,
    ),
}
