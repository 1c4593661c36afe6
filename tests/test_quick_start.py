# ruff: noqa: RUF001, Chinese and full-width letters
"""The quick start of AltCLIP on a small random folder, and the pedestrians that it draws."""

import os
import runpy
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from numpy.testing import assert_allclose
from PIL import Image
from transformers import AltCLIPModel

from misc.quick_start_altclip import BYSTANDERS, main
from misc.synthetic.pedestrians import LANGUAGES, Facts, describe, draw_identity
from misc.synthetic.pedestrians.attributes import UPPERS, Item
from misc.synthetic.pedestrians.palette import CLOTH, Colour
from misc.synthetic.pedestrians.portraits import Portrait, Wanted, read_wanted
from model.altclip_adapter import build_altclip_clip
from tests import ROOT
from tests.altclip_folders import write_altclip_folder

SCRIPT = ROOT / "misc" / "quick_start_altclip.py"
TEXTS = ["红色上衣的女生", "a man wearing a blue coat"]
PORTRAITS = [Portrait("woman", "red", "t-shirt"), Portrait("man", "blue", "coat"), *BYSTANDERS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_altclip_folder(tmp_path_factory.mktemp("altclip"))


@pytest.fixture
def files(tmp_path):
    """A wide and a high picture."""
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (40, 60, 3)), ("b.png", (90, 30, 3))):
        Image.fromarray(rng.integers(256, size=shape, dtype=np.uint8)).save(tmp_path / name)
    return [tmp_path / "a.png", tmp_path / "b.png"]


@torch.no_grad()
def reference(folder, pictures, texts):
    """Similarities (N, M) as transformers computes them."""
    model = AltCLIPModel.from_pretrained(folder).eval()
    _, _, processor = build_altclip_clip(folder)
    output = model(**processor(text=texts, images=pictures, return_tensors="pt", padding=True))
    return (output.logits_per_image / model.logit_scale.exp()).numpy()


def read_table(output):
    """The first column, and the numbers of the others."""
    rows = [line.strip("|").split("|") for line in output.splitlines() if line.startswith("|")]
    body = [[cell.strip() for cell in row] for row in rows[2:]]  # after the title and the header
    return [row[0] for row in body], np.array([[float(cell) for cell in row[1:]] for row in body])


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_the_command_from_another_folder(folder, tmp_path):
    command = [sys.executable, SCRIPT, "--device", "cpu", "--altclip_pretrained", folder]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*command, "--text", *TEXTS],
        cwd=tmp_path,
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    names, similarity = read_table(done.stdout)
    assert names == [str(portrait) for portrait in PORTRAITS]
    pictures = [portrait.draw(seed) for seed, portrait in enumerate(PORTRAITS)]
    assert_allclose(similarity, reference(folder, pictures, TEXTS), atol=1e-4)
    for number, (text, best) in enumerate(zip(TEXTS, similarity.argmax(0), strict=True)):
        verdict = "right one" if best == number else f"wrong one; the right one is {names[number]}"
        line = f"text {number + 1} {text!r}: the best match is {names[best]}; it is the {verdict}\n"
        assert line in done.stdout


def test_pictures_of_ones_own(folder, files, capsys):
    texts = ["a person with a hat", *TEXTS]
    asked = ("--device", "cpu", "--altclip_pretrained", folder, "--image", *files)
    assert run(*asked, "--text", *texts) == 0
    output = capsys.readouterr().out
    names, similarity = read_table(output)
    assert names == ["a.png", "b.png"]
    pictures = [Image.open(file) for file in files]
    assert_allclose(similarity, reference(folder, pictures, texts), atol=1e-4)
    assert output.count("only known for drawn pedestrians") == 3
    model = AltCLIPModel.from_pretrained(folder)
    scale = model.logit_scale.item()
    counts = {
        "image tower": [model.vision_model, model.visual_projection],
        "text tower": [model.text_model, model.text_projection],
        "all": [model],
    }
    described = dict(line.split(maxsplit=1) for line in output.splitlines()[-3:])
    assert described["device"] == "cpu"
    assert described["precision"] == "fp32"
    assert f"logit_scale      {scale:.4f}, the logarithm of {np.exp(scale):.2f}\n" in output
    assert "logit_bias       None\n" in output
    assert "embedding width  48\n" in output
    for name, parts in counts.items():
        count = sum(parameter.numel() for part in parts for parameter in part.parameters())
        assert f"{name:<16} {count:,} parameters\n" in output


def test_a_text_that_says_nothing_known(folder, capsys):
    assert run("--altclip_pretrained", folder, "--text", "a person with a hat") == 0
    output = capsys.readouterr().out
    assert read_table(output)[0] == [str(portrait) for portrait in BYSTANDERS]
    assert "is not known: no garment and colour were found in the text\n" in output
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert f"device           {device}\n" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "gpu"], "--device gpu: unknown device; use cpu, cuda or cuda:N"),
        (["--device", "cuda:99"], "--device cuda:99"),
        (["--image", "{tmp}/absent.png"], "absent.png does not exist"),
        (["--image", "{tmp}/damaged.png"], "damaged.png cannot be read"),
        (["--altclip_pretrained", "{tmp}/nowhere"], "nowhere does not exist: give a folder"),
        (["--altclip_pretrained", "{tmp}"], " has no model*.safetensors or pytorch_model.bin"),
        (["--cache_dir", "{tmp}"], "run `hf download BAAI/AltCLIP --local-dir FOLDER`"),
    ],
)
def test_mistakes_are_one_sentence(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG")
    assert run("--text", *TEXTS, *(word.format(tmp=tmp_path) for word in arguments)) == 2
    output, error = capsys.readouterr()
    assert not output
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_the_scripts_own_folder_hides_no_package(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])
    runpy.run_path(str(SCRIPT))
    assert sys.path[0] == str(ROOT)
    assert str(SCRIPT.parent) not in sys.path


# What a text asks for, and the portraits


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_a_caption_asks_for_what_it_describes(language):
    rng = np.random.default_rng(0)
    for gender, colour, garment in product(("woman", "man"), CLOTH, UPPERS["woman"]):
        upper = Item(garment, Colour(colour, CLOTH[colour]))
        person = replace(draw_identity(0, 0, 0.0), gender=gender, upper=upper, inner=None)
        facts = Facts(person, frozenset({"gender", "upper"}), frozenset(), False, None)
        for caption in describe(facts, language, rng):
            assert read_wanted(caption) == Wanted((gender,), colour, (garment,)), caption


TOPS = ("t-shirt", "shirt", "sweater", "hoodie", "tank top")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("红色上衣的女生", Wanted(("woman",), "red", TOPS)),
        ("Women's RED TOP", Wanted(("woman",), "red", TOPS)),
        ("a pale blue t-shirt", Wanted(("woman", "man"), "light blue", ("t-shirt",))),
        ("浅蓝色的T恤", Wanted(("woman", "man"), "light blue", ("t-shirt",))),
        ("男孩，黑色外套，白色衬衫", Wanted(("man",), "black", ("jacket", "coat"))),
        ("a multicolored coat", None),
        ("a black teen in green shoes", None),
        ("a man in red clothes and a hat", None),
        ("红色", None),
        ("", None),
    ],
)
def test_what_is_read(text, wanted):
    assert read_wanted(text) == wanted


def test_what_fits():
    wanted = Wanted(("man",), "red", ("jacket", "coat"))
    assert wanted.fits(wanted.example)
    assert wanted.fits(Portrait("man", "red", "coat"))
    for other in (("woman", "red", "coat"), ("man", "blue", "coat"), ("man", "red", "shirt")):
        assert not wanted.fits(Portrait(*other))


@pytest.mark.parametrize("portrait", PORTRAITS, ids=str)
def test_portraits_show_their_colour(portrait):
    picture = portrait.draw(seed=3)
    assert picture == portrait.draw(seed=3)
    assert picture != portrait.draw(seed=4)
    chest = np.asarray(picture)[80:125, 100:156].reshape(-1, 3).astype(int)
    distances = {
        name: np.abs(chest - rgb).sum(axis=1)
        for name, rgb in CLOTH.items()
        if name in {portrait.colour for portrait in PORTRAITS}
    }
    nearest = np.array(list(distances.values())).argmin(axis=0)
    assert list(distances)[np.bincount(nearest).argmax()] == portrait.colour
