"""Disk layouts of the published re-identification datasets: folders, file names, lists."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from misc.synthetic.drawing_plan import DiskLayout

UNLABELLED = -1  # the viewpoint of images that are not in a keypoint file


@dataclass(frozen=True)
class ReIDSample:
    """One image.

    Args:
        role: train, query, gallery or junk; test if the layout has random galleries.
        identity: as annotated.
        path: relative to the dataset's folder.
    """

    role: str
    identity: int
    path: str
    viewpoint: int = UNLABELLED


Samples = Sequence[ReIDSample]
Lists = Mapping[str, list[str]]  # lines by file name


def _no_lists(samples: Samples) -> Lists:
    return {}


@dataclass(frozen=True)
class ReIDLayout(DiskLayout):
    """The layout of a re-identification dataset.

    Args:
        path: the file name for (role, identity, camera, serial number of the image).
        lists: the list files of all samples.
        vehicles: whether it has vehicles instead of pedestrians.
        numbered_apart: whether the ids of test start again at the first id.
        stranger: the annotated id of the n-th distractor in the gallery; None if there are none.
        has_junk: whether the gallery has false detections, with identity -1.
        occluded: whether all queries are occluded.
        has_queries: False if galleries are drawn at random from the test images.
    """

    path: Callable[[str, int, int, int], str]
    lists: Callable[[Samples], Lists] = _no_lists
    vehicles: bool = False
    numbered_apart: bool = False
    stranger: Callable[[int], int] | None = None
    has_junk: bool = False
    occluded: bool = False
    has_queries: bool = True


MARKET_FOLDERS = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
    "junk": "bounding_box_test",
}
VERI_FOLDERS = {"train": "image_train", "query": "image_query", "gallery": "image_test"}


def _market_path(role: str, identity: int, camera: int, serial: int) -> str:
    who = f"{identity:04d}" if identity >= 0 else str(identity)
    name = f"{who}_c{camera + 1}s{serial % 6 + 1}_{serial:06d}_{serial % 4 + 1:02d}.jpg"
    return f"{MARKET_FOLDERS[role]}/{name}"


def _duke_path(role: str, identity: int, camera: int, serial: int) -> str:
    return f"{MARKET_FOLDERS[role]}/{identity:04d}_c{camera + 1}_f{serial:07d}.jpg"


def _msmt17_path(role: str, identity: int, camera: int, serial: int) -> str:
    name = f"{identity:04d}_{serial % 100:03d}_{camera + 1:02d}_0303morning_{serial % 10000:04d}_0"
    return f"{'train' if role == 'train' else 'test'}/{identity:04d}/{name}.jpg"


def _veri_path(role: str, identity: int, camera: int, serial: int) -> str:
    return f"{VERI_FOLDERS[role]}/{identity:04d}_c{camera + 1:03d}_{serial:08d}_0.jpg"


def _vehicleid_path(role: str, identity: int, camera: int, serial: int) -> str:
    return f"image/{serial:07d}.jpg"


def _msmt17_lists(samples: Samples) -> Lists:
    """Lists of all splits; every fifth training image is in val."""
    train = [sample for sample in samples if sample.role == "train"]
    split = {
        "train": [sample for number, sample in enumerate(train) if number % 5 < 4],
        "val": train[4::5],
        "query": [sample for sample in samples if sample.role == "query"],
        "gallery": [sample for sample in samples if sample.role == "gallery"],
    }

    def line(sample: ReIDSample) -> str:
        _, path = sample.path.split("/", 1)
        return f"{path} {sample.identity}"

    return {f"list_{name}.txt": [line(sample) for sample in part] for name, part in split.items()}


def _veri_lists(samples: Samples) -> Lists:
    """Keypoint files with invisible keypoints, and the viewpoint."""
    lists: dict[str, list[str]] = {}
    for sample in samples:
        if sample.viewpoint != UNLABELLED:
            name = "keypoint_train.txt" if sample.role == "train" else "keypoint_test.txt"
            keypoints = " ".join(["-1 -1"] * 20)
            line = f"{sample.path} {keypoints} {sample.viewpoint}"
            lists.setdefault(name, []).append(line)
    return lists


def _vehicleid_lists(samples: Samples) -> Lists:
    """Train and test lists; those of 800, 1600 and 2400 have 1/3, 2/3 and all of the vehicles."""

    def lines(chosen: Iterable[ReIDSample]) -> list[str]:
        return [f"{PurePosixPath(sample.path).stem} {sample.identity}" for sample in chosen]

    test = sorted({sample.identity for sample in samples if sample.role == "test"})
    lists = {"train_list.txt": lines(sample for sample in samples if sample.role == "train")}
    for thirds, size in ((1, 800), (2, 1600), (3, 2400)):
        chosen = set(test[: -(-len(test) * thirds // 3)])
        lists[f"test_list_{size}.txt"] = lines(s for s in samples if s.identity in chosen)
    return {f"train_test_split/{name}": part for name, part in lists.items()}


SPLITS = ("train", "test")
REID_LAYOUTS = {
    "market1501": ReIDLayout(
        "Market-1501-v15.09.15",
        SPLITS,
        first_id=1,
        cameras=6,
        path=_market_path,
        stranger=lambda number: 0,
        has_junk=True,
    ),
    "msmt17": ReIDLayout(
        "MSMT17",
        SPLITS,
        first_id=0,
        cameras=15,
        path=_msmt17_path,
        lists=_msmt17_lists,
        numbered_apart=True,
    ),
    "dukemtmc": ReIDLayout(
        "dukemtmcreid/DukeMTMC-reID",
        SPLITS,
        first_id=1,
        cameras=8,
        path=_duke_path,
        stranger=lambda number: number,
    ),
    "occluded-duke": ReIDLayout(
        "dukemtmcreid/Occluded_Duke",
        SPLITS,
        first_id=1,
        cameras=8,
        path=_duke_path,
        stranger=lambda number: number,
        occluded=True,
    ),
    "veri776": ReIDLayout(
        "VeRi",
        SPLITS,
        first_id=1,
        cameras=20,
        path=_veri_path,
        lists=_veri_lists,
        vehicles=True,
    ),
    "vehicleid": ReIDLayout(
        "VehicleID_V1.0",
        SPLITS,
        first_id=1,
        cameras=12,
        path=_vehicleid_path,
        lists=_vehicleid_lists,
        vehicles=True,
        has_queries=False,
    ),
}
