"""Synthetic datasets on disk: written once, and reused if the arguments are the same."""

import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

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
    """Size of one split, or of one role in a re-identification dataset."""

    identities: int
    images: int
    captions: int = 0


@dataclass(frozen=True)
class WrittenDataset:
    """Paths and sizes of a dataset.

    Args:
        annotation_file: in the published format.
        processed: folder of `{split}_reid.json` with back-translations in the first language, and
            of `{split}_reid_{lang}.json` if there are several languages.
        image_root: the folder to which image paths are relative.
        counts: by split.
    """

    root: Path
    annotation_file: Path
    processed: Path
    image_root: Path
    counts: Mapping[str, Count]


@dataclass(frozen=True)
class WrittenReIDDataset:
    """Folder and sizes of a re-identification dataset; `counts` is by role of the images."""

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
    skipped: int = 0,
    workers: int = 1,
    progress: bool = False,
) -> WrittenDataset:
    """Write a dataset to `output/<DATASET>`, or reuse the one that the same arguments wrote there.

    The same arguments give the same bytes, whatever the number of `workers`.

    Args:
        layout: `cuhk-pedes`, `icfg-pedes`, `rstpreid` or `ufine6926`.
        identities: number in each split; splits share none.
        images: range of images per identity, from different cameras as long as there are any.
        height: range of image heights in pixels.
        difficulty: 0 to 1: look-alikes, short and vague captions, camera differences, occlusion.
        languages: of the captions, `en` and `ch`; the content is the same in all of them.
        skipped: ids left out before those of `test`.
        workers: processes that draw.
        progress: show a progress bar, on a terminal only.

    Raises:
        InputError: an argument is out of range, or the folder has other contents or cannot be
            written.
    """
    sizes = dict(identities), images, seed, height, difficulty
    plan = Plan(layout, *sizes, tuple(languages), skipped=skipped)
    return draw_dataset(plan, output, workers, progress)


def draw_dataset(plan: Plan, output: Path, workers: int, progress: bool) -> WrittenDataset:
    """Write the dataset of a plan, as `write_dataset` does."""
    root, counts = write_once(plan, output, _write, workers, progress)
    annotation_file = root / plan.published.annotation_file
    return WrittenDataset(root, annotation_file, root / "processed", root / "imgs", counts)


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
    skipped: int = 0,
    workers: int = 1,
    progress: bool = False,
) -> WrittenReIDDataset:
    """Write a re-identification dataset below `output`, or reuse it, as `write_dataset` does.

    Args:
        layout: `market1501`, `msmt17`, `dukemtmc`, `occluded-duke`, `veri776` or `vehicleid`.
        identities: number in `train` and in `test`, which share none.
        images: range of images per identity, within 4 and 99; at least two from each of its
            cameras.
        difficulty: 0 to 1: look-alikes, camera differences, occlusion.
        viewpoints: whether `veri776` gets its keypoint files.
        skipped: ids left out before those of `test`, as many as the `val` split of another dataset
            has, so that both search for the same people.

    Raises:
        InputError: as `write_dataset` does.
    """
    sizes = dict(identities), images, seed, height, difficulty
    plan = ReIDPlan(layout, *sizes, viewpoints, skipped=skipped)
    return draw_reid_dataset(plan, output, workers, progress)


def draw_reid_dataset(
    plan: ReIDPlan, output: Path, workers: int, progress: bool
) -> WrittenReIDDataset:
    """Write the dataset of a plan, as `write_reid_dataset` does."""
    return WrittenReIDDataset(*write_once(plan, output, _write_reid, workers, progress))


def write_once(
    plan: P,
    output: Path,
    write: Callable[[Path, P, int, bool], dict[str, Count]],
    workers: int,
    progress: bool,
) -> tuple[Path, dict[str, Count]]:
    """The dataset's folder and sizes, after writing it unless the same plan did so before.

    Args:
        write: writes the files for (folder, plan, workers, whether to show a progress bar).

    Raises:
        InputError: the folder has other contents or cannot be written.
    """
    if workers < 1:
        raise InputError(f"{workers} workers: give at least 1.")
    root, counts = Path(output) / plan.published.folder, find_counts(plan, output)
    if counts is not None:
        return root, counts
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".synthetic-", dir=root.parent) as temporary:
            draft = Path(temporary) / root.name
            counts = write(draft, plan, workers, progress)
            receipt = {name: asdict(count) for name, count in counts.items()}
            write_json({"arguments": _arguments(plan), "counts": receipt}, draft / RECEIPT)
            os.replace(draft, root)
    except OSError as error:
        raise _no_room(root, error) from error
    return root, counts


def find_counts(plan: DrawingPlan, output: Path) -> dict[str, Count] | None:
    """The sizes of the dataset that the same plan wrote before; None if nothing is there.

    Raises:
        InputError: the folder has other contents or cannot be read.
    """
    root = Path(output) / plan.published.folder
    try:
        is_new = not root.exists() or (root.is_dir() and not any(root.iterdir()))
    except OSError as error:
        raise _no_room(root, error) from error
    return None if is_new else _read_receipt(root, plan)


def _no_room(root: Path, error: OSError) -> InputError:
    reason = error.strerror or error
    return InputError(f"cannot write to {root} ({reason}): choose another folder.")


def read_plan(root: Path) -> Plan:
    """The plan of the pedestrians that `write_dataset` wrote to a folder.

    Raises:
        InputError: it did not.
    """
    try:
        arguments = json.loads((root / RECEIPT).read_text(encoding="utf-8"))["arguments"]
        lists = {key: tuple(value) for key, value in arguments.items() if isinstance(value, list)}
        return Plan(**{**arguments, **lists})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{root} has no synthetic pedestrians: draw them with python -m misc.synthetic"
        ) from error


def _read_receipt(root: Path, plan: DrawingPlan) -> dict[str, Count]:
    """The sizes of an existing dataset.

    Raises:
        InputError: it was not written by the same plan.
    """
    try:
        receipt = json.loads((root / RECEIPT).read_text(encoding="utf-8"))
        made_with, counts = receipt["arguments"], receipt["counts"]
    except (OSError, ValueError, KeyError):
        raise InputError(
            f"{root} exists, but was not written by this program (no {RECEIPT}): choose another "
            "output folder."
        ) from None
    arguments = _arguments(plan)
    other = [key for key in arguments | made_with if arguments.get(key) != made_with.get(key)]
    if other:
        raise InputError(
            f"{root} was written with different arguments ({', '.join(other)}): choose another "
            "output folder, or delete this one."
        )
    return {split: Count(**count) for split, count in counts.items()}


def _arguments(plan: DrawingPlan) -> dict[str, object]:
    """The plan as JSON reads it back, without empty splits, and without the defaults that older
    receipts do not have.
    """
    asked = {split: number for split, number in plan.identities.items() if number}
    arguments: dict[str, object] = json.loads(json.dumps(asdict(plan) | {"identities": asked}))
    if arguments.get("languages") == ["en"]:
        del arguments["languages"]
    if not plan.skipped:
        del arguments["skipped"]
    return arguments


def _write(root: Path, plan: Plan, workers: int, progress: bool) -> dict[str, Count]:
    jobs = [(root / "imgs", plan, split, identity) for split, identity in plan.owners()]
    splits: dict[str, list[tuple[Sample, ...]]] = {split: [] for _, _, split, _ in jobs}
    bar = tqdm(total=len(jobs), unit=" identities", disable=None if progress else True)
    with bar:
        for (_, _, split, _), samples in zip(jobs, map_jobs(_run_job, jobs, workers), strict=True):
            splits[split] += samples
            bar.update()
    record = plan.published.record
    raw = [record(first) for samples in splits.values() for first, *_ in samples]
    write_json(raw, root / plan.published.annotation_file)
    for split, samples in splits.items():
        by_language = [[_processed(s) for s in same] for same in zip(*samples, strict=True)]
        write_json(by_language[0], root / f"processed/{split}_reid.json")
        if len(by_language) > 1:
            for language, processed in zip(plan.languages, by_language, strict=True):
                write_json(processed, root / f"processed/{split}_reid_{language}.json")
    return {split: _count([first for first, *_ in samples]) for split, samples in splits.items()}


def _write_reid(root: Path, plan: ReIDPlan, workers: int, progress: bool) -> dict[str, Count]:
    jobs = [(root, plan, split, identity) for split, identity in plan.owners()]
    drawn = map_jobs(_run_reid_job, jobs, workers)
    bar = tqdm(drawn, total=len(jobs), unit=" identities", disable=None if progress else True)
    samples = [sample for own in bar for sample in own]
    for name, lines in plan.published.lists(samples).items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    roles = {sample.role: [s for s in samples if s.role == sample.role] for sample in samples}
    return {role: Count(len({s.identity for s in own}), len(own)) for role, own in roles.items()}


def map_jobs(run: Callable[[J], S], jobs: list[J], workers: int) -> Iterator[S]:
    """Results of jobs in order, from several processes if there are several workers."""
    if workers == 1:
        yield from map(run, jobs)
        return
    # Spawn, since forking a process that has threads (torch starts some) is unsafe.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(run, jobs, chunksize=8)


def _run_job(job: Job) -> list[tuple[Sample, ...]]:
    return write_samples(*job)


def _run_reid_job(job: ReIDJob) -> list[ReIDSample]:
    return write_reid_samples(*job)


def _processed(sample: Sample) -> dict[str, object]:
    """A record in TBPS-CLIP's format."""
    record = asdict(sample)
    del record["split"]
    return record


def _count(samples: list[Sample]) -> Count:
    captions = sum(len(sample.captions) for sample in samples)
    return Count(len({sample.id for sample in samples}), len(samples), captions)


def write_json(content: object, file: Path) -> None:
    """Write an indented JSON file, and its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
