"""The benchmark of relevance maps: phrases, masks on patches, and its table."""

import re
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
import torch

import main as train
import options
from benchmarks.relevance import (
    Measurement,
    cover,
    find_phrases,
    main,
    measure,
    to_table,
    weight_on,
)
from misc.synthetic.__main__ import main as draw
from misc.synthetic.pedestrians.attributes import Item, draw_identity
from misc.synthetic.pedestrians.palette import Colour
from tests import ROOT

PERSON = replace(
    draw_identity(0, 1, 0.0),
    hat=Item("cap", Colour("red", (200, 0, 0))),
    scarf=None,
    upper=Item("shirt", Colour("navy", (0, 0, 80))),
    inner=None,
    lower=Item("jeans", Colour("blue", (0, 0, 200)), "dotted", Colour("white", (255, 255, 255))),
    shoes=Item("boots", Colour("black", (0, 0, 0))),
    bag=None,
)


def test_phrases_are_colours_of_plain_garments():
    caption = (
        "A man in a navy blue shirt with long sleeves, blue jeans and Black boots; reddish cap."
    )
    found = list(find_phrases(caption, PERSON))
    assert [(one.garment, caption[one.start : one.end]) for one in found] == [
        ("upper", "navy blue "),
        ("shoes", "Black "),
    ]


def test_a_mask_covers_shares_of_patches():
    mask = np.zeros((8, 4), bool)
    mask[:3, :2] = True  # all of a patch, and the upper half of the one below
    assert cover(mask, (8, 4), 2, 2).tolist() == [[1, 0], [0.5, 0], [0, 0], [0, 0]]
    assert cover(np.ones((20, 10), bool), (8, 4), 4, 2).shape == (3, 1)


def test_weight_is_shared_out_by_cover():
    patches = torch.tensor([[[3.0, 1.0]], [[0.0, 5.0]]])
    covered = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]])
    assert weight_on(patches, covered).tolist() == [[0.75, 0.5], [0.0, 0.5]]


def test_the_table_has_ratios_of_means():
    found = [Measurement("hat", 0.1, 0.4, []), Measurement("upper", 0.3, 0.5, [0.3, 0.6])]
    *_, hat, upper, every = to_table(found).splitlines()
    assert hat == "| hat | 1 | 10.0 | 40.0 | 4.00 | - |"
    assert upper == "| upper | 1 | 30.0 | 50.0 | 1.67 | 1.50 |"
    assert every == "| all | 2 | 20.0 | 45.0 | 2.25 | 1.50 |"


@pytest.mark.parametrize("is_relative", [False, True])
def test_a_run_is_measured(is_relative, run_folder, pedestrians, monkeypatch, capsys):
    monkeypatch.chdir(pedestrians.image_root.parent)
    root = ["data.image_root=imgs"] if is_relative else []
    assert main(["--run", str(run_folder), "--captions", "6", "--device", "cpu", *root]) == 0
    printed = capsys.readouterr().out
    assert "colour words in 6 captions" in printed
    last = printed.splitlines()[-1].split("|")
    assert last[1].strip() == "all"
    assert 0 < float(last[4]) < 100


@pytest.mark.slow
def test_colour_words_of_the_demo_lie_on_their_garments(tmp_path):
    """Three times the garment's share of the picture, as docs/report.md says of 200 captions."""
    (sizes,) = re.findall(r"^DEMO_DATA := (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    layout = ["--layout", "cuhk-pedes", "--output", str(tmp_path)]
    assert draw([*layout, *sizes.split()]) == 0
    places = (
        f"data.annotation_file={tmp_path}/CUHK-PEDES/processed",
        f"data.image_root={tmp_path}/CUHK-PEDES/imgs",
    )
    demo = str(ROOT / "config" / "demo.yaml")
    train.run(options.parse(["--config", demo, "--output", str(tmp_path / "run"), *places]))
    found = measure(tmp_path / "run", [], 200, 0, None)
    assert len(found) > 300
    own, picture = (fmean(getattr(one, name) for one in found) for name in ("own", "picture"))
    assert own > 3 * picture
