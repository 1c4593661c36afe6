from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from errors import InputError
from misc.runtime.checkpoint import (
    BEST,
    LAST,
    find_checkpoint,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)


@pytest.fixture
def content() -> dict:
    return {
        "model": nn.Linear(2, 3).state_dict(),
        "architecture": {"embed_dim": 3},
        "config": {"misc": {"seed": 1}},
        "recipe": "demo",
        "epoch": 2,
    }


def test_round_trip(tmp_path, content):
    save_checkpoint(content, tmp_path / LAST)
    read = read_checkpoint(tmp_path / LAST)
    assert read.keys() == content.keys()
    assert torch.equal(read["model"]["weight"], content["model"]["weight"])
    assert [file.name for file in tmp_path.iterdir()] == [LAST]


def test_a_failed_write_leaves_the_old_file(tmp_path, content, monkeypatch):
    save_checkpoint(content, tmp_path / LAST)
    before = (tmp_path / LAST).read_bytes()

    def fail(_: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(content, tmp_path / LAST)
    assert (tmp_path / LAST).read_bytes() == before


class Bomb:
    def __reduce__(self):
        return print, ("run by the pickle",)


@pytest.mark.parametrize("kind", ["text", "pickle", "state dict"])
def test_what_is_no_checkpoint_is_refused(tmp_path, capsys, content, kind):
    file = tmp_path / "file.pt"
    if kind == "text":
        file.write_text("<html>")
    elif kind == "pickle":
        torch.save({**content, "config": Bomb()}, file)
    else:
        torch.save(OrderedDict(content["model"]), file)
    with pytest.raises(InputError, match=r"file\.pt is not a checkpoint") as caught:
        read_checkpoint(file)
    assert "\n" not in str(caught.value)
    assert "run by the pickle" not in capsys.readouterr().out


def test_a_run_folder_stands_for_its_best_checkpoint_or_the_last(tmp_path):
    (tmp_path / LAST).touch()
    assert find_checkpoint(tmp_path, BEST, LAST) == tmp_path / LAST
    (tmp_path / BEST).touch()
    assert find_checkpoint(tmp_path, BEST, LAST) == tmp_path / BEST
    assert find_checkpoint(tmp_path / LAST, BEST, LAST) == tmp_path / LAST


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} holds neither {BEST} nor {LAST}"):
        find_checkpoint(tmp_path, BEST, LAST)
    with pytest.raises(InputError, match=r"there is no .*absent"):
        find_checkpoint(tmp_path / "absent", LAST)


def test_weights_that_do_not_fit_are_named(content):
    with pytest.raises(InputError, match=r"file\.pt does not fit .* weight"):
        load_weights(nn.Linear(2, 4), content["model"], Path("file.pt"))
