"""The faults that are put into a source, those that are known to change nothing; a small run."""

import ast
import time

import pytest

from tests import ROOT
from tests.mutants import __main__ as campaign
from tests.mutants.equivalent import read_equivalent
from tests.mutants.mutations import Edit, Mutant, mutants
from tests.mutants.suites import sources, suite_of
from tests.mutants.tree import PASSED, TIMED_OUT, Tree

SOURCE = '''"""A module."""

LIMIT: float = -0.5


@dataclass(frozen=True)
def area(rows: int, columns: int = 2, *, square: bool = False) -> int | None:
    """Rows times columns."""
    if square and rows != columns:
        raise ValueError(f"{rows + 1}")
    if not rows:
        log("é", 3)
        rows += 1
    return max(rows * columns, key=abs)  # é
'''


def test_each_fault_is_a_small_change_of_the_source():
    edits = {(m.edit.removed, m.edit.added) for m in mutants("area.py", SOURCE)}
    assert edits == {
        (("LIMIT: float = -0.5",), ("LIMIT: float = (0.5)",)),
        (("LIMIT: float = -0.5",), ("LIMIT: float = -1.0",)),
        *(
            (
                ("def area(rows: int, columns: int = 2, *, square: bool = False) -> int | None:",),
                (o,),
            )
            for o in (
                "def area(rows: int, columns: int = 3, *, square: bool = False) -> int | None:",
                "def area(rows: int, columns: int = 2, *, square: bool = True) -> int | None:",
            )
        ),
        (("if square and rows != columns:",), ("if (square or rows != columns):",)),
        (("if square and rows != columns:",), ("if square and (rows == columns):",)),
        (("if not rows:",), ("if (bool(rows)):",)),
        (('log("é", 3)',), ("pass",)),
        (('log("é", 3)',), ('log("é", 4)',)),
        (("rows += 1",), ("pass",)),
        (("rows += 1",), ("rows += 2",)),
        *(
            (("return max(rows * columns, key=abs)  # é",), (other,))
            for other in (
                "return None  # é",
                "return max((rows / columns), key=abs)  # é",
                "return max(rows * columns)  # é",
            )
        ),
    }


def test_every_mutant_is_a_program_and_every_source_has_tests():
    for file in sources():
        found = mutants(file, (ROOT / file).read_text("utf-8"))
        assert found
        for mutant in found[::10]:
            ast.parse(mutant.source)
        assert all((ROOT / name).exists() for name in suite_of(file)), file


def test_what_is_said_to_change_nothing_is_still_in_the_code():
    edits = {m.edit for file in sources() for m in mutants(file, (ROOT / file).read_text("utf-8"))}
    equivalent = read_equivalent()
    edits |= {edit._replace(added=()) for edit in edits}
    assert [edit for edit in equivalent if edit not in edits] == []
    assert all(equivalent.values()), "a reason each"


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Tree:
    """A project of a line of code, with a test of it."""
    monkeypatch.setattr(Tree, "__init__", lambda self, folder: setattr(self, "folder", folder))
    (tmp_path / "code.py").write_text("def half(x):\n    return x / 2\n")
    (tmp_path / "test_code.py").write_text(
        "import importlib.util, time\n"
        "def test_half():\n"
        "    spec = importlib.util.spec_from_file_location('code_to_test', 'code.py')\n"
        "    module = importlib.util.module_from_spec(spec)\n"
        "    spec.loader.exec_module(module)\n"
        "    assert module.half(0) == 0\n"
        "def test_slow():\n"
        "    time.sleep(SECONDS)\n".replace("SECONDS", "0")
    )
    return Tree(tmp_path)


def test_a_survivor_is_told_from_what_a_test_has_noticed(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(campaign, "suite_of", lambda file: ["test_code.py"])
    monkeypatch.setattr(campaign, "MEMORY", tmp_path / "memory")
    sample = [
        Mutant(Edit("code.py", ("return x / 2",), (text,)), 2, f"def half(x):\n    {text}\n")
        for text in ("return x * 2", "return None")
    ]
    for _ in range(2):  # the second time, what was killed is remembered
        killed, tried = campaign.run(sample, tree, time.monotonic() + 60)
        assert (killed, tried) == ({"code.py": 1}, {"code.py": 2})
        assert capsys.readouterr().out == ("survived code.py:2\n- return x / 2\n+ return x * 2\n\n")
    assert (tree.folder / "code.py").read_text() == "def half(x):\n    return x / 2\n"
    suite = tree.folder / "test_code.py"
    suite.write_text(suite.read_text().replace("assert module.half(0) == 0", "module.half(0)"))
    assert campaign.run(sample, tree, time.monotonic() + 60)[0].total() == 0  # by weaker tests


def test_tests_that_do_not_end_are_ended(tree):
    assert tree.test(["test_code.py"], limit=60) == PASSED
    slow = tree.folder / "test_code.py"
    slow.write_text(slow.read_text().replace("sleep(0)", "sleep(60)"))
    assert tree.test(["test_code.py"], limit=1) == TIMED_OUT
