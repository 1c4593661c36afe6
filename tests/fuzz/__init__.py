"""Campaigns of hostile input: each case ends in a right result or in a sentence for the user.

Each other module of this package is a campaign. It has

    COUNT: int   # cases of `make fuzz`
    SAMPLE: int  # cases of the tests

    def case(random: Random, folder: Path) -> None: ...
    def prepare() -> None: ...  # optional: what all cases share, outside of their time

`case` draws all that it does from `random` and may write to `folder`, which is empty. It returns
after a right result and raises `InputError` for a sentence; whatever else it raises is a fault, as
is a case that takes longer than `LIMIT` seconds, or than the `LONGEST` of its module. The seed of a
case is that of the campaign plus its number, so `--seed SEED --count 1` repeats it alone.
"""

import pkgutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random
from typing import NoReturn, Protocol, cast

from errors import InputError
from tests.fuzz._memory import Memory

LIMIT = 10.0  # seconds of a case
RESULT, SENTENCE = "result", "sentence"


class Campaign(Protocol):
    """A module of this package."""

    COUNT: int
    SAMPLE: int
    case: Callable[[Random, Path], None]


@dataclass
class Outcome:
    """The ends of a campaign's cases.

    Args:
        faults: the seed of each case that ended otherwise, with the end of its traceback.
    """

    results: int = 0
    sentences: int = 0
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        return self.results + self.sentences + len(self.faults)


class Hang(BaseException):
    """A case that takes too long; no handler of the code under test catches it."""


def names() -> list[str]:
    """The names of all campaigns."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in found if not name.startswith(("_", "test_"))]


def campaign(name: str) -> Campaign:
    return cast(Campaign, import_module(f"{__name__}.{name}"))


def carry_out(name: str, count: int, seed: int, memory: Memory | None = None) -> Outcome:
    """Try `count` cases of a campaign, without those that are in its memory already."""
    tried, outcome, memory = campaign(name), Outcome(), memory or Memory()
    numbers = range(seed, seed + count)
    if not memory.ends.keys() >= {*numbers}:
        getattr(tried, "prepare", lambda: None)()
    for number in numbers:
        if number not in memory.ends:
            end = _try(tried, number)
            if end not in (RESULT, SENTENCE):
                outcome.faults[number] = end
                continue
            memory.add(number, end)
        if memory.ends[number] == RESULT:
            outcome.results += 1
        else:
            outcome.sentences += 1
    return outcome


def _try(tried: Campaign, seed: int) -> str:
    """The end of a case: `RESULT`, `SENTENCE`, or the end of a traceback."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        try:
            with _limited(getattr(tried, "LONGEST", LIMIT)):
                tried.case(Random(seed), Path(folder))
        except InputError:
            return SENTENCE
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return "".join(traceback.format_exception(error)[-4:])
    return RESULT


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> NoReturn:
        raise Hang(f"still busy after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
