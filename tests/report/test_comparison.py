"""The paired bootstrap, against a slow one, and on what it has to tell apart."""

import numpy as np
import pytest
import torch

from misc.evaluation import Ranking
from misc.report.comparison import compare, draw_significance, paired_bootstrap, query_scores
from misc.report.measured import Outcomes


def outcomes(first: list[int], precision: list[float], people: list[int]) -> Outcomes:
    """Outcomes of queries; rank 0: without a match."""
    matches = torch.tensor([int(rank > 0) for rank in first])
    values = torch.tensor(precision, dtype=torch.double)
    ranking = Ranking(matches, torch.tensor(first), values, values)
    return Outcomes([f"query {n}" for n in range(len(first))], torch.tensor(people), ranking)


def test_the_interval_is_that_of_a_slow_bootstrap():
    rng = np.random.default_rng(1)
    people = torch.from_numpy(rng.integers(0, 25, 90)) * 3 + 5
    gains = torch.from_numpy(rng.normal(2.0, 10.0, 90))
    by_person = [gains[people == one].numpy() for one in people.unique()]
    means = []
    for _ in range(4000):
        drawn = rng.integers(0, len(by_person), len(by_person))
        means.append(np.concatenate([by_person[number] for number in drawn]).mean())
    found = paired_bootstrap(gains, people)
    assert found.value == pytest.approx(gains.mean().item())
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.15)


def test_captions_of_one_person_are_not_counted_as_independent():
    gains = torch.randn(40, generator=torch.Generator().manual_seed(0)).repeat_interleave(5)
    together = paired_bootstrap(gains, torch.arange(40).repeat_interleave(5))
    apart = paired_bootstrap(gains, torch.arange(200))
    assert together.high - together.low > 1.8 * (apart.high - apart.low)


def test_a_gain_everywhere_excludes_zero_and_none_does_not():
    people = [1, 1, 2, 2, 3, 3]
    worse = outcomes([2, 3, 2, 4, 2, 9], [0.5, 0.3, 0.5, 0.2, 0.5, 0.1], people)
    better = outcomes([1, 1, 1, 1, 1, 1], [1.0] * 6, people)
    gain = compare([worse], [better], "R1")
    assert (gain.value, gain.low, gain.high) == (100, 100, 100)
    assert str(gain) == "+100.00 [+100.00, +100.00] *"
    none = compare([worse], [worse], "mAP")
    assert str(none) == "+0.00 [+0.00, +0.00]"


def test_scores_are_means_over_runs_of_queries_with_a_match():
    first = outcomes([1, 0, 2], [1.0, 0.0, 0.5], [1, 2, 3])
    second = outcomes([2, 0, 2], [0.5, 0.0, 0.25], [1, 2, 3])
    assert query_scores([first, second], "R1").tolist() == [50.0, 0.0]
    assert query_scores([first, second], "mAP").tolist() == [75.0, 37.5]


def test_runs_on_other_queries_are_not_compared():
    one = {"A test": outcomes([1, 2], [1.0, 0.5], [1, 2])}
    other = {"A test": outcomes([1, 2], [1.0, 0.5], [1, 3])}
    assert "share no queries" in draw_significance({"one": [one], "other": [other]})
    assert "+0.00" in draw_significance({"one": [one], "other": [one]})
