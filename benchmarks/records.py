"""Measurements as rows of a JSON file, written one by one: a row that fails costs no other."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from benchmarks.steps import free
from errors import InputError
from misc.runtime.outputs import OutputFile

Row = Mapping[str, object]
NOT_MEASURED = "not measured"
RECORD = OutputFile("an earlier record of a benchmark", b'{\n "machine": {')
PACKAGES = ("torch", "torchvision", "transformers", "peft", "numpy", "open_clip_torch")


def describe_machine(device: torch.device) -> dict[str, object]:
    """The name of the device, the number of CPU cores, and the versions of what is measured."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine() + " CPU",
        "memory, GiB": torch.cuda.get_device_properties(device).total_memory / 2**30
        if on_gpu
        else None,
        "CPU cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "Python": platform.python_version(),
        "CUDA": torch.version.cuda if on_gpu else None,
        **{name: version(name) for name in PACKAGES},
    }


def against_bar(value: float, sign: Literal["<=", ">="], bar: float) -> Row:
    """A row with a bar, and whether it is held."""
    held = value <= bar if sign == "<=" else value >= bar
    return {"value": value, "bar": f"{sign} {bar}", "held": held}


def read_rows(file: Path, machine: Mapping[str, object] | None = None) -> dict[str, Row]:
    """The rows of an earlier record that were measured; none if there is no record.

    Args:
        machine: of which the record must be; None: of any.

    Raises:
        InputError: it was cut or changed.
    """
    if not file.exists() or not file.stat().st_size:
        return {}
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        recorded, rows = tree["machine"], tree["rows"]
    except (ValueError, LookupError) as error:
        raise InputError(f"{file} is damaged ({error}): give another name, or delete it") from error
    if machine not in (None, recorded):
        return {}
    return {name: row for name, row in rows.items() if NOT_MEASURED not in row}


class Record:
    """The rows that were measured so far.

    Args:
        file: written after each row.
        seconds: after which rows are left out, with a note.
        completes: keep the rows that the file has of this very machine and these packages, and do
            not measure them again.
    """

    def __init__(
        self, file: Path, device: torch.device, seconds: float, *, completes: bool = False
    ) -> None:
        self.file, self.device, self.seconds = file, device, seconds
        self.start = time.perf_counter()
        self.machine = describe_machine(device)
        self.kept = read_rows(file, self.machine) if completes else {}
        self.rows = dict(self.kept)

    def add(self, name: str, row: Row) -> None:
        """Add a row, and write the file."""
        self.rows[name] = row
        print(f"{name}: {format_row(row)}", flush=True)
        tree = {"machine": self.machine, "rows": self.rows}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")

    def measure(self, name: str, measurement: Callable[[], Row]) -> Row:
        """Measure and add a row, unless it is kept; the reason, where it could not be measured."""
        if name in self.kept:
            return self.kept[name]
        began = time.perf_counter()
        left = self.seconds - (began - self.start)
        row: Row
        if left <= 0:
            row = {NOT_MEASURED: f"the {self.seconds:.0f} seconds of --seconds were over"}
        else:
            try:
                free(self.device)
                row = measurement()
            except Exception as error:  # of whatever kind: the others are to be measured, too
                first = (str(error).strip().splitlines() or [""])[0]
                row = {NOT_MEASURED: f"{type(error).__name__}: {first[:300]}"}
        self.add(name, {**row, "seconds taken": round(time.perf_counter() - began, 1)})
        return row


def format_row(row: Row) -> str:
    """A row in one line, its numbers with four digits."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
    )
