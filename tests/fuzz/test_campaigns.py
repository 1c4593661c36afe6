"""A sample of each campaign, and the runner itself."""

import time
from types import SimpleNamespace

import pytest

from errors import InputError
from tests import fuzz
from tests.fuzz._memory import Memory


@pytest.mark.parametrize("name", fuzz.names())
def test_sample_ends_without_a_fault(name):
    sample = fuzz.campaign(name).SAMPLE
    outcome = fuzz.carry_out(name, sample, seed=0)
    assert outcome.faults == {}
    assert outcome.tried == sample


def test_runner_tells_ends_apart(monkeypatch):
    def case(random, folder):
        (folder / "file").touch(exist_ok=False)  # each has a folder of its own
        kind = random.random()
        if kind < 0.3:
            raise InputError("a sentence")
        if kind < 0.6:
            raise KeyError("a fault")

    monkeypatch.setattr(fuzz, "campaign", lambda name: SimpleNamespace(case=case))
    outcome = fuzz.carry_out("drawn", 50, seed=3)
    assert outcome.tried == 50
    assert min(outcome.results, outcome.sentences, len(outcome.faults)) > 5
    assert all("a fault" in fault for fault in outcome.faults.values())
    for seed in outcome.faults:
        assert fuzz.carry_out("drawn", 1, seed).faults.keys() == {seed}


def test_campaign_goes_on_where_it_was_interrupted(monkeypatch, tmp_path):
    """Only cases with a fault are tried again, and what a kill has cut off."""
    tried = []

    def case(random, folder):
        tried.append(random.random())
        if tried[-1] < 0.2:
            raise KeyError("a fault")
        if tried[-1] < 0.5:
            raise InputError("a sentence")
        if len(tried) == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(fuzz, "campaign", lambda name: SimpleNamespace(case=case))
    file = tmp_path / "cache" / "drawn"
    with pytest.raises(KeyboardInterrupt):
        fuzz.carry_out("drawn", 40, 0, Memory(file))
    with file.open("a") as stream:
        stream.write("21 res")
    outcome = fuzz.carry_out("drawn", 40, 0, Memory(file))
    whole = fuzz.carry_out("drawn", 40, 0)
    assert outcome == whole
    assert len(Memory(file).ends) == 40 - len(whole.faults)
    faults = sum(number < 0.2 for number in tried[:19])
    assert faults > 0
    assert len(tried) == 20 + (40 - 19 + faults) + 40


def test_runner_ends_what_hangs(monkeypatch):
    def case(*_):
        try:
            time.sleep(60)
        except Exception:
            pytest.fail("caught by the code under test")

    monkeypatch.setattr(fuzz, "campaign", lambda name: SimpleNamespace(case=case))
    monkeypatch.setattr(fuzz, "LIMIT", 0.1)
    assert "still busy after 0.1 s" in fuzz.carry_out("slow", 1, seed=0).faults[0]
