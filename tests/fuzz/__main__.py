"""The campaigns in full, one line each.

python -m tests.fuzz
python -m tests.fuzz --only configurations --seed 17 --count 1

What has ended without a fault is remembered in .pytest_cache/fuzz until the code changes, so that
campaigns go on where they were interrupted.
"""

import argparse
import sys
import time

from tests.fuzz import campaign, carry_out, names
from tests.fuzz._memory import memory_of


def main() -> int:
    """Run campaigns; the status is 1 if a case ended in a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add("--only", choices=names(), action="append", help="a campaign (default: all)")
    add("--seed", type=int, default=0, help="of the first case (default: 0)")
    add("--scale", type=float, default=1.0, help="factor of the number of cases (default: 1)")
    add("--count", type=int, help="number of cases")
    options = parser.parse_args()

    repetitions = []
    print(f"{'campaign':16} {'tried':>6} {'sentences':>10} {'results':>8} {'faults':>7} {'s':>6}")
    for name in options.only or names():
        count = options.count or max(1, round(options.scale * campaign(name).COUNT))
        start = time.monotonic()
        outcome = carry_out(name, count, options.seed, memory_of(name))
        print(
            f"{name:16} {outcome.tried:6} {outcome.sentences:10} {outcome.results:8} "
            f"{len(outcome.faults):7} {time.monotonic() - start:6.0f}",
            flush=True,
        )
        for seed, fault in outcome.faults.items():
            print(fault, file=sys.stderr)
            repetitions.append(f"python -m tests.fuzz --only {name} --seed {seed} --count 1")
    for command in repetitions:
        print(command)
    return int(bool(repetitions))


if __name__ == "__main__":
    sys.exit(main())
