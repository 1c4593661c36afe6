"""Best hits by hand and against a slow loop; thresholds by hand and on galleries that grow."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from errors import InputError
from misc.calibration import (
    CEILING,
    MAX_SCORES,
    BestHits,
    Calibration,
    QueryCalibration,
    Scores,
    best_hits,
    kept_ranks,
)

ABSENT = -math.inf


def ids(*values: int) -> Tensor:
    return torch.tensor(values)


def lists(hits: BestHits) -> list[list]:
    return [
        [round(value, 4) for value in column.tolist()]
        for column in (hits.present, hits.right, hits.absent)
    ]


def test_best_hits_by_hand():
    """The features are unit vectors, so a query's similarities are its coordinates.

    Query 0 finds its person, query 1 a stranger; the person of query 2 is not in the gallery.
    """
    query = torch.tensor([[0.8, 0.1, 0.5], [0.3, 0.9, 0.2], [0.6, 0.4, 0.7]])
    gallery, gallery_ids = torch.eye(3), ids(7, 8, 7)
    hits = best_hits(query, gallery, ids(7, 7, 9), gallery_ids)
    assert lists(hits) == [[0.8, 0.9, ABSENT], [1, 0, 0], [0.1, 0.9, 0.7]]


def test_a_picture_of_the_gallery_does_not_find_itself():
    """Once without another picture of its person, once with one."""
    query = torch.tensor([[1.0, 0.2, 0.6], [0.2, 1.0, 0.3]])
    hits = best_hits(query, torch.eye(3), ids(7, 8), ids(7, 8, 7), left_out=ids(0, 1))
    assert lists(hits) == [[0.6, ABSENT], [1, 0], [0.2, 0.3]]


def test_a_tie_with_a_stranger_is_wrong():
    hits = best_hits(torch.tensor([[0.5, 0.5]]), torch.eye(2), ids(1), ids(1, 2))
    assert lists(hits) == [[0.5], [0], [0.5]]


def random_search() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries that are pictures of the gallery, whose people are alike in threes."""
    rng = torch.Generator().manual_seed(0)
    gallery_ids = torch.randint(12, (40,), generator=rng)
    gallery = F.normalize(torch.randn(40, 6, generator=rng) + F.one_hot(gallery_ids // 3, 6))
    rows = torch.randperm(40, generator=rng)[:25]
    return gallery[rows], gallery, gallery_ids[rows], gallery_ids, rows


def test_best_hits_are_those_of_a_slow_loop():
    query, gallery, query_ids, gallery_ids, rows = random_search()
    hits = best_hits(query, gallery, query_ids, gallery_ids, rows)
    for number, row in enumerate(rows.tolist()):
        own, others = [ABSENT], []
        for other, identity in enumerate(gallery_ids.tolist()):
            if other != row:
                similarity = sum(a * b for a, b in zip(query[number], gallery[other], strict=True))
                (own if identity == query_ids[number] else others).append(float(similarity))
        present = ABSENT if own == [ABSENT] else max(own + others)
        found = [column[number].item() for column in vars(hits).values()]
        assert found == pytest.approx([present, max(own) > max(others), max(others)], abs=1e-6)


def test_chunks_change_nothing():
    search = random_search()
    whole = best_hits(*search)
    for max_pairs in (1, 90, 41 * 40):
        for ours, theirs in zip(
            vars(best_hits(*search, max_pairs=max_pairs)).values(),
            vars(whole).values(),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs)


def test_features_that_cannot_be_calibrated_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        best_hits(torch.full((1, 2), math.nan), torch.eye(2), ids(1), ids(1, 2))
    with pytest.raises(InputError, match="fewer than two people"):
        best_hits(torch.eye(2), torch.eye(2), ids(1, 1), ids(1, 1))


def of_absent(*absent: float, right: tuple[float, ...] = (), searches: int = 0) -> QueryCalibration:
    """A calibration of a gallery of 10 pictures."""
    scores = torch.tensor(absent, dtype=torch.float64)
    none = torch.full_like(scores, ABSENT)
    calibration = QueryCalibration.of(BestHits(none, none > 0, scores), gallery_size=10)
    return replace(calibration, searches=searches, right=Scores.of(torch.tensor(right)))


def test_thresholds_by_hand():
    """Just above the score that must not reach it; of tied ones none does."""
    calibration = of_absent(*(0.05 * k for k in range(1, 11)), right=(0.9, 0.4, 0.2), searches=4)
    assert calibration.threshold(0.1) == 0.450001  # one of ten reaches it
    assert calibration.threshold(0.29) == calibration.threshold(0.2) == 0.400001
    assert calibration.false_alarms(calibration.threshold(0.2)) == 0.2
    assert calibration.kept(0.4) == 0.5
    assert calibration.kept() == 0.75
    tied = of_absent(0.1, 0.5, 0.5, 0.5)
    assert tied.threshold(0.5) == 0.500001
    assert tied.false_alarms(tied.threshold(0.5)) == 0
    assert of_absent(*[0.0] * 71, *[0.5] * 29).threshold(0.29) == 0.000001  # 0.29 * 100 < 29


def test_a_share_finer_than_a_query_leaves_none():
    calibration = of_absent(*torch.linspace(0, 0.4, 40).tolist())
    assert calibration.is_too_fine(0.01)
    assert not calibration.is_too_fine(0.025)
    assert 0.4 < calibration.threshold(0.01) <= 0.400002


def test_of_a_large_sample_the_highest_and_lowest_scores_are_kept():
    sample = torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    scores = Scores.of(sample)
    assert len(scores.values) <= MAX_SCORES
    assert kept_ranks(MAX_SCORES) == [*range(1, MAX_SCORES + 1)]
    assert kept_ranks(50_000)[:40] == [*range(1, 41)]
    assert kept_ranks(50_000)[-40:] == [*range(49_961, 50_001)]
    for share in (0.001, 0.01, 0.1, 0.5, 0.99):
        count = int(share * len(sample))
        reaching = int((sample >= scores.above_all_but(count)).sum())
        assert 0.98 * count <= reaching <= count
        exact = int((sample >= 1 - share).sum())
        assert scores.reaching(1 - share) == pytest.approx(exact, rel=0.02)


def test_a_larger_gallery_raises_the_threshold():
    """The eleventh of 200 scores, less often reached: the distances to 1 shrink as a power."""
    absent = sorted(torch.rand(200, generator=torch.Generator().manual_seed(0)).tolist())
    calibration = of_absent(*absent)
    tail = sum(math.log((1 - absent[-41]) / (1 - score)) for score in absent[-40:]) / 40
    assert calibration.absent.tail() == pytest.approx(tail, rel=1e-3)
    each = 1 - 0.9 ** (1 / 8)  # of eight galleries of the calibrated size
    expected = 1 - (1 - absent[-11]) * (each / 0.05) ** tail
    assert calibration.threshold(0.1, gallery_size=80) == pytest.approx(expected, abs=1e-5)
    assert calibration.threshold(0.1, gallery_size=10) == calibration.threshold(0.1)
    assert calibration.threshold(0.1, gallery_size=5) < calibration.threshold(0.1)


def test_the_tail_of_a_large_sample_needs_no_more_than_the_kept_scores():
    """Uniform scores, whose distances to 1 have the power 1."""
    sample = torch.rand(50_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert Scores.of(sample).tail() == pytest.approx(1, abs=0.03)
    assert of_absent(0.3).absent.tail() == 0


@pytest.mark.parametrize("highest", [0.5, 0.98])
@pytest.mark.parametrize("false_alarms", [0.001, 0.01, 0.1])
def test_thresholds_rise_with_the_gallery_and_end_below_1(highest, false_alarms):
    """The highest of 300 scores are those of words or of pictures."""
    noise = torch.rand(300, generator=torch.Generator().manual_seed(0))
    calibration = of_absent(*(1 - (1 - highest) * (1 + 2 * noise)).tolist())
    sizes = (10, 100, 5_000, 10**6, 10**9)
    thresholds = [calibration.threshold(false_alarms, size) for size in sizes]
    assert all(low < high for low, high in pairwise(thresholds)), thresholds
    assert thresholds[-1] <= CEILING < 1


@pytest.mark.parametrize("highest", [0.9999, 1.0, 1.0000002])
def test_a_picture_always_matches_itself(highest):
    """Whatever rounding makes of its similarity of 1, even if strangers' pictures are the same."""
    calibration = of_absent(*torch.linspace(0.9, highest, 300, dtype=torch.float64).tolist())
    features = F.normalize(torch.randn(500, 128, generator=torch.Generator().manual_seed(0)))
    stored = features.half().float()
    for size in (10, 10**4, 10**9):
        threshold = calibration.threshold(0.001, size)
        assert threshold <= 0.9999999
        assert (features * features).sum(dim=1).min() >= threshold
        assert (features * stored).sum(dim=1).min() >= threshold


def draw_people(number: int, groups: int, rng: torch.Generator) -> Tensor:
    """Unit vectors of people (number, 128), alike in so many groups, if any."""
    people = F.normalize(torch.randn(number, 128, generator=rng))
    if groups:
        centres = F.normalize(torch.randn(groups, 128, generator=rng))
        drawn = torch.randint(groups, (number,), generator=rng)
        people = F.normalize(centres[drawn] + 0.5 * people)
    return people


def look_at(people: Tensor, noise: float, rng: torch.Generator) -> Tensor:
    """A picture of each."""
    return F.normalize(people + noise * F.normalize(torch.randn(people.shape, generator=rng)))


@pytest.mark.parametrize(("groups", "noise"), [(0, 0.6), (20, 0.6), (20, 0.1)])
def test_false_alarms_on_a_gallery_ten_times_as_large(groups, noise):
    """Within twice of what is asked, where a threshold of the small gallery has several times it.

    Means over draws, as one calibration is noisy.
    """
    rng = torch.Generator().manual_seed(0)
    corrected, plain = torch.zeros(2), torch.zeros(2)
    asked, size, draws = (0.02, 0.1), 400, 4
    for _ in range(draws):
        people = draw_people(10 * size, groups, rng)
        gallery, names = look_at(people, noise, rng), torch.arange(10 * size)
        own = names[:size].repeat(2)
        hits = best_hits(look_at(people[own], noise, rng), gallery[:size], own, names[:size])
        calibration = QueryCalibration.of(hits, size)
        some = torch.randperm(10 * size, generator=rng)[:600]
        absent = best_hits(look_at(people[some], noise, rng), gallery, some, names).absent
        for number, share in enumerate(asked):
            reached = absent >= calibration.threshold(share, 10 * size)
            corrected[number] += reached.float().mean() / share / draws
            reached = absent >= calibration.threshold(share)
            plain[number] += reached.float().mean() / share / draws
    assert ((corrected > 0.5) & (corrected < 2)).all(), corrected
    assert (plain > 4).all(), plain


@pytest.fixture
def calibration() -> Calibration:
    query, gallery, query_ids, gallery_ids, rows = random_search()
    hits = best_hits(query, gallery, query_ids, gallery_ids, rows)
    kind = QueryCalibration.of(hits, len(gallery))
    return Calibration("0" * 64, {"picture": kind, "words": replace(kind, searches=30)})


def test_round_trip(tmp_path, calibration):
    file = tmp_path / "calibration.json"
    calibration.save(file)
    assert Calibration.load(file) == Calibration.load(file, "0" * 64) == calibration
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    with pytest.raises(InputError, match="of another checkpoint"):
        Calibration.load(file, "1" * 64)
    with pytest.raises(InputError, match="cannot write"):
        calibration.save(tmp_path / "absent" / "calibration.json")


def test_a_newer_calibration_replaces_its_kinds_alone(calibration):
    words, picture = calibration.kinds["words"], calibration.kinds["picture"]
    newer = replace(picture, gallery_size=7)
    updated = calibration.updated(Calibration("0" * 64, {"picture": newer, "both": words}))
    assert updated == Calibration("0" * 64, {"picture": newer, "words": words, "both": words})
    assert calibration.kinds["picture"] == picture
    with pytest.raises(ValueError, match="different models"):
        calibration.updated(Calibration("1" * 64, {"picture": newer}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda tree: tree["kinds"]["words"]["absent"]["scores"].pop(),
        lambda tree: tree["kinds"]["words"]["absent"]["scores"].reverse(),
        lambda tree: tree["kinds"]["words"].update(absent={"count": 0, "scores": []}),
        lambda tree: tree["kinds"]["words"].update(gallery_size=0),
        lambda tree: tree["kinds"]["words"].update(searches=1),
        lambda tree: tree["kinds"].update(words=3),
        lambda tree: tree.pop("model_hash"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, calibration, damage):
    file = tmp_path / "calibration.json"
    tree = calibration.to_tree()
    damage(tree)
    file.write_text(json.dumps(tree))
    with pytest.raises(InputError, match="is not a calibration or is damaged"):
        Calibration.load(file)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff"])
def test_what_is_no_calibration_is_refused(tmp_path, content):
    file = tmp_path / "calibration.json"
    with pytest.raises(InputError, match="does not exist"):
        Calibration.load(file)
    file.write_bytes(content)
    with pytest.raises(InputError, match="is not a calibration or is damaged"):
        Calibration.load(file)
