"""Checkpoints of other projects, and trainings that begin from one."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import main
import options
from errors import InputError
from misc import export
from misc.closing import compared_names
from misc.evaluation import rank_features, retrieval_metrics
from misc.export import write_published
from misc.job import Job
from misc.reranking import k_reciprocal
from misc.retrieval.features import load_features
from misc.runtime.checkpoint import BEST, LAST, Checkpoint, open_checkpoint, save_checkpoint
from misc.runtime.distributed import processes
from misc.settings.recipes import to_tree
from tests import GOLDEN_FILES
from tests.command_line import parse
from tests.conftest import SMALL

DEMO = str(options.RECIPES / "demo.yaml")
GOLDEN = np.load(GOLDEN_FILES / "tbps_step.npz")
GOLDEN_SHAPE = (
    "data.image_size=[64, 32]",
    "model.embed_dim=64",
    "model.vision={width: 64, layers: 2, heads: 2, patch_size: 16}",
    "model.text={width: 64, layers: 2, heads: 2}",
    "experiment.text_length=20",
)


@pytest.fixture
def published(tmp_path) -> Path:
    """The golden weights as TBPS-CLIP's code saves them."""
    file = tmp_path / "tbps_clip.pth"
    weights = [name for name in GOLDEN.files if name.startswith("weights/")]
    state = {name.removeprefix("weights/"): torch.tensor(GOLDEN[name]) for name in weights}
    torch.save({"model": state, "optimizer": {}, "config": {}}, file)
    return file


def test_a_published_checkpoint_gives_the_published_features(published, places):
    """As `main.py --evaluate` builds it, without a configuration of this project in the file."""
    command = parse(
        ["--config", DEMO, "--evaluate", str(published), *SMALL, *places, *GOLDEN_SHAPE]
    )
    (checkpoint,) = main.open_checkpoints(command)
    assert (checkpoint.file, checkpoint.recipe, checkpoint.config) == (published, "TBPS-CLIP", None)
    assert checkpoint.training is None
    with processes("cpu") as own:
        job = Job(command.configure(), "demo", own, checkpoint, for_training=False)
    assert job.recipe == "demo"
    model = job.model.eval()
    with torch.inference_mode():
        image = model.encode_image(torch.tensor(GOLDEN["c1/image"]))
        text = model.encode_text(torch.tensor(GOLDEN["c1/tokens"]))
    np.testing.assert_allclose(image, GOLDEN["c1/image_feat"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(text, GOLDEN["c1/text_feat"], rtol=1e-4, atol=1e-5)


@pytest.fixture
def run(places, tmp_path, monkeypatch):
    """A short training of all heads, in its own folder; more words change it."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, output: str = "run") -> Path:
        heads = "experiment={ss: true, id: true, mlm: true, cmt_depth: 1}"
        few = ("schedule.epoch=1", "schedule.lr=1e-2", heads)
        arguments = ["--config", DEMO, "--output", output, *SMALL, *places, *few, *words]
        main.run(parse(arguments))
        return tmp_path / output

    return run


def table(text: str) -> list[list[str]]:
    rows = [line.split() for line in text.splitlines()]
    return [row for row in rows if row[1:3] in (["text", "to"], ["image", "to"])]


def test_an_exported_checkpoint_evaluates_as_the_one_it_was_made_of(run, places, tmp_path, capsys):
    folder = run()
    trained = table(capsys.readouterr().out)
    exported = tmp_path / "exported.pth"
    write_published(open_checkpoint(folder / BEST).state, exported)
    arguments = ["--config", DEMO, "--evaluate", str(exported), *SMALL, *places]
    main.run(parse(arguments))
    assert table(capsys.readouterr().out) == trained


def test_an_evaluation_saves_what_it_has_encoded(run, pedestrians, tmp_path):
    folder = run()
    file = tmp_path / "features.safetensors"
    main.run(parse(["--evaluate", str(folder), "--save-features", str(file)]))
    features = load_features(file)
    count = pedestrians.counts["test"]
    assert features.image.shape == (count.images, 16)
    assert features.text.shape == (count.captions, 16)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    ranking = rank_features(features.text, features.image, features.text_ids, features.image_ids)
    closing = next(r for r in rows if "chosen" in r and r["direction"] == "text to image")
    assert ranking.metrics()["mAP"] == pytest.approx(closing["mAP"])


def test_the_closing_tables_are_re_ranked_where_asked(run, tmp_path):
    folder, file = run(), tmp_path / "features.safetensors"
    rerank = "evaluation.rerank={k1: 2, k2: 1, weight: 0.0}"
    words = ["--evaluate", str(folder), "--save-features", str(file), "--output", "again", rerank]
    main.run(parse(words))
    found = json.loads((tmp_path / "again" / "results.json").read_text())["results"]
    rows = found["CUHK-PEDES test"]
    assert list(rows) == [
        direction + kind
        for direction in ("text to image", "image to text")
        for kind in ("", ", re-ranked")
    ]
    features = load_features(file)
    distances = k_reciprocal(features.text, features.image, k1=2, k2=1, weight=0.0)
    expected = retrieval_metrics(-distances, features.text_ids, features.image_ids)
    assert rows["text to image, re-ranked"]["mAP"]["mean"] == pytest.approx(expected["mAP"])
    assert expected["mAP"] != pytest.approx(rows["text to image"]["mAP"]["mean"])


def test_several_checkpoints_have_a_mean_and_a_deviation(run, tmp_path, capsys):
    """Of two, the deviation is their difference over the root of two."""
    folders = [run(f"misc.seed={seed}", output=f"run-{seed}") for seed in (1, 2)]
    capsys.readouterr()
    words = [word for folder in folders for word in ("--evaluate", str(folder))]
    main.run(parse([*words, "--output", "both"]))
    alone = [
        json.loads((folder / "results.json").read_text())["results"]["CUHK-PEDES test"]
        for folder in folders
    ]
    first, second = (each["image to text"]["mAP"]["mean"] for each in alone)
    both = json.loads((tmp_path / "both" / "results.json").read_text())
    found = both["results"]["CUHK-PEDES test"]["image to text"]["mAP"]
    assert first != second
    assert both["checkpoints"] == 2
    assert "recipe" not in both
    assert found["values"] == [first, second]
    assert found["mean"] == pytest.approx((first + second) / 2)
    assert found["deviation"] == pytest.approx(abs(first - second) / 2**0.5)
    table = f"± {found['deviation']:.2f}"
    assert table in capsys.readouterr().out
    assert table in (tmp_path / "both" / "log.txt").read_text()


def test_different_recipes_are_set_side_by_side(run, tmp_path, capsys):
    """As are the best and the last checkpoint of one run: only seeds have a mean."""
    plain, other = run(output="plain"), run("experiment.ritc=false", output="other")
    capsys.readouterr()
    words = ("--evaluate", str(plain), "--evaluate", str(other), "--output", "both")
    main.run(parse(words))
    table = (tmp_path / "both" / "results.md").read_text()
    assert table in capsys.readouterr().out
    assert "| CUHK-PEDES test | text to image | plain |" in table
    assert "±" not in table
    both = json.loads((tmp_path / "both" / "results.json").read_text())
    for folder in (plain, other):
        alone = json.loads((folder / "results.json").read_text())["results"]["CUHK-PEDES test"]
        for direction, metrics in alone.items():
            found = both["results"]["CUHK-PEDES test"][direction][folder.name]
            assert found["R1"] == metrics["R1"]["mean"]

    best, last = plain / BEST, plain / LAST
    main.run(parse(["--evaluate", str(best), "--evaluate", str(last), "--output", "two"]))
    assert f"| {last} |" in (tmp_path / "two" / "results.md").read_text()
    with pytest.raises(InputError, match="name the same checkpoint"):
        main.run(parse(["--evaluate", str(best), "--evaluate", str(best)]))


def test_runs_that_were_trained_on_other_data_have_no_mean(run, places, tmp_path):
    """Although all are evaluated on the same data now."""
    trained = open_checkpoint(run() / BEST)
    for name, seed, data in (("elsewhere", 2, "gone"), ("reseeded", 3, places[0][21:])):
        config = copy.deepcopy(trained.config)
        config["misc"]["seed"], config["data"]["annotation_file"] = seed, data
        (tmp_path / name).mkdir()
        save_checkpoint(replace(trained, config=config).to_tree(), tmp_path / name / BEST)
    last = open_checkpoint(tmp_path / "run" / LAST)
    described = replace(last.training, data={**last.training.data, "hash": "0" * 64})
    (tmp_path / "relabelled").mkdir()
    for name, training in ((BEST, None), (LAST, described)):  # otherwise it is as `reseeded`
        other = replace(last, config=config, training=training)
        save_checkpoint(other.to_tree(), tmp_path / "relabelled" / name)
    for name, is_seed in (("elsewhere", False), ("reseeded", True), ("relabelled", False)):
        words = ("--evaluate", "run", "--evaluate", name, "--output", f"with-{name}", *places)
        main.run(parse(words))
        table = (tmp_path / f"with-{name}" / "results.md").read_text()
        assert ("±" in table) == is_seed
        assert (f"| CUHK-PEDES test | text to image | {name} |" in table) != is_seed


def test_only_runs_that_were_trained_alike_have_a_mean(published, small_config):
    words = ["--config", DEMO, "--evaluate", str(published), *GOLDEN_SHAPE]
    (foreign,) = main.open_checkpoints(parse(words))
    own = replace(foreign, published=None)

    def trained(*words: str) -> Checkpoint:
        return replace(own, config=to_tree(small_config(*words)))

    first, second = trained("misc.seed=1"), trained("misc.seed=2")
    older = copy.deepcopy(second.config)
    del older["model"]["compile"]
    assert compared_names([first]) is None
    assert compared_names([first, second]) is None
    assert compared_names([first, replace(second, config=older)]) is None
    older["experiment"]["of_yesterday"] = 1  # no longer valid
    for other in (
        trained("misc.seed=1"),
        trained("misc.seed=2", "schedule.lr=3"),
        replace(second, config=older),
        foreign,
    ):
        assert len(compared_names([first, other])) == 2
    assert compared_names([foreign]) is None
    assert len(compared_names([foreign, foreign])) == 2


def test_a_published_checkpoint_is_neither_resumed_nor_exported(published, run, capsys):
    with pytest.raises(InputError, match="a checkpoint of TBPS-CLIP, and one of this project"):
        main.run(parse(["--resume", str(published)]))
    assert export.main([str(published), "out.pth"]) == 2
    assert "is a checkpoint of TBPS-CLIP" in capsys.readouterr().err


def test_checkpoints_of_different_datasets_have_no_mean(run, places):
    plain, cross = (
        run(),
        run(
            f"data.test_sets=[{{name: other, annotation_file: {places[0][21:]}, "
            f"image_root: {places[1][16:]}}}]",
            output="cross",
        ),
    )
    for first, second in ((plain, cross), (cross, plain)):
        with pytest.raises(InputError, match="not evaluated on the same datasets"):
            main.run(parse(["--evaluate", str(first), "--evaluate", str(second)]))


def test_a_training_begins_from_a_checkpoint_of_another_size(run):
    first = run()
    begun = run(
        f"model.init_from={first}/{LAST}",
        "data.image_size=[48, 16]",
        "experiment.text_length=40",
        "schedule.lr=1e-12",
        "schedule.lr_start=0",
        "schedule.lr_end=0",
        output="begun",
    )
    old, new = (open_checkpoint(folder / LAST).state for folder in (first, begun))
    assert new["clip.visual.positional_embedding"].shape == (1 + 6 * 2, 32)
    assert new["clip.text.positional_embedding"].shape == (40, 32)
    name = "clip.text.transformer.blocks.0.mlp.c_fc.weight"
    torch.testing.assert_close(new[name], old[name], rtol=1e-5, atol=1e-7)
    assert not torch.allclose(new["classifier.weight"], old["classifier.weight"])


@pytest.mark.parametrize("size", ["[64, 32]", "[48, 32]"])
def test_a_training_begins_from_a_published_checkpoint(published, run, size):
    """The golden one is of 64x32: its own size, and one that only a known grid leads to."""
    shape = [word for word in GOLDEN_SHAPE if not word.startswith("data.image_size")]
    words = [*shape, "experiment.simclr_mlp=[64, 8, 64]", f"model.init_from={published}"]
    if size == "[48, 32]":
        with pytest.raises(InputError, match=r"data.image_size"):
            run(*words, f"data.image_size={size}")
        return
    weights = torch.load(published, weights_only=True)["model"]
    vocabulary = torch.zeros(49408, 64)  # as the tokenizer's, of which the golden one is a part
    vocabulary[:300] = weights["encode_text.token_embedding.weight"]
    weights["encode_text.token_embedding.weight"] = vocabulary
    torch.save({"model": {**weights, "logit_scale": torch.tensor(5.0)}}, published)
    folder = run(*words, f"data.image_size={size}")
    assert open_checkpoint(folder / LAST).state["clip.logit_scale"] <= np.log(100) + 1e-6


def test_a_start_that_is_no_checkpoint_is_refused(run, tmp_path):
    (tmp_path / "page.pth").write_text("<html>")
    with pytest.raises(
        InputError, match=r"page.pth cannot be read safely: it is damaged, no checkpoint"
    ):
        run("model.init_from=page.pth")
