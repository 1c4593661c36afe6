"""The fair table of methods: its recipes, and its smallest form."""

import re
from operator import truediv
from pathlib import Path

import pytest

import options
from benchmarks import methods
from errors import InputError
from misc.settings.sections import Config

SHORT = ("--rates", "0", "--people", "12", "--tested", "4", "--epochs", "1")
SHORT += ("--pretraining-people", "12", "--pretraining-epochs", "1")
SHARED = {
    "data": {"image_size", "batch_size", "global_batch_size", "normalize"},
    "experiment": {"image_augment", "text_length", "dropout", "select_on"},
    "schedule": {"optimizer", "curve", "lr", "lr_start", "lr_end", "epoch", "epoch_warmup"}
    | {"weight_decay", "betas", "eps", "decayed", "bias_factor", "ratio_factor", "layer_decay"},
    "model": {"clip_pretrained", "embed_dim", "vision", "text", "freeze"},
}
PRESENT = [
    name
    for name, recipe in methods.METHODS.items()
    if recipe not in ("irra", "rde") or (options.RECIPES / f"{recipe}.yaml").exists()
]


@pytest.mark.parametrize("name", PRESENT)
def test_every_method_trains_alike(name):
    def shared(recipe: str) -> dict[str, dict[str, object]]:
        words = ["--config", str(methods.RECIPES / f"{recipe}.yaml")]
        tree = options.to_tree(options.parse(words).configure())
        return {part: {key: tree[part][key] for key in keys} for part, keys in SHARED.items()}

    assert shared(methods.METHODS[name]) == shared("itc")
    assert shared("itc")["schedule"]["epoch"] == 30


def test_tal_has_the_scale_of_the_small_clip():
    """In the proportion of IRRA's temperature to the published one."""

    def settings(folder: Path, name: str) -> Config:
        return options.parse(["--config", str(folder / f"{name}.yaml")]).configure()

    temperatures = (
        settings(f, "irra").model.temperature for f in (methods.RECIPES, options.RECIPES)
    )
    ours, published = (settings(f, "rde").experiment for f in (methods.RECIPES, options.RECIPES))
    scale = truediv(*temperatures)
    assert ours.tal_temperature == pytest.approx(scale * published.tal_temperature, rel=0.05)
    assert ours.tal_margin == pytest.approx(scale * published.tal_margin)


def test_a_recipe_that_is_missing_is_an_error_at_the_start(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(methods.METHODS, "ITC", "absent")
    assert methods.main(["--output", str(tmp_path), *SHORT]) == 2
    assert "absent.yaml" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []
    monkeypatch.undo()
    with pytest.raises(InputError, match="absent"):
        options.parse(["--config", str(methods.RECIPES / "absent.yaml")]).configure()


@pytest.mark.slow
def test_the_smallest_table_is_made_in_parts(tmp_path, capsys):
    words = ["--output", str(tmp_path), "--seeds", "0", *SHORT, "--methods"]
    assert methods.main([*words, "LoRA with ITC"]) == 0
    (made,) = tmp_path.glob("LoRA*/results.json")
    time = made.stat().st_mtime_ns
    capsys.readouterr()
    assert methods.main([*words, "ITC", "LoRA with ITC"]) == 0
    titles, _, itc, lora = capsys.readouterr().out.splitlines()
    assert titles == "| | R1 | mAP | seconds |"
    assert re.fullmatch(r"\| ITC, clean \| \d+\.\d\d \| \d+\.\d\d \| \d+ \|", itc)
    assert lora.startswith("| LoRA with ITC, clean |")
    assert (tmp_path / "methods.md").read_text().splitlines()[-1] == lora
    assert made.stat().st_mtime_ns == time


def test_the_seconds_of_a_run_are_those_of_its_steps_and_divisions(tmp_path):
    run = methods.Run(tmp_path, ("--config", str(methods.RECIPES / "itc.yaml")))
    rows = [
        '{"step": 50, "loss": 1, "samples_per_second": 160}',
        '{"step": 50, "split": "val", "R1": 3}',
        '{"step": 60, "loss": 1, "samples_per_second": 32}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows))
    trained = 50 * 32 / 160 + 10 * 32 / 32
    assert methods.seconds(run) == trained
    rows[0:0] = ['{"step": 0, "epoch": 1, "division_seconds": 2.5}']
    rows[3:3] = [
        '{"step": 50, "epoch": 2, "division_seconds": 9}',
        '{"step": 50, "epoch": 2, "division_seconds": 1.5}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows))
    assert methods.seconds(run) == trained + 4
