"""The record of a benchmark: rows of measured ratios with the bars they are held to, as JSON."""

import json
import operator
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from misc.runtime.atomic import atomic_write

HOLDS = {"<=": operator.le, ">=": operator.ge}


class Row(NamedTuple):
    """One figure.

    Args:
        value: measured.
        sign: of the bar.
        bar: None: the figure is only told.
        against: what the figure is a ratio to, or its unit.
    """

    value: float
    sign: Literal["<=", ">="] = "<="
    bar: float | None = None
    against: str = ""

    @property
    def held(self) -> bool | None:
        """Whether the bar is held; None: there is none."""
        return None if self.bar is None else HOLDS[self.sign](self.value, self.bar)


def write_record(file: Path, rows: Mapping[str, Row]) -> None:
    """Print the rows and write them, with the versions and the machine."""
    tree = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "rows": {
            name: {"value": row.value, "against": row.against}
            if row.bar is None
            else row._asdict() | {"held": row.held}
            for name, row in rows.items()
        },
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    for name, row in rows.items():
        bar = (
            ""
            if row.bar is None
            else f"  ({row.sign} {row.bar}: {'held' if row.held else 'missed'})"
        )
        print(f"{name}: {row.value:.3g} {row.against}{bar}")
