"""Mutants that change nothing that a test could see, each with the reason, in equivalent.txt.

An entry is the file, the lines removed and added, and the reason; a blank line ends it.
"""

from pathlib import Path

from tests.mutants.mutations import Edit

FILE = Path(__file__).with_name("equivalent.txt")


def read_equivalent() -> dict[Edit, str]:
    """The reason of each."""
    reasons = {}
    for entry in FILE.read_text("utf-8").strip().split("\n\n"):
        file, *lines = entry.splitlines()
        removed, added = (
            tuple(line[2:] for line in lines if line.startswith(sign)) for sign in ("- ", "+ ")
        )
        reason = " ".join(line.strip() for line in lines if not line.startswith(("- ", "+ ")))
        reasons[Edit(file, removed, added)] = reason
    return reasons
