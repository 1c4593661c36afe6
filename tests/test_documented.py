"""The documented commands and Python blocks can be parsed; `make docs-check` runs the short."""

import re
import subprocess
from pathlib import Path

import pytest

from errors import InputError
from tests import ROOT
from tests.docs_check import reason_to_parse
from tests.documented import PAGES, Command, blocks, check, check_block, commands, write_files

ARCHITECTURE = ROOT / "docs" / "architecture.md"  # its commands are of examples: see its own test
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # of runpy


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_parsed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    write_files(page, tmp_path)
    for _, block in blocks(page):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    faults = []
    for command in commands(page) if page != ARCHITECTURE else ():
        try:
            check(command, tmp_path)
        except InputError as error:
            faults.append(f"{command}: {error}")
    assert faults == []


def test_every_python_block_compiles_and_names_what_there_is():
    found = [code for page in PAGES if page != ARCHITECTURE for _, code in blocks(page, "python")]
    assert len(found) >= 4
    for code in found:
        check_block(code)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("print(1", SyntaxError),
        ("import no_such_package", ImportError),
        ("from search import PeopleSearch", AttributeError),
    ],
)
def test_a_python_block_that_fails_is_noticed(code, fault):
    with pytest.raises(fault):
        check_block(code)


def test_pages_have_commands_of_every_kind():
    words = [command.words for page in PAGES for command in commands(page)]
    assert len(words) > 90
    for start in (("python", "main.py"), ("python", "search.py"), ("python", "-m"), ("make",)):
        assert sum(one[: len(start)] == start for one in words) > 3, start


def test_trainings_and_servers_of_the_pages_are_run():
    """By `make docs-check`."""
    found = [command for page in PAGES for command in commands(page)]
    for word in ("reid.root=data", "serve --index", "-m benchmarks.relevance", "ViT-B-16_60.pth"):
        asked = [command for command in found if word in str(command)]
        assert asked
        assert [str(command) for command in asked if reason_to_parse(command)] == []


@pytest.mark.parametrize(("target", "recipe"), [("serve", "demo"), ("serve-both", "demo_both")])
def test_serving_takes_the_newest_demo(target, recipe, tmp_path):
    """The commands that make would run on the newest finished run of its demo, each parsed."""
    kept = {"demo": "checkpoint_best.pt", "demo_both": "checkpoint_last.pt"}
    for number in (1, 2):
        for name, file in kept.items():
            (tmp_path / f"runs/{name}-{number}").mkdir(parents=True)
            (tmp_path / f"runs/{name}-{number}/{file}").touch()
    (tmp_path / f"runs/{recipe}-3").mkdir()  # unfinished
    make = ["make", "-n", "-f", str(ROOT / "Makefile"), "-o", ".venv/.run", target]
    told = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    page = tmp_path / "told.md"
    page.write_text(f"```bash\n{told.replace('.venv/bin/python', 'python')}```\n")
    found = [one for one in commands(page) if one.words[0] == "python"]
    assert [one.words[1:3] for one in found] == [
        ("-m", "misc.synthetic"),
        ("search.py", "index"),
        ("search.py", "serve"),
    ]
    assert f"runs/{recipe}-2/{kept[recipe]}" in found[1].words
    assert f"runs/{recipe}-2/strangers.index" in found[2].words
    for command in found:
        check(command, tmp_path)


def test_a_page_is_split_into_commands(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Text.\n\n```bash\n# comment\npython main.py ... 'data.image_size=[32, 16]' \\\n"
        "    data.batch_size=4  # more\nmake .venv/.run && source it\n"
        "python search.py serve --index I [--port 7860] [--host H] &\n```\n"
    )
    assert [(command.line, command.words) for command in commands(page)] == [
        (5, ("python", "main.py", "...", "data.image_size=[32, 16]", "data.batch_size=4")),
        (7, ("make", ".venv/.run")),
        (7, ("source", "it")),
        (8, ("python", "search.py", "serve", "--index", "I", "--port", "7860", "--host", "H")),
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("python main.py data.batchsize=4", "did you mean data.batch_size"),
        ("torchrun --nproc_per_node=2 main.py --simple", "unrecognized arguments: --simple"),
        ("python main.py --config config/absent.yaml", "absent.yaml"),
        ("python search.py find words", "invalid choice: 'find'"),
        ("python -m misc.synthetic --layouts icfg-pedes", "misc.synthetic ends with 2"),
        ("python misc/quick_start_altclip.py --words a", "ends with 2"),
        ("make tests", "the Makefile has no target tests"),
        ("git clone somewhere", "git is not a program that this check knows"),
        ("python -m misc.evaluation", "misc.evaluation does not read its command line"),
    ],
)
def test_a_command_that_fails_is_noticed(line, fault, tmp_path):
    command = Command(Path("page.md"), 1, tuple(line.split()))
    with pytest.raises(InputError, match=re.escape(fault)):
        check(command, tmp_path)
