"""Hashes of code, by which a campaign that goes on knows what it has tried."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tests import ROOT

FOLDERS = ("misc", "model", "text_utils", "tests")


def hash_files(paths: Iterable[Path]) -> str:
    """A hash of the contents of files, and of the Python files in folders."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def hash_project() -> str:
    """A hash of the project's code and recipes."""
    recipes = sorted((ROOT / "config").rglob("*.yaml"))
    return hash_files([*sorted(ROOT.glob("*.py")), *(ROOT / name for name in FOLDERS), *recipes])
