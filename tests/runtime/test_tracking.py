"""Trackers: TensorBoard's files, and the calls that modules in the place of the others record.

The packages themselves are tried where they are installed.
"""

import importlib
import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from errors import InputError
from misc.runtime.checkpoint import Position
from misc.runtime.recorder import Recorder
from misc.runtime.tracking import ID_FILE, INSTALL, Tracking
from tests.command_line import configure, refusal

SETTINGS = {"misc": {"seed": 1}, "data": {"image_root": "图片"}}
# The calls that both documentations show; what they do not know is a TypeError.
FAKE = """
from pathlib import Path

calls = []

class Image:
    def __init__(self, data_or_path):
        assert isinstance(data_or_path, str)
        self.path = data_or_path

class Run:
    def log(self, data, step=None):
        images = {k: v.path if isinstance(v, Image) else v for k, v in data.items()}
        calls.append(("log", images, step))
"""
WANDB = (
    FAKE
    + """
    def define_metric(self, name, step_metric=None):
        calls.append(("define_metric", name, step_metric))

    def finish(self, exit_code=None):
        calls.append(("finish", exit_code))

def init(*, project=None, name=None, config=None, dir=None, resume=None, id=None):
    given = dict(project=project, name=name, config=config, dir=dir, resume=resume, id=id)
    calls.append(("init", given))
    (Path(dir) / "wandb").mkdir(exist_ok=True)  # as the real one leaves its files
    return Run()
"""
)
TRACKIO = (
    FAKE
    + """
    def finish(self):
        calls.append(("finish",))

def init(project, name=None, config=None, resume="never"):
    calls.append(("init", dict(project=project, name=name, config=config, resume=resume)))
    return Run()
"""
)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Installs modules of these names and codes."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "site").mkdir()

    def install(**codes: str) -> None:
        for name, code in codes.items():
            (tmp_path / "site" / f"{name}.py").write_text(code)
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()

    yield install
    for name in ("wandb", "trackio"):
        sys.modules.pop(name, None)


@pytest.fixture
def sheet(tmp_path) -> Path:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "sample-01.jpg")
    return tmp_path / "sample-01.jpg"


def record(folder: Path, names: list[str], sheet: Path, resume_step: int | None = None) -> None:
    tracking = Tracking(names, "people", SETTINGS)
    tracking.check()
    resumed = None if resume_step is None else Position(step=resume_step)
    with Recorder(folder, resumed=resumed, tracking=tracking) as recorder:
        recorder.write({"step": 4, "epoch": 2, "loss": 0.5, "lr": 0.1})
        closing = {"dataset": "A test", "split": "test", "direction": "text to image"}
        recorder.write({"step": 2, **closing, "R1": 50.0})
        recorder.show("ranked_lists/CUHK-test", [sheet], 2)


def test_tensorboard_has_pictures_and_the_configuration(tmp_path, sheet):
    record(tmp_path / "run", ["tensorboard"], sheet)
    (file,) = (tmp_path / "run").glob("events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    tags = events.Tags()
    assert {*tags["scalars"]} == {"train/loss", "train/lr", "A test text to image/R1"}
    (picture,) = events.Images("ranked_lists/CUHK-test/sample-01")
    assert (picture.step, picture.width, picture.height) == (2, 40, 20)
    assert picture.encoded_image_string == sheet.read_bytes()
    (text,) = events.Tensors("configuration/text_summary")
    shown = text.tensor_proto.string_val[0].decode()
    assert "    misc:\n      seed: 1\n" in shown
    assert "image_root: 图片" in shown


def test_wandb_has_the_run_and_its_pictures(fake, tmp_path, sheet):
    """The closing row has an earlier step than one before: it is a value, not wandb's own step."""
    fake(wandb=WANDB)
    folder = tmp_path / "run"
    record(folder, ["wandb"], sheet)
    begin, axis, *logged, end = sys.modules["wandb"].calls
    run_id = (folder / ID_FILE).read_text().strip()
    named = {"project": "people", "name": "run", "dir": str(folder), "id": run_id}
    assert begin == ("init", {**named, "config": SETTINGS, "resume": "allow"})
    assert axis == ("define_metric", "*", "step")
    assert logged == [
        ("log", {"train/loss": 0.5, "train/lr": 0.1, "step": 4}, None),
        ("log", {"A test text to image/R1": 50.0, "step": 2}, None),
        ("log", {"ranked_lists/CUHK-test/sample-01": str(sheet), "step": 2}, None),
    ]
    assert end == ("finish", 0)


def test_trackio_has_the_run_and_its_pictures(fake, tmp_path, sheet):
    fake(trackio=TRACKIO)
    record(tmp_path / "run", ["trackio"], sheet)
    begin, *logged, end = sys.modules["trackio"].calls
    name = f"run-{(tmp_path / 'run' / ID_FILE).read_text().strip()}"
    expected = {"project": "people", "name": name, "config": SETTINGS, "resume": "allow"}
    assert begin == ("init", expected)
    assert logged == [
        ("log", {"train/loss": 0.5, "train/lr": 0.1}, 4),
        ("log", {"A test text to image/R1": 50.0}, 2),
        ("log", {"ranked_lists/CUHK-test/sample-01": str(sheet)}, 2),
    ]
    assert end == ("finish",)


def test_a_resumed_run_continues_the_tracked_one(fake, tmp_path, sheet):
    """And a new one in its place does not."""
    fake(wandb=WANDB, trackio=TRACKIO)
    ids, names = [], []
    for resume_step in (None, 4, None):
        record(tmp_path / "run", ["wandb", "trackio"], sheet, resume_step)
        ids.append([c[1]["id"] for c in sys.modules["wandb"].calls if c[0] == "init"][-1])
        names.append([c[1]["name"] for c in sys.modules["trackio"].calls if c[0] == "init"][-1])
    assert ids[0] == ids[1] != ids[2]
    assert names == [f"run-{run_id}" for run_id in ids]


def test_a_run_that_fails_ends_so(fake, tmp_path):
    fake(wandb=WANDB)
    with pytest.raises(InputError), Recorder(tmp_path / "run", tracking=Tracking(["wandb"])):
        raise InputError("a mistake")
    assert sys.modules["wandb"].calls[-1] == ("finish", 1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_refused(name, tmp_path, monkeypatch):
    """A folder of that name, which wandb leaves where it ran, is no package."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, name, raising=False)
    sentence = f"log.to names {name}, which is not installed: {INSTALL[name]}"
    with pytest.raises(InputError, match=sentence):
        Tracking(["tensorboard", name]).check()
    Tracking(["tensorboard"]).check()


def test_the_installed_wandb_records_a_run_and_its_resumption(tmp_path, sheet, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for resume_step in (None, 4):
        record(tmp_path / "run", ["wandb"], sheet, resume_step)
    run_id = (tmp_path / "run" / ID_FILE).read_text().strip()
    files = [*(tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{run_id}.wandb")]
    assert len(files) == 2  # a folder of each start
    for file in files:
        assert b"A test text to image/R1" in file.read_bytes()
        assert [*file.parent.glob("files/media/images/ranked_lists/CUHK-test/sample-01*")]


def test_the_installed_trackio_records_a_run_and_its_resumption(tmp_path, sheet, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    for resume_step in (None, 4):
        record(tmp_path / "run", ["trackio"], sheet, resume_step)
    (run,) = trackio.Api().runs("people")
    assert run.name == f"run-{(tmp_path / 'run' / ID_FILE).read_text().strip()}"
    assert run.config["misc"] == SETTINGS["misc"]
    logs = SQLiteStorage.get_logs("people", run.name)
    assert [log["step"] for log in logs] == [4, 2, 2] * 2
    assert [log["train/loss"] for log in logs if "train/loss" in log] == [0.5, 0.5]


def test_without_trackers_the_record_is_in_its_files(tmp_path, sheet):
    record(tmp_path / "run", [], sheet)
    assert {file.name for file in (tmp_path / "run").iterdir()} == {"log.txt", "metrics.jsonl"}
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert [row["step"] for row in rows] == [4, 2]


def test_the_configuration_names_trackers_once_each():
    assert configure().log.to == ("tensorboard",)
    assert configure("log.to=[trackio, wandb]", "log.project=x").log.to == ("trackio", "wandb")
    assert configure("log.to=[]").log.to == ()
    assert "give each once" in refusal("log.to=[wandb, wandb]")
    assert "log.to" in refusal("log.to=[mlflow]")
