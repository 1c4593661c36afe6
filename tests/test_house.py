"""House rules that a machine can check: short files, typed seams, keys that are read, links."""

import ast
import re
from collections.abc import Iterator

import pytest

import options
from misc.settings.loss_sections import ReIDLossSwitches, TextLossSwitches
from tests import ROOT
from tests.test_imports import FLOORS, PACKAGES, floor_of

OPENINGS = re.compile(r"(What|Which|Those|How|Where|Who|Whom)\b")  # a docstring says it, instead


def sources() -> dict[str, ast.Module]:
    """The code of the project by module, without its tests."""
    files = [*ROOT.glob("*.py"), *(f for name in PACKAGES for f in (ROOT / name).rglob("*.py"))]
    return {
        ".".join(f.relative_to(ROOT).with_suffix("").parts): ast.parse(f.read_text("utf-8"))
        for f in files
        if f.stat().st_size
    }


SOURCES = sources()


def test_docstrings_open_with_a_noun_or_a_verb():
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = [
        (name, ast.get_docstring(node) or "")
        for name, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, documented)
    ]
    assert [(name, text[:60]) for name, text in docstrings if OPENINGS.match(text)] == []


def test_files_and_functions_are_short():
    long_files = [
        name for name, tree in SOURCES.items() if tree.body and tree.body[-1].end_lineno > 350
    ]
    assert long_files == []
    long_functions = [
        f"{name}.{node.name}"
        for name, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and length(node) > 40
    ]
    assert long_functions == []


def length(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    is_documented = ast.get_docstring(function) is not None
    docstring = first.end_lineno - first.lineno + 1 if is_documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


PLACES = {"CHECKPOINT", "DIR", "FILE", "FOLDER", "INDEX", "PATH", "RUN", "VIDEO"}


def unchecked_paths(tree: ast.Module) -> Iterator[str]:
    """The options whose path may be empty: `Path("")` is the current folder, which nobody means by
    a variable of a script that is not set.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            is_place = PLACES & {*re.findall("[A-Z]+", given.get("metavar", ""))}
            if given.get("type") == "Path" or (is_place and "type" not in given):
                yield ast.literal_eval(node.args[0])


def test_options_refuse_an_empty_path():
    """Their types are `given` and `given_path` of misc.runtime.script, or an `OutputFile`."""
    found = {
        name: options for name, tree in SOURCES.items() if (options := [*unchecked_paths(tree)])
    }
    assert found == {}


def test_unchecked_paths_are_noticed():
    code = """
add("--data", type=Path)
add("--index", metavar="INDEX")
add("--images", nargs="+", type=given_path, metavar="FILE")
add("--name", metavar="NAME")
"""
    assert [*unchecked_paths(ast.parse(code))] == ["--data", "--index"]


def test_types_are_named():
    """`Any` is left where a library forces it: at most 2 in 1,000 lines."""
    uses = sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for tree in SOURCES.values()
        for node in ast.walk(tree)
    )
    num_lines = sum(tree.body[-1].end_lineno for tree in SOURCES.values() if tree.body)
    assert 1000 * uses <= 2 * num_lines


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
    builders = {n: tree for n, tree in SOURCES.items() if floor_of(n) > FLOORS["misc.settings"]}
    codes = [ast.unparse(tree) for tree in builders.values()]
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
