"""The spine of the house: a module imports only what stands below it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT

# From top to bottom; a module belongs to the longest name here that it begins with. The
# configuration (`misc.settings`) stands above everything that knows none.
SPINE = (
    ("main", "search", "benchmarks", "misc.export", "misc.report", "misc.quick_start_altclip"),
    ("misc.search",),
    ("misc.datasets.check",),
    ("misc.sweep",),
    ("options",),
    ("misc.job", "misc.closing"),
    ("misc.tasks",),
    ("misc.settings",),
    ("misc.training",),
    ("misc.retrieval",),
    ("misc.data",),
    ("misc.datasets",),
    ("misc.synthetic",),
    ("misc.evaluation", "misc.reranking", "misc.calibration", "misc.optim"),
    ("misc.runtime",),
    ("model",),
    ("text_utils",),
    ("errors",),
)
FLOORS = {name: floor for floor, names in enumerate(reversed(SPINE)) for name in names}
PACKAGES = ("text_utils", "model", "misc", "benchmarks")


def floor_of(module: str) -> int | None:
    parts = module.split(".")
    beginnings = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((FLOORS[name] for name in beginnings if name in FLOORS), None)


def imported(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Line and name of every module that is imported, by whichever form."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def upward_imports(root: Path) -> list[str]:
    found = []
    files = [*root.glob("*.py"), *(f for name in PACKAGES for f in (root / name).rglob("*.py"))]
    for file in filter(lambda file: file.stat().st_size, files):  # a package's may be empty
        path = file.relative_to(root)
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        own = floor_of(module)
        assert own is not None, f"{path} stands nowhere in the spine"
        inner = module + (".__init__" if path.name == "__init__.py" else "")
        for line, name in imported(ast.parse(file.read_text(encoding="utf-8")), inner):
            other = floor_of(name)
            if name.split(".")[0] == "tests" or (other is not None and other > own):
                found.append(f"{path.as_posix()}:{line} imports {name}")
    return sorted(found)


def test_imports_point_down():
    assert upward_imports(ROOT) == []


def test_upward_imports_are_caught(tmp_path):
    tree = {
        "main.py": "import options, misc.job, model.clip, text_utils, errors, torch",
        "errors.py": "import options",
        "options.py": "import errors\nfrom misc import settings\nimport main",
        "misc/job.py": "from misc.tasks.base import Task\nimport options",
        "misc/tasks/text/build.py": "from misc.settings import sections\nfrom .. import base",
        "misc/training/engine.py": "import misc.settings.sections\nfrom ..tasks import base",
        "misc/datasets/check.py": "import options",
        "misc/datasets/folder.py": "from ..data import text\nfrom misc.runtime import seeding",
        "model/clip.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from misc.data import text\n"
        ),
        "text_utils/words.py": "def f():\n    from model import clip\nimport torch, tests.test_x",
    }
    for name, code in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    assert upward_imports(tmp_path) == [
        "errors.py:1 imports options",
        "misc/datasets/folder.py:1 imports misc.data.text",
        "misc/job.py:2 imports options",
        "misc/training/engine.py:1 imports misc.settings.sections",
        "misc/training/engine.py:2 imports misc.tasks.base",
        "model/clip.py:3 imports misc.data.text",
        "options.py:3 imports main",
        "text_utils/words.py:2 imports model.clip",
        "text_utils/words.py:3 imports tests.test_x",
    ]
