"""One index for sentences and for pictures, of a model that was trained for both."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import main
import options
import search
from benchmarks import composed
from errors import InputError
from misc.datasets.composed import read_composed
from misc.export import main as export
from misc.reranking import k_reciprocal
from misc.retrieval.composed import by_sum, encode_composed
from misc.retrieval.fusion import Fusion
from misc.retrieval.parts import Parts
from misc.runtime.checkpoint import LAST
from misc.search.index import Index, open_index
from misc.search.page.page import Page
from misc.search.person_search import PersonSearch
from misc.search.query import Query
from misc.settings.recipes import to_tree
from misc.synthetic.__main__ import main as draw
from misc.synthetic.composed import write_composed_dataset
from model.heads import Combiner
from tests.command_line import parse
from tests.conftest import SMALL

WORDS = "a woman in a red coat"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """6 people to train on, 4 to calibrate on and 4 to test with, in both layouts."""
    folder = tmp_path_factory.mktemp("both")
    people = ["--train", "6", "--val", "4", "--test", "4", "--images", "4", "4"]
    layouts = ["--layout", "cuhk-pedes", "market1501", "--output", str(folder)]
    assert draw([*layouts, *people, "--height", "32", "48"]) == 0
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = (
        *("model.clip_pretrained=null", "data.global_batch_size=8", "schedule.epoch=1"),
        f"data.annotation_file={data}/CUHK-PEDES/processed",
        f"data.image_root={data}/CUHK-PEDES/imgs",
        *(f"reid.root={data}", "reid.flip=true", "evaluation.false_alarms=0.2"),
    )
    recipe = str(options.RECIPES / "demo_both.yaml")
    main.run(parse(["--config", recipe, "--output", str(folder), *SMALL, *words]))
    return folder


@pytest.fixture(scope="module")
def people(run) -> PersonSearch:
    return PersonSearch(run, "cpu")


@pytest.fixture(scope="module")
def pictures(data) -> list[str]:
    return sorted(map(str, (data / "CUHK-PEDES/imgs").rglob("*.jpg")))


@pytest.fixture(scope="module")
def index(people, data, tmp_path_factory) -> Index:
    index = people.index(tmp_path_factory.mktemp("index") / "people.index")
    index.add(data / "CUHK-PEDES/imgs", workers=0)
    return index


@pytest.fixture(scope="module")
def plain(people, pictures) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of the pictures for sentences and for other pictures, in two passes."""
    model = people.encoder.model
    transform = people.encoder.transform
    images = torch.stack([transform(Image.open(file).convert("RGB")) for file in pictures])
    with torch.no_grad():
        words = model.encode_image(images)
        others = model.reid.encode_image(images) + model.reid.encode_image(images.flip(-1))
    return F.normalize(words, dim=1), F.normalize(others, dim=1)


def scores(index: Index, **query: object) -> dict[str, float]:
    return {hit.path: hit.score for hit in index.search(**query, top=1000)}


def test_words_ask_the_first_embedding_and_a_picture_the_second(people, index, pictures, plain):
    words, others = plain
    spread = people.parts.spread
    assert people.parts == Parts(words.shape[1] + others.shape[1], words.shape[1], spread)
    text = people.encode_texts([WORDS])[0]
    by_words, by_picture = words @ text, 1 - (1 - others @ others[0]) / spread
    assert (by_words - by_picture).abs().max() > 0.1
    for found, expected in (
        (scores(index, text=WORDS), by_words),
        (scores(index, image=pictures[0]), by_picture),
        (
            scores(index, text=WORDS, image=pictures[0], weight=0.25),
            0.25 * by_words + 0.75 * by_picture,
        ),
    ):
        assert found == pytest.approx(dict(zip(pictures, expected.tolist(), strict=True)), abs=1e-4)
    torch.testing.assert_close(people.encode_images(pictures), words, rtol=0, atol=1e-5)


def test_reranking_compares_pictures_as_the_query_does(index, pictures, plain):
    _, others = plain
    found = [hit.path for hit in index.search(image=pictures[0], top=100, rerank=True)]
    order = k_reciprocal(others[:1], others)[0].argsort(stable=True).tolist()
    assert found[:5] == [pictures[row] for row in order[:5]]


def test_the_run_is_calibrated_for_each_kind_of_query(run, index, people, pictures):
    kinds = json.loads((run / "calibration.json").read_text())["kinds"]
    assert kinds.keys() == {"words", "picture", "both"}
    thresholds = {kind: index.threshold(kind) for kind in kinds}
    assert None not in thresholds.values()
    assert len({*thresholds.values()}) == 3
    for hit in index.search(image=pictures[0]):
        assert hit.matched == (hit.score >= thresholds["picture"])
    assert search.main(["calibrate", *calibration_words(index, run)]) == 0
    again = open_index(index.table.location, device="cpu")
    for kind, threshold in thresholds.items():  # of the same pictures
        assert again.threshold(kind) == pytest.approx(threshold, abs=1e-4)


def test_a_sum_is_judged_at_calibrated_weights(run, data, people, pictures, tmp_path, capsys):
    index = people.index(tmp_path / "people.index")
    index.add(data / "CUHK-PEDES/imgs", workers=0)
    ask = ["query", "--index", index.table.location, WORDS, "--image", pictures[0], "--weight"]
    before = index.threshold("both")
    assert search.main([*ask, "0.3"]) == 0
    assert "do so with `search.py calibrate --weight 0.3`" in capsys.readouterr().out
    assert search.main(["calibrate", *calibration_words(index, run), "--weight", "0.3"]) == 0
    assert "words and a picture, weight 0.3" in capsys.readouterr().out
    again = open_index(index.table.location, device="cpu")
    at_weight = again.threshold(Query(WORDS, pictures[0], 0.3).kind)
    assert again.threshold("both") == before
    assert None not in (before, at_weight)
    assert at_weight != before
    for hit in again.search(WORDS, pictures[0], weight=0.3):
        assert hit.matched == (hit.score >= at_weight)
    assert search.main([*ask, "0.3"]) == 0
    assert f"{at_weight:.3f}" in capsys.readouterr().out
    assert search.main([*ask, "0.7"]) == 0
    assert "`search.py calibrate --weight 0.7`" in capsys.readouterr().out
    assert search.main([*ask, "0"]) == 0
    assert "at --weight 0 leave out what does not count" in capsys.readouterr().out


def calibration_words(index: Index, run: Path) -> list[str]:
    """Options that calibrate an index on the val split of its model's run."""
    config = parse(["--config", str(run / "config.yaml")]).configure()
    folder = Path(config.data.annotation_file)
    own = ["--index", index.table.location, "--annotations", str(folder / "val_reid.json")]
    return [*own, "--images", str(config.data.image_root), "--device", "cpu"]


def test_more_like_this_is_a_query_by_the_second(index, pictures):
    page = Page(index)
    fields = {"text": "", "image": pictures[0], "threshold": -1.0, "top": 60, "weight": 0.5}
    fields |= {"per_track": False, "rerank": False}
    fields |= {"cameras": [], "start": "", "end": "", "condition": ""}
    *_, kind, paths = page.search(None, **fields)
    assert kind == "picture"
    assert paths == [hit.path for hit in index.search(image=pictures[0], top=60)]


def test_the_approximate_index_answers_words(people, tmp_path, data, pictures):
    """A picture is compared with all, as others are nearly the same to it."""
    index = people.index(tmp_path / "people.index")
    index.add(data / "CUHK-PEDES/imgs", workers=0)
    torch.manual_seed(0)
    words, others = people.parts.words, people.parts.width - people.parts.words
    common = 10 * torch.randn(others)
    parts = torch.randn(2000, words), common + torch.randn(2000, others)
    features = torch.cat([F.normalize(part, dim=1) for part in parts], dim=1)
    row = index.table.metadata()[pictures[0]]
    strangers = [{**row, "path": f"/other/{number}.jpg"} for number in range(len(features))]
    index.table.add(strangers, features.numpy())
    index.table.build_approximate()
    for kind, own in queries(pictures).items():
        found, exact = (index.search(**own, top=20, exact=each) for each in (False, True))
        if kind == "words":
            assert len({hit.path for hit in found} & {hit.path for hit in exact}) >= 18
            assert found[0].score == pytest.approx(exact[0].score)
        else:
            assert found == exact


def test_float16_is_refused_where_it_rounds_too_much(people, tmp_path, monkeypatch):
    monkeypatch.setattr(type(people.encoder.model.reid), "spread", 0.004)
    narrow = PersonSearch(people.file, "cpu")
    with pytest.raises(InputError, match=r"differ by 0\.004 only .* without --half"):
        narrow.index(tmp_path / "people.index", half=True)
    assert not (tmp_path / "people.index").exists()


def queries(pictures: list[str]) -> dict[str, dict[str, object]]:
    """A query of each kind."""
    own: dict[str, object] = {"image": pictures[0]}
    return {"words": {"text": WORDS}, "picture": own, "both": {"text": WORDS, **own}}


def test_composed_queries_are_measured_as_they_are_searched(run, people, tmp_path, capsys):
    """By the sum of both embeddings' similarities, not by the first alone."""
    sizes = {"train": 3, "val": 2, "test": 3}
    root = write_composed_dataset(tmp_path, identities=sizes, height=(32, 40)).root
    split = read_composed(root)["test"]
    encoders = people.encode_gallery, people.encode_texts, people.parts
    features = encode_composed(split, *encoders)
    asked = [Query(one.text, one.path, weight=0.3).encode(people).features for one in split.queries]
    rule = by_sum(people.parts, 0.3)
    torch.testing.assert_close(rule(features.image, features.text), torch.stack(asked))
    words = ["--checkpoint", str(run), "--data", str(root), "--output", str(tmp_path / "out")]
    assert composed.main([*words, "--seeds", "0", "--device", "cpu"]) == 0
    found = features.evaluate(by_sum(people.parts, 0.5))
    row = " | ".join(f"{found[name]:.2f}" for name in composed.METRICS)
    assert f"| sum, 0.5 of the words | {row} |" in capsys.readouterr().out
    assert PersonSearch(run, "cpu", fusion=tmp_path / "out" / composed.FUSION).fusion is not None


def test_a_fusion_composes_features_of_the_first(run, people, pictures, plain, tmp_path):
    combiner = Combiner(people.parts.words)
    Fusion(combiner.eval(), people.encoder.model_hash).save(tmp_path / "fusion.safetensors")
    fused = PersonSearch(run, "cpu", fusion=tmp_path / "fusion.safetensors")
    query, _ = Query(WORDS, pictures[0]).encode(fused)
    with torch.no_grad():
        expected = combiner(plain[0][0], people.encode_texts([WORDS])[0])
    torch.testing.assert_close(query[: people.parts.words], expected, rtol=0, atol=1e-5)
    assert not query[people.parts.words :].any()


def test_onnx_keeps_both(run, index, tmp_path, pictures, capsys):
    folder = tmp_path / "onnx"
    assert export([str(run / LAST), str(folder), "--format", "onnx", "--measure"]) == 0
    printed = capsys.readouterr().out
    assert "text to image on the test split: R1" in printed
    assert "text to image: the first match has another rank for 0 of" in printed
    other = Index(index.table, index.about, PersonSearch(folder, "cpu"))
    for own in queries(pictures).values():
        assert scores(other, **own) == pytest.approx(scores(index, **own), abs=1e-4)


@pytest.mark.parametrize("form", ["huggingface", "tbps-clip"])
def test_other_formats_keep_what_sentences_are_compared_with(run, people, tmp_path, form):
    target = tmp_path / ("model.pth" if form == "tbps-clip" else "folder")
    assert export([str(run / LAST), str(target), "--format", form]) == 0
    if form == "tbps-clip":
        state = torch.load(target, weights_only=True)["model"]
        assert "visual.class_embedding" in state
        assert not any("second" in name or name.startswith("reid") for name in state)


def test_an_index_of_another_kind_is_refused(run, index):
    config = parse(["--config", str(run / "config.yaml"), "reid.flip=false"]).configure()
    with pytest.raises(InputError, match=r"was made with reid\.flip=true, and not with false"):
        Index(index.table, index.about, PersonSearch(run, "cpu", config=to_tree(config)))
