"""Best and worst queries, and the words that speak for a picture."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from misc.data.text import TokenDataset
from misc.datasets.pictures import read_picture
from misc.evaluation import Ranking
from misc.report.identities import choose_pictures, place
from misc.report.measured import EncodedSet, Measured, measured
from misc.report.queries import draw_query
from misc.report.relevance import draw_relevance, explain, image_tower, prepare
from misc.report.run import read_runs
from misc.retrieval.ranked_lists import Found, RankedList
from tests.report.conftest import train


@pytest.fixture
def opened(run_folder):
    (run,) = read_runs([run_folder])
    with measured(run, "cpu") as found:
        yield found


class Queries:
    """Stands for a retrieval where only its queries count."""

    def __init__(self, people: list[int]) -> None:
        self.queries = [f"query {n}" for n in range(len(people))], torch.tensor(people)


def test_extremes_are_by_the_first_right_picture_and_one_of_each_person():
    first = torch.tensor([5, 1, 9, 1, 40, 9, 2])
    matches = torch.tensor([1, 1, 1, 1, 0, 1, 1])
    precision = torch.tensor([0.2, 0.9, 0.1, 1.0, 0.0, 0.05, 0.5])
    ranking = Ranking(matches, first, precision, precision)
    people = Queries([1, 2, 3, 2, 5, 3, 7])
    test = EncodedSet("test", people, (), ranking, torch.device("cpu"))
    # The fifth has no match; of each person the worst or the best query.
    assert test.extremes(2) == ([5, 0], [3, 6])
    assert test.extremes(9) == ([5, 1], [3, 6, 0, 2])


def test_extremes_are_in_order():
    first = torch.tensor([3, 5, 9, 7, 8])
    ranking = Ranking(first > 0, first, 1 / first, 1 / first)
    test = EncodedSet("test", Queries([1, 2, 1, 3, 2]), (), ranking, torch.device("cpu"))
    assert test.extremes(2) == ([2, 4], [0, 1])
    assert test.extremes(3)[1] == [0, 1, 3]


def test_lists_have_the_first_right_picture(opened: Measured):
    test = opened.tests[0]
    worst, best = test.extremes(3)
    for row, ranked in zip([*worst, *best], test.lists([*worst, *best]), strict=True):
        assert ranked.matches[0].right
        assert ranked.matches[0].rank == int(test.ranking.first[row])
        assert ranked.query == test.outcomes.queries[row]


def test_outcomes_give_the_metrics_of_the_record(opened: Measured, run_folder):
    (run,) = read_runs([run_folder])
    for test in opened.tests:
        recorded = run.results[test.name]["text to image"]
        assert test.outcomes.ranking.metrics() == pytest.approx(recorded)


def test_a_far_right_picture_is_shown_beside_the_first_ones(opened: Measured):
    files = opened.tests[0].retrieval.images.files
    found = [Found(n, files[0], n, n == 11, 1 / n) for n in range(1, 13)]
    drawn = draw_query(RankedList("<a man>", 11, found[:10], found[10:11]))
    assert drawn.count("<img") == 7
    assert "first right picture at rank 11" in drawn
    assert "&lt;a man&gt;" in drawn
    assert "no right picture" in draw_query(RankedList(files[0], 99, found[:4]))


def test_gains_of_words_are_differences_of_similarities(opened: Measured):
    model, retrieval = opened.job.model, opened.tests[0].retrieval
    caption, file = "A man in a red coat.", Path(retrieval.images.files[0])
    own = retrieval.texts
    texts = [caption, "A man in a coat."]
    tokens = TokenDataset(texts, own.tokenizer, own.text_length, own.clean)
    tower = image_tower(model)
    words = explain(model, tower, retrieval, caption, file)
    assert [word.word for word in words] == ["A", "man", "in", "a", "red", "coat."]
    with torch.no_grad():
        image = retrieval.images.transform(read_picture(file))[None]
        whole, without = F.normalize(model.encode_text(torch.stack([tokens[0], tokens[1]])), dim=-1)
        image = F.normalize(model.encode_image(image), dim=-1)[0]
    assert words[4].gain == pytest.approx(((whole - without) @ image).item(), abs=1e-5)
    assert all(word.patches.shape == tower.shape.grid for word in words)
    assert all(word.patches.min() >= 0 for word in words)


def test_words_of_two_embeddings_are_those_of_the_first(tmp_path, places):
    words = (
        "model.clip_pretrained=null",
        "model.token_selection={embed_dim: 8, ratio: 0.3}",
        "experiment.division=none",
        "data.global_batch_size=null",
        "schedule={epoch: 1, epoch_warmup: 0}",
    )
    (run,) = read_runs([train(tmp_path / "rde", "rde.yaml", *places, *words)])
    with measured(run, "cpu") as found:
        (test,) = found.tests
        model, retrieval = found.job.model, test.retrieval
        caption, file = "A red coat.", Path(retrieval.images.files[0])
        tower = image_tower(model)
        shown = explain(model, tower, retrieval, caption, file)
        drawn = draw_relevance(found, test)
        image, tokens = prepare(retrieval, file, [caption, "A coat."])
        with torch.no_grad():
            texts = F.normalize(model.clip.encode_text(tokens), dim=-1)
            alone = F.normalize(model.clip.encode_image(image[None]), dim=-1)[0]
        assert shown[1].gain == pytest.approx(((texts[0] - texts[1]) @ alone).item(), abs=1e-5)
        model.image_selector = model.text_selector = None
        first = explain(model, tower, retrieval, caption, file)
    assert "This model ranks by two embeddings." in drawn
    for one, other in zip(shown, first, strict=True):
        assert one.gain == pytest.approx(other.gain, abs=1e-6)
        torch.testing.assert_close(one.patches, other.patches)


def test_a_tower_with_prompts_is_left_out(opened: Measured):
    model = opened.job.model
    assert image_tower(model) is model.clip.visual
    model.clip.visual.transformer.prompts = object()
    assert image_tower(model) is None
    assert draw_relevance(opened, opened.tests[0]).startswith("<p>Left out: ")
    test = replace(opened.tests[0], retrieval=None)
    assert draw_relevance(opened, test) == ""


def test_a_caption_without_words_is_left_out(opened: Measured):
    (test,) = opened.tests
    own = test.retrieval.texts.captions
    first, *others = range(len(own))
    own[first] = "a man"
    for row in others:
        own[row] = " "
    drawn = draw_relevance(opened, test)
    assert drawn.count('<article class="words">') == 1
    assert ">man</button>" in drawn
    own[first] = ""
    assert draw_relevance(opened, test) == ""


def test_pictures_of_the_map_are_of_people_with_several():
    people = torch.tensor([4, 4, 9, 7, 7, 7, 4, *[2] * 9])
    assert choose_pictures(people) == [7, 8, 9, 10, 11, 12, 0, 1, 6, 3, 4, 5]
    assert choose_pictures(torch.tensor([1, 2, 3])) == [0, 1, 2]


def test_near_features_are_near_on_the_map():
    centres = F.normalize(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    noise = 0.01 * torch.randn(20, 16, generator=torch.Generator().manual_seed(1))
    features = F.normalize(centres.repeat_interleave(5, dim=0) + noise, dim=1)
    places = torch.from_numpy(place(features.numpy()))
    distances = torch.cdist(places, places)
    same = torch.arange(20)[:, None] // 5 == torch.arange(20) // 5
    assert distances[same].max() < distances[~same].min()
    assert places.min() >= 0
    assert places.max() <= 1
