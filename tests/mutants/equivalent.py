"""Mutants that change nothing that a test could see, each with the reason, in equivalent.txt.

An entry is the file, the lines removed and added, and the reason; a blank line ends it. Without
added lines it stands for every fault of the removed ones.
"""

from pathlib import Path

from tests.mutants.mutations import Edit

FILE = Path(__file__).with_name("equivalent.txt")


def is_equivalent(edit: Edit, reasons: dict[Edit, str]) -> bool:
    """Whether a fault has a reason."""
    return edit in reasons or edit._replace(added=()) in reasons


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
