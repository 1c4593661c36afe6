"""docs/architecture.md: the names on the page exist, and its worked examples run."""

import ast
import copy
import importlib
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch
from numpy.random import default_rng
from PIL import Image

import main
import options
from errors import InputError
from misc.data.augmentations import find_image_augmentation
from misc.datasets.text_person import read_text_person
from misc.runtime.checkpoint import BEST, open_checkpoint
from model.tuning.trained_weights import ADJUSTED
from tests import ROOT
from tests.archives import write_openai_archive
from tests.command_line import parse
from tests.conftest import SMALL
from tests.documented import check, commands
from tests.test_imports import SPINE

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "docs" / "architecture.zh.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAME = re.compile(r"([\w./-]+\.(?:py|md|yaml))(?:::([\w.]+))?")
FOLDER = re.compile(r"`([\w/]+/)`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
EXAMPLE = re.compile(r"```python\n# (in )?(\S+)\n(.*?)```", re.DOTALL)
DEMO = str(options.RECIPES / "demo.yaml")


def block(language: str) -> list[str]:
    (lines,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return lines.splitlines()


@cache
def defined_names(path: str) -> set[str]:
    """The names that a file defines, those in its classes as `Class.name`."""
    names = set()

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            names.update(prefix + name.id for name in targets if isinstance(name, ast.Name))

    walk(ast.parse((ROOT / path).read_text(encoding="utf-8")).body, "")
    return names


def absent_names(text: str) -> list[str]:
    """The `file` and `file::name` in a text that do not exist; examples bring files of their own.

    A bare name may be that of a file in `config/` or `docs/`.
    """
    added = {path for _, path, _ in EXAMPLE.findall(text)}
    absent = []
    for path, name in NAME.findall(EXAMPLE.sub("", text)):
        places = [ROOT / path, ROOT / "config" / path, ROOT / "docs" / path]
        exists = path in added or any(place.is_file() for place in places)
        if not exists or (name and name not in defined_names(path)):
            absent.append(f"{path}::{name}" if name else path)
    absent += [folder for folder in FOLDER.findall(text) if not (ROOT / folder).is_dir()]
    return absent


@pytest.mark.parametrize(
    "page", [PAGE, CHINESE, CONTRIBUTING], ids=["architecture", "chinese", "contributing"]
)
def test_every_file_and_name_exists(page):
    assert len(NAME.findall(page)) > 5
    assert absent_names(page.replace("../", "")) == []


def test_names_that_do_not_exist_are_noticed():
    text = (
        "`misc/jobs.py` `misc/job.py::Job.test` `misc/job.py::Jobs` `model/objectives.py::itc` "
        "`model/tunings/` `tests/test_imports.py::SPINE` `model/clip.py::CLIP.run` `demo.yaml`"
    )
    assert absent_names(text) == [
        "misc/jobs.py",
        "misc/job.py::Jobs",
        "model/clip.py::CLIP.run",
        "model/tunings/",
    ]


def test_every_link_leads_somewhere():
    for folder, page in ((ROOT / "docs", PAGE), (ROOT, CONTRIBUTING)):
        links = LINK.findall(page)
        assert links
        assert [link for link in links if not (folder / link).exists()] == []


def test_the_rooms_are_all_there():
    rooms = {line.split()[0] for line in block("text")}
    assert [room for room in rooms if not (ROOT / room).exists()] == []
    packages = {
        f"{file.parent.relative_to(ROOT).as_posix()}/"
        for top in ("misc", "model", "text_utils")
        for file in (ROOT / top).rglob("__init__.py")
    }
    inner = {"misc/synthetic/pedestrians/", "misc/synthetic/vehicles/", "model/weights/published/"}
    assert packages - inner <= rooms


def test_the_spine_is_the_one_that_is_tested():
    assert [tuple(line.split(", ")) for line in block("spine")] == list(SPINE)


class Additions:
    """The code of worked examples, put where the page says, and taken out again."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.changed: list[tuple[ModuleType, dict]] = []
        self.new: list[str] = []

    def apply(self, heading: str) -> None:
        """Apply all blocks under a heading, in their order."""
        (section,) = re.findall(rf"### {heading}\n(.*?)(?=\n##)", PAGE, re.DOTALL)
        examples = EXAMPLE.findall(section)
        assert examples
        for is_change, path, code in examples:
            assert (ROOT / path).exists() is bool(is_change), path
            module = path.removesuffix(".py").replace("/", ".")
            if is_change:
                self._append(importlib.import_module(module), code)
            else:
                self._write(module, path, code)

    def _append(self, module: ModuleType, code: str) -> None:
        saved = {
            name: copy.copy(value) if isinstance(value, dict) else value
            for name, value in vars(module).items()
            if not name.startswith("__")
        }
        self.changed.append((module, saved))
        exec(compile(code, module.__name__, "exec"), vars(module))

    def _write(self, module: str, path: str, code: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
        package = importlib.import_module(module.rpartition(".")[0])
        self.monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
        self.new.append(module)

    def undo(self) -> None:
        """Leave all registries and modules as they were."""
        for module, saved in reversed(self.changed):
            for name in [name for name in vars(module) if not name.startswith("__")]:
                if name not in saved:
                    delattr(module, name)
                elif isinstance(saved[name], dict):
                    registry = getattr(module, name)
                    registry.clear()
                    registry.update(saved[name])
                else:
                    setattr(module, name, saved[name])
        for name in self.new:
            sys.modules.pop(name, None)


@pytest.fixture
def add(tmp_path, monkeypatch) -> Iterator[Callable[[str], None]]:
    """Apply the worked example under a heading, for one test."""
    additions = Additions(tmp_path / "additions", monkeypatch)
    yield additions.apply
    additions.undo()


@pytest.fixture
def train(places, tmp_path, monkeypatch) -> Callable[..., Path]:
    """Train two steps by main.py; the result is the run's folder."""
    monkeypatch.chdir(tmp_path)

    def train(*words: str) -> Path:
        few = ("schedule={epoch: 1, epoch_warmup: 0}", "data.batch_size=40")
        record = ("log.print_period=1", "evaluation.ranked_lists=0")
        recipe = ["--config", DEMO, "--output", "run", *SMALL, *places, *few, *record]
        main.run(parse([*recipe, *words]))
        assert len([row for row in rows("run") if "loss" in row]) == 2
        return tmp_path / "run"

    return train


def rows(folder: str) -> list[dict]:
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def closing(folder: str) -> list[tuple]:
    return [(r["direction"], r["R1"], r["mAP"]) for r in rows(folder) if "chosen" in r]


def check_evaluation(run: Path) -> None:
    """The best checkpoint, restored from its file, gives the numbers that closed the run."""
    main.run(parse(["--evaluate", str(run), "--output", "again"]))
    assert closing("again") == closing("run") != []


def test_an_example_leaves_nothing_behind(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        additions = Additions(tmp_path, patch)
        for heading in re.findall(r"^### (.*)", PAGE, re.MULTILINE):
            additions.apply(heading)
        parse(["--backbone", "bag-of-words", "tuning.biases={}"]).configure()
        for command in commands(ROOT / "docs" / "architecture.md"):
            check(command, tmp_path)
        additions.undo()
    for word in ("model.backbone=bag-of-words", "tuning.biases={}"):
        with pytest.raises(InputError, match="unknown"):
            parse([word]).configure()


def test_a_loss(add, train):
    add("A loss")
    train("experiment.losses.hardest=0.5")
    for row in rows("run")[:2]:
        assert 0 < row["hardest"] < 4 * 0.2 + 4
        others = sum(row[name] for name in ("nitc", "ritc"))
        assert row["loss"] == pytest.approx(others + 0.5 * row["hardest"], rel=1e-5)


def test_the_loss_is_the_one_of_a_slow_loop(add):
    add("A loss")
    from model.objectives import hardest_negative

    image, text = torch.nn.functional.normalize(torch.randn(2, 5, 8), dim=-1)
    ids = torch.tensor([0, 1, 1, 2, 3])
    expected = 0.0
    for i in range(5):
        others = [j for j in range(5) if ids[j] != ids[i]]
        positive = image[i] @ text[i]
        expected += max(0.0, 0.2 + max(image[i] @ text[j] for j in others) - positive) / 5
        expected += max(0.0, 0.2 + max(image[j] @ text[i] for j in others) - positive) / 5
    torch.testing.assert_close(hardest_negative(image, text, ids), torch.as_tensor(expected))


def test_a_text_dataset(add, tmp_path, caplog):
    add("A text dataset")
    records = [
        {"split": split, "image": f"cam/{i}.png", "person": i, "sentences": ["a man", "in red"]}
        for i, split in enumerate(["train", "train", "test"])
    ]
    (tmp_path / "cam").mkdir()
    for record in records:
        Image.new("RGB", (8, 16)).save(tmp_path / record["image"])
    (tmp_path / "labels.json").write_text(json.dumps(records))
    with caplog.at_level(logging.INFO):
        dataset = read_text_person(str(tmp_path / "labels.json"), str(tmp_path))
    assert dataset.name == "Campus-PEDES"
    assert [picture.identity for picture in dataset.splits["train"]] == [0, 1]
    assert dataset.splits["test"][0].captions == ("a man", "in red")
    assert (
        "Sizes differ from published Campus-PEDES: "
        "train 2 images (600), 2 identities (200), 4 captions (1,200); "
        "test 1 image (300), 1 identity (100), 2 captions (600)"
    ) in caplog.messages


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A small pretrained CLIP."""
    file = tmp_path_factory.mktemp("weights") / "small.pt"
    write_openai_archive(file, embed_dim=32)
    return file


@pytest.mark.parametrize("pretrained", [False, True])
def test_a_backbone(add, train, archive, pretrained):
    add("A backbone")
    weights = (f"model.clip_pretrained={archive}", "model.embed_dim=32") if pretrained else ()
    run = train("--backbone", "bag-of-words", *weights)
    checkpoint = open_checkpoint(run / BEST)
    assert checkpoint.architecture.backbone == "bag-of-words"
    text = {name for name in checkpoint.state if name.startswith("clip.text.")}
    assert text == {"clip.text.token_embedding.weight", "clip.text.projection"}
    check_evaluation(run)


def test_an_image_augmentation(add, train):
    add("An image augmentation")
    train("experiment.image_augment=half_body")
    transform = find_image_augmentation("half_body")((32, 16), "half")
    half = Image.new("RGB", (16, 32))
    half.paste((255, 255, 255), (0, 16, 16, 32))
    views = [transform(half, default_rng(seed)) for seed in range(20)]
    assert all(view.shape == (3, 32, 16) for view in views)
    means = {round(view.mean().item(), 1) for view in views}
    assert means == {-1.0, 0.0, 1.0}  # the upper half, all of it, the lower half


def test_a_way_of_tuning(add, train, archive):
    add("A way of tuning")
    tuned = (f"model.clip_pretrained={archive}", "model.embed_dim=32")
    run = train(*tuned, "tuning.biases={towers: [image]}", "schedule.lr=1e-2")
    checkpoint = open_checkpoint(run / BEST)
    assert checkpoint.architecture.to_tree()["tuning"] == {"biases": {"towers": ["image"]}}
    held = {name for name in checkpoint.state if name.startswith("clip.")} - {*ADJUSTED}
    assert held
    assert all(name.startswith("clip.visual.") and name.endswith(".bias") for name in held)
    check_evaluation(run)
    with pytest.raises(InputError, match="was tuned in another"):
        main.run(parse(["--evaluate", str(run), "tuning.biases.towers=[text]"]))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "experiment.image_augment=pol",
            "experiment.image_augment: unknown name 'pol'; did you mean pool? (pool, erase)",
        ),
        ("experiment.text_augment=swop", "unknown name 'swop'; did you mean swap?"),
        ("tuning.biases={}", "tuning: unknown name 'biases'; none is registered"),
    ],
)
def test_a_name_that_is_not_registered_is_refused_before_anything_is_built(word, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        parse([word]).configure()


def test_a_setting_that_a_way_does_not_have_is_refused(add, train, archive):
    add("A way of tuning")
    with pytest.raises(InputError, match=r"tuning\.biases: .* unexpected keyword argument 'tower'"):
        train(f"model.clip_pretrained={archive}", "model.embed_dim=32", "tuning.biases.tower=image")
