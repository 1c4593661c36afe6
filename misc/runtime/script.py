"""A script's command line: its exit status, and a user's mistake in one sentence."""

import sys
from collections.abc import Callable

from errors import InputError


def run_script(run: Callable[[], int | None]) -> int:
    """The exit status of `run`: what it returns, 0 for None, 2 after a user's mistake."""
    try:
        return run() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
