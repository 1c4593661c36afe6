"""PersonSearch: the features of runs and of published checkpoints."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import main
import options
import search
from errors import InputError
from misc.retrieval.features import load_features
from misc.search.opening import open_model
from misc.search.person_search import PersonSearch
from misc.tasks.text.model import new_model
from model.weights.published.irra import to_irra
from model.weights.published.tbps_clip import to_tbps_clip
from tests import ROOT
from tests.command_line import parse
from tests.test_legacy import UNTOLD, unpack
from text_utils.captions import clean_caption
from text_utils.tokenizer import ClipTokenizer


def test_search_has_the_class_and_nothing_else():
    assert search.PersonSearch is PersonSearch
    with pytest.raises(AttributeError, match="Persons"):
        _ = search.Persons


def test_features_are_those_of_an_evaluation(people, run_folder, tmp_path):
    file, output = tmp_path / "features", tmp_path / "evaluated"
    words = ["--evaluate", str(run_folder), "--save-features", str(file), "--output", str(output)]
    main.run(parse(words))
    saved = load_features(file, people.encoder.model_hash)
    image = people.encode_images(saved.image_paths)
    text = people.encode_texts(saved.captions)
    torch.testing.assert_close(image, saved.image, rtol=0, atol=1e-6)
    torch.testing.assert_close(text, saved.text, rtol=0, atol=1e-6)
    assert image.dtype == torch.float32
    torch.testing.assert_close(image.norm(dim=1), torch.ones(len(image)))


def test_a_picture_in_memory_is_encoded_like_its_file(people, pictures):
    file = pictures / "cam1" / "000.jpg"
    with Image.open(file) as picture:
        in_memory = people.encode_images([picture])
    torch.testing.assert_close(in_memory, people.encode_images([str(file)]), rtol=0, atol=0)


def test_a_lying_picture_is_turned_upright(people, pictures, tmp_path):
    with Image.open(pictures / "cam1" / "000.jpg") as picture:
        upright = picture.copy()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    upright.rotate(90, expand=True).save(tmp_path / "lying.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    lying, expected = people.encode_images([tmp_path / "lying.png", tmp_path / "upright.png"])
    torch.testing.assert_close(lying, expected)


def test_nothing_has_no_features(people):
    assert people.encode_images([]).shape == people.encode_texts([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [("", "is empty"), ("  \n", "is empty"), ("!!! ...", r"'!!! \.\.\.' has no words")],
)
def test_an_empty_sentence_is_refused(people, sentence, fault):
    with pytest.raises(InputError, match=f"the description {fault}"):
        people.encode_texts(["a man", sentence])


def test_pictures_that_are_none_are_refused(people, tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.jpg does not exist"):
        people.encode_images([tmp_path / "nowhere.jpg"])
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(InputError, match=r"text\.jpg cannot be read"):
        people.encode_images([tmp_path / "text.jpg"])


def test_a_reidentification_model_takes_pictures_alone(tmp_path, pictures):
    file = unpack("reid/finished/checkpoint_last.pt", tmp_path / "reid.pt")
    reid = PersonSearch(file, "cpu")
    files = sorted(pictures.rglob("*.jpg"))[:3]
    assert len(reid.encode_images(files)) == 3
    assert not reid.reads_text
    with pytest.raises(InputError, match="cannot search by text"):
        reid.encode_texts(["a man"])


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("tbps_clip", "config.yaml"),
        ("irra", "config.yaml"),
        ("cskt", "cskt.yaml"),
        ("clip_reid", "clipreid_vit.yaml"),
    ],
)
def test_a_published_checkpoint_of_other_sizes_needs_a_recipe(tmp_path, pictures, name, recipe):
    file = unpack(f"published/{name}.pth", tmp_path / f"{name}.pth")
    with pytest.raises(InputError):
        PersonSearch(file, "cpu")
    config = parse(["--config", str(options.RECIPES / recipe), *UNTOLD]).configure()
    (tmp_path / "own.yaml").write_text(options.dump(config))
    published = PersonSearch(file, "cpu", config=tmp_path / "own.yaml")
    feature = published.encode_images([pictures / "cam1" / "000.jpg"])
    torch.testing.assert_close(feature.norm(dim=1), torch.ones(1))
    assert published.reads_text == (name != "clip_reid")


@pytest.mark.parametrize(
    ("rename", "image_size", "normalize", "cleans"),
    [(to_tbps_clip, (224, 224), "imagenet", True), (to_irra, (384, 128), "clip", False)],
)
def test_a_published_checkpoint_is_prepared_as_its_project_does(
    tmp_path, pictures, rename, image_size, normalize, cleans
):
    """Its image size, normalisation and cleaning of captions."""
    sizes = (
        f"data.image_size={[*image_size]}",
        "model.clip_pretrained=null",
        "model.embed_dim=32",
        "experiment.ss=false",
        "model.vision={width: 64, layers: 1, heads: 1, patch_size: 16}",
        "model.text={width: 64, layers: 1, heads: 1}",
    )
    config = parse(sizes).configure()
    model = new_model(config, None, with_heads=False).eval()
    torch.save(rename(model.state_dict()), tmp_path / "published.pth")
    people = PersonSearch(tmp_path / "published.pth", "cpu")
    assert people.config.data.image_size == image_size
    assert people.config.data.normalize == normalize
    assert people.config.experiment.clean_captions == cleans
    caption = "A man (tall) walks."
    tokens = ClipTokenizer()([clean_caption(caption) if cleans else caption])
    with torch.no_grad():
        expected = F.normalize(model.encode_text(tokens))
    torch.testing.assert_close(people.encode_texts([caption]), expected)
    assert people.encode_images([pictures / "cam1" / "000.jpg"]).shape == (1, 32)


def test_an_unknown_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_model(tmp_path / "nothing")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="neither a checkpoint of this project"):
        open_model(tmp_path / "other.pt")


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_example_of_the_readme(page, run_folder, pictures, tmp_path):
    """As a script, with more pictures than one batch."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    (example,) = (block for block in blocks if "PersonSearch" in block)
    for file in sorted(pictures.rglob("*.jpg")):
        for copy in range(3):
            shutil.copyfile(file, file.with_name(f"{file.stem}-{copy}.jpg"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(run_folder)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.stderr == ""
    assert ran.stdout.count("Hit(path=") == 10
