"""Datasets of drawn people and vehicles: written once, found again by their arguments."""

import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from errors import InputError
from misc.synthetic.drawing_plan import DrawingPlan
from misc.synthetic.pedestrians.layouts import Sample
from misc.synthetic.pedestrians.plan import Plan
from misc.synthetic.pedestrians.samples import write_samples
from misc.synthetic.reid_layouts import ReIDSample
from misc.synthetic.reid_samples import ReIDPlan, write_reid_samples

RECEIPT = "synthetic.json"

P = TypeVar("P", bound=DrawingPlan)
J = TypeVar("J")
S = TypeVar("S")
Job = tuple[Path, Plan, str, int]
ReIDJob = tuple[Path, ReIDPlan, str, int]


@dataclass(frozen=True)
class Count:
    identities: int
    images: int
    captions: int = 0


@dataclass(frozen=True)
class WrittenDataset:
    """Where a dataset lies: `annotation_file` is the published one, `processed` the folder of
    `{split}_reid.json` with back-translations, in the first language, and of
    `{split}_reid_{lang}.json` if there are several; the file names start from `image_root`.
    `counts` has an entry for each split that exists."""

    root: Path
    annotation_file: Path
    processed: Path
    image_root: Path
    counts: Mapping[str, Count]


@dataclass(frozen=True)
class WrittenReIDDataset:
    """Where a re-identification dataset lies; `counts` has an entry for each role of a picture."""

    root: Path
    counts: Mapping[str, Count]


def write_dataset(
    layout: str,
    output: Path,
    *,
    identities: Mapping[str, int],
    images: tuple[int, int] = (2, 4),
    seed: int = 0,
    height: tuple[int, int] = (96, 256),
    difficulty: float = 0.5,
    languages: Sequence[str] = ("en",),
    workers: int = 1,
    progress: bool = False,
) -> WrittenDataset:
    """Write a dataset to `output/<DATASET>`, or find it there, made by the same arguments.

    The files depend on the arguments alone, not on `workers`: the same arguments, the same bytes.

    Args:
        layout: `cuhk-pedes`, `icfg-pedes` or `rstpreid`.
        identities: how many for each split; the splits share none.
        images: fewest and most pictures of an identity, from different cameras while there are any.
        height: lowest and highest picture, in pixels.
        difficulty: 0 to 1: look-alikes, short and vague captions, cameras that differ, occlusion.
        languages: of the captions, `en` and `ch`; a caption tells the same in each of them.
        workers: processes that draw.
        progress: show a bar, on a terminal only.

    Raises:
        InputError: for arguments that make no dataset, and for a folder that holds something else
            or cannot be written.
    """
    plan = Plan(layout, dict(identities), images, seed, height, difficulty, tuple(languages))
    root, counts = _write_once(plan, output, _write, workers, progress)
    return _written(root, plan, counts)


def write_reid_dataset(
    layout: str,
    output: Path,
    *,
    identities: Mapping[str, int],
    images: tuple[int, int] = (4, 8),
    seed: int = 0,
    height: tuple[int, int] = (96, 256),
    difficulty: float = 0.5,
    viewpoints: bool = True,
    workers: int = 1,
    progress: bool = False,
) -> WrittenReIDDataset:
    """Write a re-identification dataset below `output`, or find it there, as `write_dataset` does.

    Args:
        layout: `market1501`, `msmt17`, `dukemtmc`, `occluded-duke`, `veri776` or `vehicleid`.
        identities: how many for `train` and for `test`, which share none.
        images: fewest and most pictures of an identity, from 4 to 99; at least two from each of
            the cameras that see it.
        difficulty: 0 to 1: look-alikes, cameras that differ, occlusion.
        viewpoints: whether `veri776` comes with its keypoint files.

    Raises:
        InputError: as `write_dataset` does.
    """
    plan = ReIDPlan(layout, dict(identities), images, seed, height, difficulty, viewpoints)
    return WrittenReIDDataset(*_write_once(plan, output, _write_reid, workers, progress))


def _write_once(
    plan: P,
    output: Path,
    write: Callable[[Path, P, int, bool], dict[str, Count]],
    workers: int,
    progress: bool,
) -> tuple[Path, dict[str, Count]]:
    """The dataset's folder and counts: what `write` wrote, or what the same plan wrote before."""
    if workers < 1:
        raise InputError(f"{workers} workers: give at least one.")
    root = Path(output) / plan.published.folder
    try:
        if root.exists() and not (root.is_dir() and not any(root.iterdir())):
            return root, _read_receipt(root, plan)
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".synthetic-", dir=root.parent) as temporary:
            draft = Path(temporary) / root.name
            counts = write(draft, plan, workers, progress)
            os.replace(draft, root)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {root} ({reason}): choose another folder.") from error
    return root, counts


def _written(root: Path, plan: Plan, counts: Mapping[str, Count]) -> WrittenDataset:
    annotation_file = root / plan.published.annotation_file
    return WrittenDataset(root, annotation_file, root / "processed", root / "imgs", counts)


def _read_receipt(root: Path, plan: DrawingPlan) -> dict[str, Count]:
    """The counts of the dataset that is already there, if the same plan made it."""
    try:
        receipt = json.loads((root / RECEIPT).read_text(encoding="utf-8"))
        made_with, counts = receipt["arguments"], receipt["counts"]
    except (OSError, ValueError, KeyError):
        raise InputError(
            f"{root} exists and was not made here (no {RECEIPT}): choose another output folder."
        ) from None
    arguments = _arguments(plan)
    other = [key for key in arguments | made_with if arguments.get(key) != made_with.get(key)]
    if other:
        raise InputError(
            f"{root} was made with other arguments ({', '.join(other)}): choose another output "
            "folder, or delete this one."
        )
    return {split: Count(**count) for split, count in counts.items()}


def _arguments(plan: DrawingPlan) -> dict[str, Any]:
    """The plan as JSON reads it back; a split without identities is as good as none, and English
    alone goes without saying, as it did before there were other languages.
    """
    asked = {split: number for split, number in plan.identities.items() if number}
    arguments: dict[str, Any] = json.loads(json.dumps(asdict(plan) | {"identities": asked}))
    if arguments.get("languages") == ["en"]:
        del arguments["languages"]
    return arguments


def _write(root: Path, plan: Plan, workers: int, progress: bool) -> dict[str, Count]:
    jobs = [(root / "imgs", plan, split, identity) for split, identity in plan.owners()]
    splits: dict[str, list[tuple[Sample, ...]]] = {split: [] for _, _, split, _ in jobs}
    bar = tqdm(total=len(jobs), unit=" identities", disable=None if progress else True)
    with bar:
        for (_, _, split, _), samples in zip(jobs, _map(_run_job, jobs, workers), strict=True):
            splits[split] += samples
            bar.update()
    record = plan.published.record
    raw = [record(first) for samples in splits.values() for first, *_ in samples]
    _dump(raw, root / plan.published.annotation_file)
    for split, samples in splits.items():
        told = [[_processed(sample) for sample in same] for same in zip(*samples, strict=True)]
        _dump(told[0], root / f"processed/{split}_reid.json")
        if len(told) > 1:
            for language, processed in zip(plan.languages, told, strict=True):
                _dump(processed, root / f"processed/{split}_reid_{language}.json")
    counts = {split: _count([first for first, *_ in samples]) for split, samples in splits.items()}
    receipt = {split: asdict(count) for split, count in counts.items()}
    _dump({"arguments": _arguments(plan), "counts": receipt}, root / RECEIPT)
    return counts


def _write_reid(root: Path, plan: ReIDPlan, workers: int, progress: bool) -> dict[str, Count]:
    jobs = [(root, plan, split, identity) for split, identity in plan.owners()]
    drawn = _map(_run_reid_job, jobs, workers)
    bar = tqdm(drawn, total=len(jobs), unit=" identities", disable=None if progress else True)
    samples = [sample for own in bar for sample in own]
    for name, lines in plan.published.lists(samples).items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    roles = {sample.role: [s for s in samples if s.role == sample.role] for sample in samples}
    counts = {role: Count(len({s.identity for s in own}), len(own)) for role, own in roles.items()}
    receipt = {role: asdict(count) for role, count in counts.items()}
    _dump({"arguments": _arguments(plan), "counts": receipt}, root / RECEIPT)
    return counts


def _map(run: Callable[[J], S], jobs: list[J], workers: int) -> Iterator[S]:
    if workers == 1:
        yield from map(run, jobs)
        return
    # Spawned, not forked: a parent that has threads (torch, for one) must not be copied.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(run, jobs, chunksize=8)


def _run_job(job: Job) -> list[tuple[Sample, ...]]:
    return write_samples(*job)


def _run_reid_job(job: ReIDJob) -> list[ReIDSample]:
    return write_reid_samples(*job)


def _processed(sample: Sample) -> dict[str, Any]:
    """A record of the form that TBPS-CLIP trains on."""
    record = asdict(sample)
    del record["split"]
    return record


def _count(samples: list[Sample]) -> Count:
    captions = sum(len(sample.captions) for sample in samples)
    return Count(len({sample.id for sample in samples}), len(samples), captions)


def _dump(content: object, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
