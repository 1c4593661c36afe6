"""The progress of a run: a metric by epoch, read from its record while it grows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from misc.runtime.recorder import CLOSING

Direction = Literal["maximize", "minimize"]


class Metric(NamedTuple):
    """A metric of a split, of the first direction of search in the record."""

    split: str
    name: str
    direction: Direction = "maximize"

    def __str__(self) -> str:
        return f"{self.split}/{self.name}"

    @property
    def best(self) -> Callable[..., float]:
        """`max` or `min`."""
        return max if self.direction == "maximize" else min

    def by_epoch(self, folder: Path) -> dict[int, float]:
        """Its values in the record of a run, by epoch; the closing evaluation is left out."""
        try:
            lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return {}
        values: dict[int, float] = {}
        for line in lines:
            if line.endswith(b"\n"):  # the last one may be half written
                row = json.loads(line)
                if row.get("split") == self.split and CLOSING not in row:
                    values.setdefault(row["epoch"], row[self.name])
        return values
