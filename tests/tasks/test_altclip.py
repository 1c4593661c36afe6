"""AltCLIP through main.py: it learns two languages, its checkpoints and its processor work."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import main
import options
from errors import InputError
from misc.export import main as export
from misc.synthetic.writing import WrittenDataset, write_dataset
from tests.altclip_folders import TEXTS, write_altclip_folder
from tests.command_line import parse
from tests.ranks import run_main_on_ranks

DEMO = str(options.RECIPES / "demo.yaml")
LANGUAGES = "data.languages=[en, ch]"


def captions(dataset: WrittenDataset) -> list[str]:
    files = dataset.processed.glob("train_reid_*.json")
    records = [record for file in sorted(files) for record in json.loads(file.read_text())]
    return [caption for record in records for caption in record["captions"]]


def words(dataset: WrittenDataset, folder: Path, size: Sequence[int], width: int) -> list[str]:
    """A command line for a dataset and a folder whose joint space has this width."""
    return [
        *("--config", DEMO, "--backbone", "altclip", LANGUAGES),
        f"data.annotation_file={dataset.processed}",
        f"data.image_root={dataset.image_root}",
        f"data.image_size={list(size)}",
        "data.num_workers=0",
        f"model.altclip_pretrained={folder}",
        f"model.embed_dim={width}",
        f"model.projection_dim={width}",
        f"experiment.simclr_mlp=[{width}, 16, {width}]",
        "experiment.text_length=77",
    ]


def closing_rows(folder: Path) -> dict[str, dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    return {row["direction"]: row for row in rows if "chosen" in row}


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory) -> WrittenDataset:
    return write_dataset(
        "cuhk-pedes",
        tmp_path_factory.mktemp("bilingual"),
        identities={"train": 800, "test": 500},
        images=(3, 3),
        height=(96, 128),
        difficulty=0.1,
        languages=("en", "ch"),
    )


@pytest.mark.slow
def test_it_learns_two_languages_on_two_processes(bilingual, tmp_path):
    folder = write_altclip_folder(
        tmp_path / "altclip",
        image_size=48,
        patch_size=12,
        width=128,
        vision_layers=3,
        text_width=128,
        text_layers=2,
        heads=4,
        project_dim=128,
        embed_dim=128,
        texts=(*TEXTS, *captions(bilingual)[:1000]),
    )
    arguments = [
        *words(bilingual, folder, (96, 48), 128),
        "data.batch_size=16",
        "schedule.epoch=5",
        "schedule.lr=6e-4",
        "model.softlabel_ratio=0",
        "experiment.use_altclip_processor=false",
    ]
    run_main_on_ranks(2, tmp_path, [*arguments, "--output", str(tmp_path / "run")])
    rows = closing_rows(tmp_path / "run")
    chance = 100 / 500
    assert rows["text to image, en"]["R1"] >= 20 * chance
    assert rows["text to image, ch"]["R1"] >= 20 * chance
    both = [rows[f"text to image, {language}"]["R1"] for language in ("en", "ch")]
    assert rows["text to image"]["R1"] == pytest.approx(sum(both) / 2)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with towers of one block, pictures of 32 pixels and a joint space of 48."""
    return write_altclip_folder(tmp_path / "altclip")


@pytest.fixture
def train(bilingual_few, folder, tmp_path) -> Callable[..., Path]:
    """One short epoch in a folder of its own; more words change it."""

    def train(*more: str, output: str = "run") -> Path:
        few = ("data.batch_size=8", "data.test_batch_size=16", "schedule.epoch=1")
        drawn = ("evaluation.ranked_lists=1", "log.figures=false")
        arguments = [*words(bilingual_few, folder, (32, 32), 48), *few, *drawn, *more]
        main.run(parse([*arguments, "--output", str(tmp_path / output)]))
        return tmp_path / output

    return train


@pytest.fixture(scope="module")
def bilingual_few(tmp_path_factory) -> WrittenDataset:
    return write_dataset(
        "rstpreid",
        tmp_path_factory.mktemp("few"),
        identities={"train": 10, "val": 4, "test": 4},
        images=(2, 2),
        height=(40, 64),
        languages=("en", "ch"),
    )


def test_a_checkpoint_of_altclip_evaluates_without_its_weights(train, folder, tmp_path):
    trained = closing_rows(train("data.test_sets=[]"))
    (folder / "model.safetensors").unlink()
    again = tmp_path / "again"
    main.run(parse(["--evaluate", str(tmp_path / "run"), "--output", str(again)]))
    evaluated = closing_rows(again)
    assert list(evaluated) == list(trained)
    for direction, row in evaluated.items():
        assert row["mAP"] == pytest.approx(trained[direction]["mAP"])


def test_all_losses_and_frozen_parts_and_rates_by_layer(train, capsys):
    train(
        "experiment={id: true, citc: true, sdm: true, ss: true, mvs_image: true, mlm: true}",
        "model.freeze=[visual.conv1, text.embeddings]",
        "schedule.layer_decay=0.7",
        "model.gradient_checkpointing=true",
        "data.global_batch_size=16",
        "data.image_size=[48, 24]",
    )
    printed = capsys.readouterr().out
    assert "experiment.mlm is switched off" in printed
    assert "sdm" in printed


def test_what_tbps_clip_does_not_know_is_not_exported(train, tmp_path):
    train()
    assert export([str(tmp_path / "run"), str(tmp_path / "exported.pth")]) == 2
    assert not (tmp_path / "exported.pth").exists()


def test_a_caption_has_no_more_tokens_than_the_weights_have_positions(bilingual_few, tmp_path):
    short = write_altclip_folder(tmp_path / "short", context_length=40)
    with pytest.raises(InputError, match=r"experiment\.text_length is 77, but .* 40 tokens"):
        main.run(parse(words(bilingual_few, short, (32, 32), 48)))


def test_a_test_set_may_have_languages_of_its_own(train, pedestrians):
    other = (
        f"data.test_sets=[{{name: English, annotation_file: {pedestrians.annotation_file}, "
        f"image_root: {pedestrians.image_root}, languages: []}}]"
    )
    rows = [json.loads(line) for line in (train(other) / "metrics.jsonl").open()]
    english = [row["direction"] for row in rows if row.get("dataset") == "English test"]
    assert english == ["text to image", "image to text"]


def test_masked_words_alone_are_no_loss_for_altclip(train):
    with pytest.raises(InputError, match=r"experiment\.mlm is the only loss"):
        train("experiment={nitc: false, ritc: false, mlm: true}")


def test_a_training_begins_from_one_of_altclip(train):
    train()
    begun = train(
        "model.init_from=" + str(train(output="first")), "data.image_size=[48, 24]", output="begun"
    )
    assert closing_rows(begun)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ("model.tokenizer_type=clip", ("tokenizer_type", "backbone")),
        ("model.projection_dim=512", ("projection_dim", "embed_dim")),
        ("experiment={ss: true, simclr_mlp: [512, 128, 512]}", ("simclr_mlp", "model.embed_dim")),
        ("model.altclip_pretrained=null", ("altclip_pretrained", "backbone")),
        ("data.languages=[en, en]", ("data.languages", "each language once")),
    ],
)
def test_a_contradiction_names_both_keys(change, keys):
    with pytest.raises(InputError) as error:
        parse(["--backbone", "altclip", change]).configure()
    assert all(key in str(error.value) for key in keys)


@pytest.mark.parametrize("choice", [["--backbone", "altclip"], ["model.backbone=altclip"]])
def test_one_switch_sets_what_goes_with_it(choice):
    model = parse(["--simplified", *choice, "misc.seed=3"]).configure().model
    assert (model.altclip_pretrained, model.embed_dim) == ("BAAI/AltCLIP", 768)


def test_a_recipe_that_chooses_altclip_keeps_its_own_keys(tmp_path):
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        f"base: {options.RECIPES / 'config.yaml'}\n"
        "model: {backbone: altclip, altclip_pretrained: here}\n"
    )
    model = parse(["--config", str(recipe)]).configure().model
    assert (model.altclip_pretrained, model.projection_dim) == ("here", 768)
    again = parse(["--config", str(recipe), "--backbone", "altclip"]).configure().model
    assert again == model


def test_the_processor_of_clip_is_refused():
    with pytest.raises(InputError, match=r"use_altclip_processor: needs model\.backbone altclip"):
        parse(["experiment.use_altclip_processor=true"]).configure()
