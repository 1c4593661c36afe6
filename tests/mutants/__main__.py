"""A seeded sample of mutants, each run against the tests of its file.

    python -m tests.mutants [--minutes 20] [--seed 0] [--only misc/training]

Prints each mutant that survives and the share that was killed, and ends with 1 where this is under
90 %. What was killed is remembered in .pytest_cache/mutants, so that a run goes on where another
one ended, until the mutant's source or its tests change.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests import ROOT
from tests.hashes import hash_files
from tests.mutants.equivalent import is_equivalent, read_equivalent
from tests.mutants.mutations import Mutant, mutants
from tests.mutants.suites import sources, suite_of
from tests.mutants.tree import PASSED, Tree

REQUIRED = 0.9
MEMORY = ROOT / ".pytest_cache" / "mutants"


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="PATH", help="of a file or folder"
    )
    options = parser.parse_args()
    files = [file for file in sources() if file.startswith(tuple(options.only))]
    sample = draw(files, options.seed)
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        killed, tried = run(sample, Tree(Path(folder).resolve()), deadline)
    for file, count in sorted(tried.items()):
        print(f"{file}  {killed[file]} of {count} killed")
    share = killed.total() / max(1, tried.total())
    print(f"{killed.total()} of {tried.total()} killed ({100 * share:.1f} %)")
    return int(share < REQUIRED)


def draw(files: list[str], seed: int) -> list[Mutant]:
    """The mutants of files in random order, without equivalent ones."""
    reasons = read_equivalent()
    found = [mutant for file in files for mutant in mutants(file, (ROOT / file).read_text("utf-8"))]
    found = [mutant for mutant in found if not is_equivalent(mutant.edit, reasons)]
    random.Random(seed).shuffle(found)
    return found


def run(sample: list[Mutant], tree: Tree, deadline: float) -> tuple[Counter[str], Counter[str]]:
    """Numbers of mutants that were killed and tried, by file."""
    MEMORY.mkdir(parents=True, exist_ok=True)
    limits: dict[str, float] = {}
    killed, tried = Counter[str](), Counter[str]()
    for mutant in sample:
        if time.monotonic() > deadline:
            break
        mark = MEMORY / _key(mutant, tree)
        if not mark.exists() and _survives(mutant, tree, limits):
            print(f"survived {mutant}\n", flush=True)
        else:
            mark.touch()
            killed[mutant.edit.file] += 1
        tried[mutant.edit.file] += 1
    return killed, tried


def _key(mutant: Mutant, tree: Tree) -> str:
    """A hash of a mutant and of the tests that are to notice it."""
    tests = hash_files(tree.folder / name for name in suite_of(mutant.edit.file))
    return hashlib.sha256(f"{tests}\n{mutant.source}".encode()).hexdigest()


def _survives(mutant: Mutant, tree: Tree, limits: dict[str, float]) -> bool:
    """Whether the tests pass with the fault; before the first of a file they are timed without."""
    file = mutant.edit.file
    suite, place = suite_of(file), tree.folder / file
    if file not in limits:
        begin = time.monotonic()
        if tree.test(suite, limit=1200) != PASSED:
            sys.exit(f"{file}: its tests fail without a fault\n{tree.output()}")
        limits[file] = 20 + 5 * (time.monotonic() - begin)
    original = place.read_text("utf-8")
    place.write_text(mutant.source, "utf-8")
    try:
        return tree.test(suite, limits[file]) == PASSED
    finally:
        place.write_text(original, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
