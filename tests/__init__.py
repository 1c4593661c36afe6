"""The tests, in folders that mirror the code."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN_FILES = ROOT / "tests" / "golden"  # numbers of the published methods
