"""Runs as folders of transformers and open_clip, and back."""

import json
import re
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

import main
from misc.export import main as export
from misc.export.tokenizer_files import write_tokenizer
from misc.runtime.checkpoint import BEST, open_checkpoint
from misc.search.person_search import PersonSearch
from misc.tasks.starting_weights import build_tokenizer
from misc.tasks.text.pretrained import pretrained_checkpoint
from model.backbones import load_backbone
from tests.altclip_folders import write_altclip_folder
from tests.backbone_folders import write_chinese_clip_folder, write_siglip_folder
from tests.command_line import parse
from tests.conftest import SMALL
from tests.export.conftest import DEMO
from tests.export.runs import write_run
from text_utils.tokenizer import SiglipTokenizer

SENTENCES = ["A woman, in a RED coat (long)!! with #2 bags; it's nice.", "a man"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, text_run) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "hub"
    assert export([str(text_run), str(folder), "--format", "huggingface"]) == 0
    return folder


@pytest.fixture(scope="module")
def people(text_run) -> PersonSearch:
    return PersonSearch(text_run, "cpu")


def pictures(people: PersonSearch, count: int = 3) -> tuple[list[Image.Image], Tensor]:
    rng = np.random.default_rng(0)
    drawn = [
        Image.fromarray(rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)) for _ in range(count)
    ]
    return drawn, torch.stack([people.encoder.transform(picture) for picture in drawn])


def close(features: Tensor, expected: Tensor, most: float = 1e-5) -> None:
    torch.testing.assert_close(F.normalize(features, dim=-1), expected, rtol=0, atol=most)


@torch.inference_mode()
def test_transformers_gives_the_same_features_of_rectangles(folder, people):
    model, tokenizer = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    drawn, images = pictures(people)
    image = model.get_image_features(images, interpolate_pos_encoding=True).pooler_output
    close(image, people.encode_images(drawn))
    words = tokenizer(SENTENCES, padding=True, return_tensors="pt")["input_ids"]
    close(model.get_text_features(words).pooler_output, people.encode_texts(SENTENCES))


def test_its_processor_prepares_pictures_as_the_run_does(folder, people):
    processor = AutoImageProcessor.from_pretrained(folder)
    drawn, images = pictures(people)
    theirs = processor(drawn, return_tensors="pt")["pixel_values"]
    assert theirs.shape == images.shape
    off = (theirs - images).abs() * torch.tensor(processor.image_std)[:, None, None] * 255
    assert off.max() < 3  # of 255: its resize rounds in other places


@torch.inference_mode()
def test_open_clip_gives_the_same_features(folder, people):
    model, prepare = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    drawn, images = pictures(people)
    torch.testing.assert_close(torch.stack([*map(prepare, drawn)]), images, rtol=0, atol=1e-5)
    close(model.eval().encode_image(images), people.encode_images(drawn))
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(["a man in red", "a woman"])
    close(model.encode_text(tokens), people.encode_texts(["a man in red", "a woman"]))


def closing(folder: Path) -> list[tuple[float, ...]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [tuple(row[n] for n in ("R1", "R5", "R10", "mAP", "mINP")) for row in rows]


def test_the_folder_is_evaluated_as_its_checkpoint(folder, text_run, tmp_path):
    words = ["--config", str(text_run / "config.yaml"), f"model.clip_pretrained={folder}"]
    main.run(parse(["--evaluate", str(text_run), "--output", str(tmp_path / "run")]))
    main.run(parse(["--evaluate", str(folder), *words, "--output", str(tmp_path / "folder")]))
    assert closing(tmp_path / "folder") == closing(tmp_path / "run")
    assert len(closing(tmp_path / "run")) == 2
    backbone = load_backbone(folder)
    assert backbone.image_size == (32, 16)
    assert backbone.mean == (0.485, 0.456, 0.406)


FAMILIES = {
    "altclip": (write_altclip_folder, "model.altclip_pretrained", ("--backbone", "altclip"), 48),
    "chinese-clip": (write_chinese_clip_folder, "model.clip_pretrained", (), 32),
    "siglip": (write_siglip_folder, "model.clip_pretrained", (), 32),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_go_to_transformers_and_back(family, places, tmp_path):
    write, key, words, width = FAMILIES[family]
    write(tmp_path / "source")
    sizes = (f"model.embed_dim={width}", "experiment.use_altclip_processor=false")
    sizes += (f"model.projection_dim={width}",) if family == "altclip" else ()
    own = ["--config", DEMO, *words, *SMALL, *places, *sizes]
    config = parse([*own, f"{key}={tmp_path / 'source'}"]).configure()
    run = write_run(tmp_path / "run", config)
    assert export([str(run), str(tmp_path / "hub"), "--format", "huggingface"]) == 0
    config = parse([*own, f"{key}={tmp_path / 'hub'}"]).configure()
    again = pretrained_checkpoint(config, tmp_path / "hub", "demo")
    checkpoint = open_checkpoint(run, BEST)
    assert again.architecture == checkpoint.architecture
    for name, tensor in checkpoint.state.items():
        torch.testing.assert_close(again.state[name], tensor, rtol=0, atol=1e-6)
    captions = ["a man in red", "a woman"]
    held, found = (
        build_tokenizer(parse([*own, f"{key}={tmp_path / n}"]).configure())
        for n in ("source", "hub")
    )
    assert torch.equal(found(captions), held(captions))


@pytest.mark.parametrize("kind", ["siglip", "siglip2", "naflex"])
def test_a_tokenizer_is_the_same_without_config_json(kind, tmp_path):
    """By which transformers chooses the tokenizer's class, too."""
    write_siglip_folder(tmp_path / "source", kind)
    (tmp_path / "alone").mkdir()
    own = SiglipTokenizer(tmp_path / "source")
    write_tokenizer(own, tmp_path / "alone", 64, cleans=False)
    captions = ["A man in red", "a woman </s> with 2 bags"]
    assert torch.equal(SiglipTokenizer(tmp_path / "alone")(captions, 64), own(captions, 64))
    assert str(tmp_path) not in (tmp_path / "alone" / "tokenizer_config.json").read_text()


REFUSED = {
    "overlapping patches": (("model.stride=4",), "patches of 8 pixels at a stride of 4"),
    "a ResNet": (
        (
            "model.vision={width: 4, layers: [1, 1, 1, 1], heads: 2, patch_size: null}",
            "data.image_size=[64, 32]",
        ),
        "has a ResNet, which transformers has no CLIP of",
    ),
    "two embeddings": (
        ("model.token_selection={embed_dim: 24, ratio: 0.3}", "experiment.sdm=true"),
        "has a second embedding, which transformers does not know",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_transformers_lacks_are_refused(case, places, tmp_path, capsys):
    words, sentence = REFUSED[case]
    run = write_run(
        tmp_path / "run", parse(["--config", DEMO, *SMALL, *places, *words]).configure()
    )
    assert export([str(run), str(tmp_path / "hub"), "--format", "huggingface"]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "--format onnx or torch" in error
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_the_card_tells_the_run_and_no_folders_of_the_machine(folder, text_run, places):
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "None are recorded beside the checkpoint." in card
    assert "random weights" in card
    assert "interpolate_pos_encoding=True" in card
    (root,) = {Path(place.partition("=")[2]).parent for place in places[1:]}
    assert str(root) not in card
    assert re.search(r"^  image_root: \w+$", card, flags=re.MULTILINE)
