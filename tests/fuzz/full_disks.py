"""Files that cannot grow beyond a random size, as on a full disk, wherever this project writes."""

import json
import logging
import math
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F

import main
import options
from errors import InputError
from misc.datasets import check
from misc.export.command import build_parser, export
from misc.retrieval.calibration import calibrate, write_calibration
from misc.retrieval.features import Features, save_features
from misc.retrieval.ranked_lists import Found, RankedList, write_ranked_lists
from misc.runtime.checkpoint import BEST, LAST, Position, open_checkpoint, save_checkpoint
from misc.runtime.recorder import Recorder, start_logging
from misc.search.hit import Hit
from misc.search.index import open_index
from misc.search.person_search import PersonSearch
from misc.search.query import Query
from misc.search.sheet import write_sheet
from misc.synthetic.writing import WrittenDataset, write_dataset
from tests.command_line import parse
from tests.conftest import SMALL
from tests.search.contents import assert_part, assert_same, content

COUNT, SAMPLE = 150, 2
LONGEST = 60.0  # seconds of a case, of which some train twice
LARGEST = 20_000  # bytes of a file of the small index
DEMO = str(options.RECIPES / "demo.yaml")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: writing more fails with EFBIG."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def refusal(room: int, write: Callable[[], object]) -> str:
    """The message of writing to files of at most `room` bytes; empty if that is enough."""
    screen, sentence = StringIO(), ""
    with redirect_stdout(screen), redirect_stderr(screen):  # they may be files, too
        try:
            with file_size_limit(room):
                write()
        except InputError as error:
            sentence = str(error)
    assert "Traceback" not in screen.getvalue()
    return sentence


@cache
def home() -> Path:
    return Path(tempfile.mkdtemp(prefix="full-disks-"))


@cache
def drawn() -> WrittenDataset:
    sizes = {"train": 8, "val": 3, "test": 3}
    return write_dataset("cuhk-pedes", home(), identities=sizes, images=(2, 2), height=(40, 48))


@cache
def pictures() -> list[Path]:
    return sorted(drawn().image_root.rglob("*.jpg"))


def places() -> tuple[str, str]:
    return f"data.annotation_file={drawn().processed}", f"data.image_root={drawn().image_root}"


def train(folder: Path) -> None:
    few = ("schedule.epoch=2", "log.print_period=2", "log.save_period=3", "misc.seed=1")
    words = ("--config", DEMO, *SMALL, *places(), *few, "evaluation.ranked_lists=1")
    main.run(parse([*words, "--output", str(folder), "--resume", "auto"]))


@cache
def run() -> Path:
    """A run that had room enough."""
    train(home() / "run")
    return home() / "run"


@cache
def people() -> PersonSearch:
    return PersonSearch(run(), "cpu")


def features(version: int) -> Features:
    """Features of eight people, two pictures and two captions each."""
    generator = torch.Generator().manual_seed(version)
    image, text = F.normalize(torch.randn(2, 16, 8, generator=generator), dim=-1)
    ids, names = torch.arange(16) // 2, tuple(map(str, range(16)))
    return Features(
        image=image,
        text=text,
        image_ids=ids,
        text_ids=ids.clone(),
        image_paths=names,
        captions=names,
        model_hash="0",
    )


# Each writes a version of its files to a folder, over those of another version.


def write_weights(folder: Path, version: int) -> None:
    generator = torch.Generator().manual_seed(version)
    save_checkpoint({"model": {"weight": torch.randn(1000, generator=generator)}}, folder / LAST)


def write_export(folder: Path, version: int) -> None:
    export(build_parser().parse_args([str(run()), f"{folder}/weights-{version}.pth"]))


def write_features(folder: Path, version: int) -> None:
    save_features(folder / "features.safetensors", features(version))


def write_thresholds(folder: Path, version: int) -> None:
    write_calibration(folder, calibrate(features(version)), 0.1)


def write_lists(folder: Path, version: int) -> None:
    found = [Found(1, path, 1, True, 0.5) for path in pictures()[version : version + 3]]
    write_ranked_lists(folder, {"words": [RankedList("a man", 1, found)] * 2})


def write_results(folder: Path, version: int) -> None:
    with Recorder(folder) as recorder:
        recorder.write_text("results.md", f"{version}\n" * 5000)


def write_contact_sheet(folder: Path, version: int) -> None:
    hits = [Hit(str(path), 0.5, None) for path in pictures()[version : version + 3]]
    write_sheet(folder / "sheet.jpg", Query("a man"), hits)


def write_report(folder: Path, version: int) -> None:
    odd = "data.test_sets=[]" if version == 1 else "data.allow_outside=true"
    asked = check._parser().parse_args([*places(), odd, "--json", f"{folder}/report.json"])
    check._run(asked)


WHOLE: dict[str, Callable[[Path, int], None]] = {
    "checkpoint": write_weights,
    "export": write_export,
    "features": write_features,
    "calibration": write_thresholds,
    "ranked lists": write_lists,
    "results": write_results,
    "contact sheet": write_contact_sheet,
    "dataset report": write_report,
}


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder but for a run's curves, whose names are of their time."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in files
        if not file.name.startswith("events.out")
    }


def replace(point: str, random: Random, folder: Path) -> None:
    """Every file is the old one or the new one, and none is left half written."""
    write, own = WHOLE[point], folder / "own"
    for place, version in ((own, 1), (folder / "new", 1), (folder / "new", 2)):
        place.mkdir(exist_ok=True)
        write(place, version)
    old, new = contents(own), contents(folder / "new")
    room = random.randrange(max(map(len, new.values())))
    sentence = refusal(room, lambda: write(own, 2))
    assert "cannot " in sentence, f"{point}: a full disk goes unnoticed"
    for name, found in contents(own).items():
        assert found in (old.get(name), new.get(name)), f"{point}: {name} is a part of a file"
    assert old.keys() <= contents(own).keys()


def record(random: Random, folder: Path) -> None:
    """The rows and lines before stay, and the run's record can be gone on with."""

    def write(recorder: Recorder, first: int, last: int) -> None:
        for step in range(first, last + 1):
            recorder.write({"step": step, "loss": 1 / step, "lr": 0.1})
            logging.getLogger("misc.training").info("step %d", step)

    def resume(last: int) -> None:
        with Recorder(folder / "run", resumed=Position(step=20)) as recorder:
            write(recorder, 21, last)

    start_logging(active=True)
    with Recorder(folder / "run") as recorder:
        write(recorder, 1, 20)
    old = contents(folder / "run")
    sentence = refusal(random.randrange(4 * len(old["metrics.jsonl"])), lambda: resume(400))
    assert "cannot be written (File too large)" in sentence
    new = contents(folder / "run")
    assert new.keys() == old.keys()
    assert all(new[name].startswith(before) for name, before in old.items())
    resume(22)
    again = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in again] == [*range(1, 23)]


def index(random: Random, folder: Path) -> None:
    """The batches before stay, and a later update brings the rest."""
    for file in pictures()[:8]:
        (folder / "pictures").mkdir(exist_ok=True)
        shutil.copy(file, folder / "pictures")
    built = people().index(folder / "index")
    built.add(folder / "pictures", workers=0)
    old = content(built.table)
    for file in pictures()[8:]:
        shutil.copy(file, folder / "pictures")
    room = random.randrange(LARGEST)
    sentence = refusal(room, lambda: built.add(folder / "pictures", batch_size=3, workers=0))
    assert "cannot be written" in sentence or not sentence
    opened = open_index(str(folder / "index"))
    assert_part(old, content(opened.table))
    opened.add(folder / "pictures", workers=0)
    fresh = people().index(folder / "fresh")
    fresh.add(folder / "pictures", workers=0)
    assert_same(content(opened.table), content(fresh.table))


def training(random: Random, folder: Path) -> None:
    """Check that earlier files are whole, and that a resumed run ends as one with room enough."""
    whole = contents(run())
    largest = max(map(len, whole.values()))
    room = int(math.exp(random.uniform(math.log(100), math.log(largest))))
    assert "cannot be written" in refusal(room, lambda: train(folder / "run"))
    assert not [*(folder / "run").rglob("*.partial")]
    train(folder / "run")
    own = contents(folder / "run")
    assert own.keys() == whole.keys()
    assert all(own[name] == whole[name] for name in whole if name.startswith("results"))
    for name in (LAST, BEST):
        states = [open_checkpoint(each / name).state for each in (run(), folder / "run")]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


OTHERS: dict[str, Callable[[Random, Path], None]] = {
    "record": record,
    "index": index,
    "training": training,
}


def case(random: Random, folder: Path) -> None:
    try_point(random.choice([*WHOLE, *OTHERS]), random, folder)


def try_point(point: str, random: Random, folder: Path) -> None:
    """One place at which this project writes."""
    if point in WHOLE:
        replace(point, random, folder)
    else:
        OTHERS[point](random, folder)
