"""House rules that a machine can check: imports point down, keys are read, recipes load."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import options
from misc.settings.sections import ReIDLossSwitches, TextLossSwitches
from tests import ROOT

FLOORS = {"errors": 0, "text_utils": 1, "model": 2, "misc": 3, "options": 4, "main": 5, "search": 5}
READERS = (
    "main.py",
    "search.py",
    "misc/tasks/text/build.py",
    "misc/tasks/reid/build.py",
    "misc/tasks/base.py",
    "misc/tasks/text/task.py",
    "misc/tasks/text/model.py",
    "misc/export.py",
    "misc/tasks/reid/task.py",
    "misc/job.py",
    "misc/datasets/check.py",
)  # they may know `options`


def sources(root: Path) -> Iterator[Path]:
    yield from root.glob("*.py")
    for package in ("text_utils", "model", "misc"):
        yield from (root / package).rglob("*.py")


def imported(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every import; `path` is relative to the root."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.parts[: len(path.parts) - node.level] if node.level else ()
            module = [*above, *(node.module or "").split(".")]
            names = [module[0]] if module[0] else [alias.name for alias in node.names]
            yield from ((node.lineno, name) for name in names)


def upward_imports(root: Path) -> list[str]:
    found = []
    for source in sources(root):
        path = source.relative_to(root)
        floor = FLOORS.get(path.parts[0].removesuffix(".py"), max(FLOORS.values()))
        for line, name in imported(ast.parse(source.read_text(encoding="utf-8")), path):
            if name == "options" and path.as_posix() in READERS:
                continue
            if name == "tests" or FLOORS.get(name, 0) > floor:
                found.append(f"{path.as_posix()}:{line} imports {name}")
    return sorted(found)


def test_imports_point_down():
    assert upward_imports(ROOT) == []


def test_upward_imports_are_caught(tmp_path):
    tree = {
        "main.py": "import options, misc.training.engine, model, text_utils, errors",
        "errors.py": "import options",
        "options.py": "import errors\nimport main",
        "misc/tasks/base.py": "import options\nfrom . import engine",
        "misc/training/engine.py": "import options.x",
        "misc/datasets/folder.py": "from .. import data\nfrom ...main import run",
        "model/build.py": "from options import Model\nfrom misc import data",
        "model/clip.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from misc.data import Batch\n"
        ),
        "text_utils/words.py": "def f():\n    from model import clip\nimport torch, tests.test_x",
        "tests/test_x.py": "import main, text_utils",
    }
    for name, code in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    assert upward_imports(tmp_path) == [
        "errors.py:1 imports options",
        "misc/datasets/folder.py:2 imports main",
        "misc/training/engine.py:1 imports options",
        "model/build.py:1 imports options",
        "model/build.py:2 imports misc",
        "model/clip.py:3 imports misc",
        "options.py:2 imports main",
        "text_utils/words.py:2 imports model",
        "text_utils/words.py:3 imports tests",
    ]


def test_the_configuration_stops_at_the_builders():
    for source in sources(ROOT):
        path = source.relative_to(ROOT)
        if path.is_relative_to("misc") and not path.is_relative_to("misc/settings"):
            knows = "misc.settings" in source.read_text(encoding="utf-8")
            assert not knows or path.as_posix() in READERS, f"{path} imports misc.settings"


def leaves(tree: dict, prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def unread_keys(tree: dict, codes: list[str]) -> list[str]:
    """The keys that no code reads as an attribute of their section or of a name that is none.

    `config.data.batch_size`, `data.batch_size` and `settings.batch_size` read `data.batch_size`,
    `schedule.batch_size` does not.
    """
    keys = list(leaves(tree))
    sections = {part for key in keys for part in key.split(".")[:-1]}
    read = set()
    for code in codes:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                read.add((name if name in sections else "", node.attr))

    def is_read(key: str) -> bool:
        section, _, name = key.rpartition(".")
        return bool({(section.split(".")[-1], name), ("", name)} & read)

    return [key for key in keys if not is_read(key)]


def test_every_key_is_read():
    readers = [ROOT / name for name in READERS if (ROOT / name).exists()]
    codes = [reader.read_text(encoding="utf-8") for reader in readers]
    tree = options.to_tree(options.parse([]).configure())
    for name in (*TextLossSwitches.model_fields, "losses"):  # by their names in `loss_weights`
        del tree["experiment"][name]
    for name in ReIDLossSwitches.model_fields:
        del tree["reid"][name]
    for name in ("projection_dim", "tokenizer_type"):  # compared with other keys, in misc/settings
        del tree["model"][name]
    assert unread_keys(tree, codes) == []


def test_unread_keys_are_noticed():
    tree = {
        "data": {"size": 1, "root": 2},
        "model": {"text": {"width": 3}, "rate": 4},
        "log": {"root": 5},
    }
    code = "f(config.data.size, log.root, tower.width)\nmodel.rate = 3\nprint(data.rate)"
    assert unread_keys(tree, [code]) == ["data.root", "model.rate"]
    assert unread_keys(tree, [code, "g(data.root, settings.rate)"]) == []


RECIPES = sorted(
    file for file in (ROOT / "config").rglob("*.yaml") if file.name != "dataset.yaml"
)  # the latter is laid over others


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(ROOT / "config")))
def test_recipe_loads(recipe):
    if options.parse(["--config", str(recipe)]).configure().task == "text_to_image":
        options.parse(["--config", str(recipe), "--simplified"]).configure()


LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_pages_link_to_files_that_exist(page):
    links = LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
