"""Recipes that a test writes."""

import pytest

from tests import ROOT


@pytest.fixture
def write(tmp_path):
    """Writes a recipe, returns its path as a word of the command line."""

    def write_recipe(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_recipe


@pytest.fixture
def default() -> str:
    return f"base: {ROOT / 'config/config.yaml'}\n"
