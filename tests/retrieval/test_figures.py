"""The figures of an evaluation, against loops over the pairs."""

import pytest
import torch
import torch.nn.functional as F

from misc.evaluation import rank_features
from misc.retrieval import figures, similarities
from misc.retrieval.base import Ranked
from misc.retrieval.figures import draw_cmc, draw_similarities
from misc.retrieval.similarities import BINS, count_similarities


@pytest.fixture
def saved(monkeypatch) -> list:
    """The figures that are saved."""
    kept, save = [], figures.save_figure
    monkeypatch.setattr(
        figures, "save_figure", lambda file, figure: (kept.append(figure), save(file, figure))
    )
    return kept


def draw(queries: int, gallery: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(queries + gallery, 4, generator=generator)
    ids = torch.randint(5, (queries + gallery,), generator=generator)
    cams = torch.randint(2, (queries + gallery,), generator=generator)
    sizes = [queries, gallery]
    features = F.normalize(features, dim=1)
    return *features.split(sizes), *ids.split(sizes), *cams.split(sizes)


def test_a_cmc_curve_counts_the_queries_found_so_far():
    query, gallery, query_ids, gallery_ids, *cams = draw(30, 20, seed=1)
    query_ids[0] = 9  # without a match
    ranking = rank_features(query, gallery, query_ids, gallery_ids, *cams)
    firsts = ranking.first[ranking.matches > 0].tolist()
    expected = [100 * sum(f <= rank for f in firsts) / len(firsts) for rank in range(1, 26)]
    assert ranking.cmc(25) == pytest.approx(expected)
    assert ranking.cmc(25)[9] == pytest.approx(ranking.metrics()["R10"])
    assert ranking.cmc(25)[-1] == 100, "the gallery is smaller"
    assert ranking.cmc(3) == pytest.approx(expected[:3])


def test_the_cmc_curve_of_several_rankings_is_their_mean():
    first, second = (rank_features(*draw(10, 60, seed)[:4]) for seed in (1, 2))
    (curve,) = Ranked({}, {"text to image": [first, second]}).cmc().values()
    assert len(curve) == 50
    means = [(a + b) / 2 for a, b in zip(first.cmc(50), second.cmc(50), strict=True)]
    assert curve == pytest.approx(means)


@pytest.mark.parametrize("has_cameras", [True, False])
def test_pairs_are_counted_by_their_similarity(monkeypatch, has_cameras):
    monkeypatch.setattr(similarities, "MAX_PAIRS", 7 * 20)
    query, gallery, query_ids, gallery_ids, *cams = draw(30, 20, seed=1)
    query[0], gallery[0] = gallery[1], -gallery[1]  # cosines of 1 and -1
    matches, others = [0] * BINS, [0] * BINS
    for q in range(30):
        for g in range(20):
            same = bool(query_ids[q] == gallery_ids[g])
            if has_cameras and same and cams[0][q] == cams[1][g]:
                continue
            cosine = float(query[q] @ gallery[g])
            place = min(BINS - 1, max(0, int((cosine + 1) * BINS / 2)))
            (matches if same else others)[place] += 1
    labels = (query_ids, gallery_ids, *(cams if has_cameras else ()))
    counted = count_similarities(query, gallery, *labels)
    assert counted.gallery_size == 20
    assert sum(matches) + sum(others) == int((counted.matches + counted.others).sum())
    for found, expected in ((counted.matches, matches), (counted.others, others)):
        difference = (found - torch.tensor(expected)).abs()
        assert int(difference.sum()) <= 2, "a product may be rounded across an edge"


def test_curves_are_named_and_their_axes_labelled(tmp_path, saved):
    curves = {"A test, text to image": [50.0, 75.0], "A test, image to text": [20.0, 100.0]}
    draw_cmc(tmp_path / "cmc.png", curves)
    (area,) = saved[0].axes
    assert [line.get_label() for line in area.get_lines()] == [
        "A test, text to image (R1 50.00)",
        "A test, image to text (R1 20.00)",
    ]
    assert [[*line.get_data()[1]] for line in area.get_lines()] == [[50, 75], [20, 100]]
    assert [*area.get_lines()[0].get_data()[0]] == [1, 2]
    assert area.get_xlabel() == "rank"
    assert area.get_ylabel() == "% of queries with a match up to this rank"
    assert (tmp_path / "cmc.png").read_bytes().startswith(b"\x89PNG")


def test_histograms_are_shares_with_the_threshold(tmp_path, saved):
    query, gallery, query_ids, gallery_ids, *_ = draw(30, 20, seed=1)
    counted = count_similarities(query, gallery, query_ids, gallery_ids)
    draw_similarities(tmp_path / "s.png", {"A test": counted, "B test": counted}, {"B test": 0.75})
    first, second = saved[0].axes
    assert [area.get_title(loc="left") for area in (first, second)] == ["A test", "B test"]
    for area in (first, second):
        for patch in area.patches:
            assert sum(patch.get_data().values) == pytest.approx(100)
    assert first.get_lines() == []
    (line,) = second.get_lines()
    assert line.get_xdata()[0] == 0.75
    assert line.get_label() == "calibrated threshold 0.750"
    assert second.get_xlabel() == "similarity of a query and a picture"
    texts = [text.get_text() for text in first.get_legend().get_texts()]
    total = int((query_ids[:, None] == gallery_ids).sum())
    assert texts == [f"other pairs ({600 - total})", f"matches ({total})"]
