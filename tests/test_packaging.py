"""pyproject.toml against requirements.txt and the files that it installs."""

import tomllib

import pytest
from packaging.requirements import Requirement

from tests import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def pins(name: str) -> dict[str, str]:
    """The version of each package that a requirements file pins."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith(("#", "-r")))


@pytest.mark.parametrize(
    ("file", "dependencies"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-dev.txt", PROJECT["optional-dependencies"]["dev"]),
        ("requirements-docs.txt", PROJECT["optional-dependencies"]["docs"]),
    ],
)
def test_pinned_versions_are_within_the_declared_bounds(file, dependencies):
    pinned, declared = pins(file), [Requirement(dependency) for dependency in dependencies]
    assert [requirement.name for requirement in declared] == list(pinned)
    outside = [str(one) for one in declared if not one.specifier.contains(pinned[one.name])]
    assert outside == []


def test_every_module_of_the_root_is_installed():
    modules = {file.stem for file in ROOT.glob("*.py")}
    assert set(PYPROJECT["tool"]["setuptools"]["py-modules"]) == modules


def test_every_package_has_an_init_file():
    folders = {file.parent for top in ("misc", "model") for file in (ROOT / top).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
