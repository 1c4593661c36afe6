"""The table of one model for sentences and pictures: its recipes, and its smallest form."""

import re

import pytest

import options
from benchmarks import both


def test_every_row_trains_alike():
    def settings(recipe: str) -> dict[str, object]:
        words = ["--config", str(both.RECIPES / f"{recipe}.yaml")]
        config = options.parse(words).configure()
        (stage,) = (stage for stage in config.stages if not stage.skip)
        data = {key: getattr(config.data, key) for key in ("image_size", "global_batch_size")}
        towers = {key: getattr(config.model, key) for key in ("vision", "text", "embed_dim")}
        return {**data, **towers, "schedule": config.stage_schedule(stage)}

    assert settings("text") == settings("reid") == settings("both")


@pytest.mark.slow
def test_the_smallest_table_has_a_row_for_each_way(tmp_path, capsys):
    small = ["--people", "40", "--epochs", "1", "--pretraining-people", "20"]
    words = ["--output", str(tmp_path), "--seeds", "0", *small, "--pretraining-epochs", "1"]
    assert both.main(words) == 0
    titles, _, two, shared, routed = capsys.readouterr().out.splitlines()
    assert titles == f"| | {' | '.join(both.TITLES)} |"
    for name, row in (("two models", two), ("shared token", shared), ("two tokens", routed)):
        assert re.search(rf"{name} \| \d+\.\d\d \| \d+\.\d\d \| \d\.\d\d \| \d+ \|", row), row
    sizes = [row.split("|")[4:6] for row in (two, shared, routed)]
    parameters, index = zip(*([float(cell) for cell in row] for row in sizes), strict=True)
    assert parameters[0] > parameters[2] >= parameters[1]
    assert index == (4 * 384, 4 * 384, 4 * 384)  # of all: words, and two of pictures
