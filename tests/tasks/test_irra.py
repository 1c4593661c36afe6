"""A whole training with IRRA's recipe: resumed within an epoch, and indexed."""

from pathlib import Path

import pytest
import torch

import main
import options
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.search.person_search import PersonSearch
from tests.command_line import parse
from tests.conftest import SMALL

IRRA = (
    *("--config", str(options.RECIPES / "irra.yaml"), *SMALL, "model.clip_pretrained=null"),
    *("schedule={epoch: 2, epoch_warmup: 1, lr: 1e-3}", "data.global_batch_size=null"),
    *("evaluation.ranked_lists=0", "log.save_period=5", "experiment.cmt_depth=1"),
)


@pytest.fixture
def train(places, tmp_path, monkeypatch):
    """Run main.py with IRRA's recipe; the result is the run's folder."""
    monkeypatch.chdir(tmp_path)

    def train(*words: str, output: str = "run") -> Path:
        main.run(parse([*IRRA, *places, "--output", output, *words]))
        return tmp_path / output

    return train


@pytest.mark.parametrize("text", ["masked", "clean"])
def test_a_run_is_resumed_bit_by_bit(train, interrupt, text):
    words = (f"experiment.mlm_text={text}",)
    whole = train(*words, output="whole")
    interrupt(lambda: train(*words, output="broken"), 1)
    assert open_checkpoint(whole.parent / "broken" / LAST).training.position.step == 5
    resumed = train(*words, "--resume", "auto", output="broken")
    first, second = (open_checkpoint(folder / LAST) for folder in (whole, resumed))
    for name, tensor in first.state.items():
        assert torch.equal(tensor, second.state[name]), name


def test_a_run_is_indexed(train, tmp_path, pedestrians):
    folder = train("schedule.epoch=1")
    index = PersonSearch(folder, "cpu").index(tmp_path / "people.index")
    index.add(pedestrians.image_root, workers=0)
    assert len(index.search("a woman in a red coat", top=3)) == 3
