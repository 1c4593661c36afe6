"""The command, code, packages and devices of a run."""

import os
import platform
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import torch

from misc.runtime.distributed import Processes

ROOT = Path(__file__).parents[2]
PROJECT = "clip-person-search"
PACKAGES = (
    *("torch", "torchvision", "transformers", "open_clip_torch", "peft", "numpy", "pillow"),
    "scikit-learn",
)
PROC = Path("/proc")  # of Linux
PATIENCE = 10  # seconds that git may take


def describe_environment(processes: Processes) -> list[str]:
    """Lines of the command as typed, the project's version and commit, packages, and devices."""
    return [
        f"Command: {shlex.join(_command())}",
        f"Version: {', '.join([f'{PROJECT} {_version(ROOT)}', *_commit(ROOT)])}",
        f"Packages: {', '.join([f'Python {platform.python_version()}', *_packages()])}",
        f"Devices: {', '.join(_devices(processes))}",
    ]


def _command() -> list[str]:
    """The command that was typed: of this process, or of torchrun, where that has started it."""
    parent = PROC / str(os.getppid()) / "cmdline"
    if "TORCHELASTIC_RUN_ID" in os.environ and parent.is_file():
        return os.fsdecode(parent.read_bytes()).rstrip("\0").split("\0")
    return sys.orig_argv


def _version(root: Path) -> str:
    """The version of a checkout, or of the installed package."""
    file = root / "pyproject.toml"
    if file.is_file():
        return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])
    return metadata.version(PROJECT)


def _commit(root: Path) -> list[str]:
    """The commit of a checkout, and whether its files were modified since; nothing without git."""
    if not (root / ".git").exists():  # or git would find a repository that this lies in
        return []
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=, modified"]
    try:
        answer = subprocess.run(  # nosec B603  # fixed words, and no shell
            command, cwd=root, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):  # git is not installed, or the owner is another
        return []
    return [f"commit {answer.stdout.strip()}"]


def _packages() -> Iterator[str]:
    """Names and versions of the packages that the numbers of a run depend on."""
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}"


def _devices(processes: Processes) -> list[str]:
    """The number of processes, the GPUs of this machine that they use, and its CPU."""
    world_size, device = processes.world_size, processes.device
    described = [f"{world_size} process{'es' if world_size > 1 else ''}"]
    if device.type == "cuda":
        local = range(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        names = map(torch.cuda.get_device_name, local if world_size > 1 else [device])
        described += [f"{count} x {name}" for name, count in Counter(names).items()]
        described.append(f"CUDA {torch.version.cuda}")
    return [*described, f"{_cpu()} ({os.cpu_count()} cores)"]


def _cpu() -> str:
    """The model of this machine's CPU; its architecture where the system does not tell."""
    file = PROC / "cpuinfo"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(models), platform.processor() or platform.machine())
