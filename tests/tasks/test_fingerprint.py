"""The description of the data that a resumption is compared by."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import options
from misc.job import TASKS
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.synthetic.writing import write_dataset, write_reid_dataset
from misc.tasks.fingerprint import fingerprint
from model.trees import Tree
from tests.command_line import parse
from tests.conftest import SMALL

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
RECIPES = {
    "text_to_image": "demo.yaml",
    "image_to_image": "demo_reid.yaml",
    "both": "demo_both.yaml",
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> Path:
    """A folder with two small datasets of each task."""
    folder = tmp_path_factory.mktemp("datasets")
    for seed, name in enumerate(("first", "second")):
        sizes = {"height": (32, 40), "seed": seed}
        text = {"train": 4, "val": 2, "test": 2}
        write_dataset("cuhk-pedes", folder / name, identities=text, images=(2, 2), **sizes)
        reid = {"train": 3, "test": 2}
        write_reid_dataset("market1501", folder / name, identities=reid, images=(4, 4), **sizes)
    (folder / "second" / "CUHK-PEDES").rename(folder / "second" / "more")
    return folder


def describe(task: str, first: Path, second: Path, split: str = "test") -> Tree:
    """The description of a task's data, with a further training set."""
    reid, text, more = first / "Market-1501-v15.09.15", first / "CUHK-PEDES", second / "more"
    more_reid = second / "Market-1501-v15.09.15"
    places = {
        "text": (
            *(f"data.annotation_file={text / 'processed'}", f"data.image_root={text / 'imgs'}"),
            "data.train_sets=[{name: more, "
            f"annotation_file: {more}/processed, image_root: {more}/imgs}}]",
        ),
        "reid": (
            *("reid.dataset=market1501", f"reid.root={reid}"),
            f"reid.train_sets=[{{dataset: market1501, root: {more_reid}}}]",
        ),
    }
    given = {"text_to_image": ("text",), "image_to_image": ("reid",), "both": ("text", "reid")}
    words = [word for name in given[task] for word in places[name]]
    recipe = ["--config", str(options.RECIPES / RECIPES[task]), "model.clip_pretrained=null"]
    config = parse([*recipe, *SMALL, *words]).configure()
    return fingerprint(TASKS[task](config, ALONE, Precision("fp32", CPU)), [], split)


@pytest.mark.parametrize("task", TASKS)
def test_paths_may_be_absolute_relative_or_both(datasets, tmp_path, monkeypatch, task):
    monkeypatch.chdir(datasets)
    described = describe(task, datasets / "first", Path("second"))
    assert described == describe(task, Path("first"), Path("second"))
    assert described == describe(task, datasets / "first", datasets / "second")
    shutil.copytree(datasets, tmp_path / "moved")
    assert described == describe(task, tmp_path / "moved" / "first", tmp_path / "moved" / "second")


@pytest.mark.parametrize("task", ["text_to_image", "both"])
def test_the_split_that_selects_has_a_hash_of_its_own(datasets, tmp_path, task):
    shutil.copytree(datasets, tmp_path / "other")
    file = tmp_path / "other" / "first" / "CUHK-PEDES" / "processed" / "test_reid.json"
    records = json.loads(file.read_text())
    records[0]["captions"][0] += " and a hat"
    file.write_text(json.dumps(records))
    before = describe(task, datasets / "first", datasets / "second")
    after = describe(task, tmp_path / "other" / "first", tmp_path / "other" / "second")
    assert {name for name in before if before[name] != after[name]} == {"selection"}
