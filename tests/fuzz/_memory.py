"""The memory of a campaign, by which it goes on where it was interrupted."""

from pathlib import Path

from tests import ROOT
from tests.hashes import hash_project

FOLDER = ROOT / ".pytest_cache" / "fuzz"


class Memory:
    """The ends of cases, but for faults, by their seeds.

    Args:
        file: that holds them, a line each; None: they are forgotten.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.ends: dict[int, str] = {}
        if file and file.exists():
            lines = file.read_text("utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]  # a kill may cut the last
            file.write_text("".join(whole), "utf-8")
            self.ends = {int(seed): end for seed, end in map(str.split, whole)}

    def add(self, seed: int, end: str) -> None:
        """Keep how a case has ended."""
        self.ends[seed] = end
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(f"{seed} {end}\n")


def memory_of(name: str) -> Memory:
    """The seeds that a campaign has tried on the code as it is now, and what came of them."""
    return Memory(FOLDER / hash_project() / name)
