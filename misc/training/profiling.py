"""A profile of a few steps of a training."""

from collections.abc import Sequence
from pathlib import Path

import torch
from prettytable import PrettyTable
from torch.profiler import ProfilerActivity, profile, schedule

from errors import InputError
from misc.runtime.recorder import log

TRACE = "profile.json"
SKIPPED = 8  # steps in which code is compiled, and memory and workers are got
WARMUP = 2  # steps in which the profiler runs, but keeps nothing: its own beginning is slow
PROFILED = 4
ROWS = 12


class StepProfiler:
    """A trace of some consecutive steps in a run's folder, and a table of what took the most time.

    The trace is JSON for https://ui.perfetto.dev or chrome://tracing. Used as a context manager
    around the training, which calls `step` after each of its steps.

    Args:
        folder: of the run.
        device: of this process, whose operations are recorded.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.file = folder / TRACE
        self.on_gpu = device.type == "cuda"
        activities = [ProfilerActivity.CPU]
        if self.on_gpu:
            activities.append(ProfilerActivity.CUDA)
        self.profiler = profile(
            activities=activities,
            schedule=schedule(wait=SKIPPED, warmup=WARMUP, active=PROFILED, repeat=1),
            on_trace_ready=self._write,
            acc_events=True,  # without, it warns that events of an earlier cycle are gone
        )

    def __enter__(self) -> "StepProfiler":
        self.profiler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.profiler.stop()

    def step(self) -> None:
        """Count a step that was taken."""
        self.profiler.step()

    def _write(self, profiler: profile) -> None:
        profiler.export_chrome_trace(str(self.file))
        key = "self_device_time_total" if self.on_gpu else "self_cpu_time_total"
        times = [(e.key, e.count, getattr(e, key)) for e in profiler.key_averages()]
        log.info("%s\nThe trace is in %s", format_times(times, self.on_gpu), self.file)


def format_times(times: Sequence[tuple[str, int, float]], on_gpu: bool) -> str:
    """A table of the most expensive operations.

    Args:
        times: name, calls, and microseconds of all calls without those of the operations in them.
        on_gpu: whether they are times of the GPU.
    """
    title = f"{PROFILED} steps: time on the {'GPU' if on_gpu else 'CPU'}"
    table = PrettyTable(["operation", "calls", "ms", "%"], title=title, align="r")
    table.align["operation"] = "l"
    whole = sum(time for _, _, time in times) or 1.0
    for name, calls, time in sorted(times, key=lambda row: -row[2])[:ROWS]:
        table.add_row([name[:60], calls, f"{time / 1000:.1f}", f"{100 * time / whole:.1f}"])
    return table.get_string()


def check_steps(steps: int) -> None:
    """Check that a training has enough steps for its profile.

    Raises:
        InputError: it has fewer.
    """
    needed = SKIPPED + WARMUP + PROFILED
    if steps < needed:
        raise InputError(
            f"--profile needs {needed} steps, and {steps} are left to train: raise schedule.epoch, "
            "or lower data.batch_size"
        )
