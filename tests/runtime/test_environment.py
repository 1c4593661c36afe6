"""The lines that say where the numbers of a run come from."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from misc.runtime import environment
from misc.runtime.distributed import Processes
from misc.runtime.environment import describe_environment

CPU = torch.device("cpu")


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_command_packages_and_devices_are_named(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "main.py", "data.languages=[en, ch]"])
    command, version, packages, devices = describe_environment(Processes(0, 3, CPU))
    assert command == "Command: python main.py 'data.languages=[en, ch]'"
    assert version.startswith("Version: clip-person-search 0.")
    python = ".".join(map(str, sys.version_info[:3]))
    torch_version = metadata.version("torch")
    assert packages.startswith(f"Packages: Python {python}, torch {torch_version}, torchvision ")
    assert ", numpy " in packages
    assert devices.startswith("Devices: 3 processes, ")
    assert devices.endswith(" cores)")


def test_under_torchrun_its_own_command_is_named(monkeypatch, tmp_path):
    words = ["python", "torchrun", "--nproc_per_node=2", "main.py", "data.languages=[en, ch]"]
    (tmp_path / str(os.getppid())).mkdir()
    (tmp_path / str(os.getppid()) / "cmdline").write_text("".join(f"{word}\0" for word in words))
    monkeypatch.setattr(environment, "PROC", tmp_path)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-u", *words[3:]])
    assert environment._command() == ["python", "-u", *words[3:]]
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert environment._command() == words


def test_each_gpu_of_this_machine_is_named(monkeypatch):
    """Of one process its own; of several as many as torchrun started here."""
    names = ["H100", "H100", "A100"]

    def name_of(device: torch.device | int) -> str:
        return names[device if isinstance(device, int) else device.index]

    monkeypatch.setattr(torch.cuda, "get_device_name", name_of)
    assert environment._devices(Processes(0, 1, torch.device("cuda", 2)))[1] == "1 x A100"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    described = environment._devices(Processes(0, 6, torch.device("cuda", 0)))
    cuda = f"CUDA {torch.version.cuda}"
    assert described[:4] == ["6 processes", "2 x H100", "1 x A100", cuda]


def test_the_commit_is_that_of_the_project_and_changes_are_noticed(tmp_path):
    (tmp_path / "file").write_text("1")
    git(tmp_path, "init")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    git(tmp_path, "tag", "v9", "-m", "a tag")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert environment._commit(tmp_path) == [f"commit {commit[:12]}"]
    (tmp_path / "file").write_text("2")
    assert environment._commit(tmp_path) == [f"commit {commit[:12]}, modified"]
    (tmp_path / "installed").mkdir()
    assert environment._commit(tmp_path / "installed") == [], "of the repository around it"


@pytest.mark.parametrize("reason", ["no git", "no commit"])
def test_without_git_the_commit_is_left_out(tmp_path, monkeypatch, reason):
    git(tmp_path, "init")
    if reason == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    assert environment._commit(tmp_path) == []
