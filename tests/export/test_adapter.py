"""LoRA as an adapter of peft, and merged."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel
from transformers import AutoModel

from misc.export import main as export
from misc.search.person_search import PersonSearch
from tests.command_line import parse
from tests.conftest import SMALL
from tests.export.conftest import DEMO
from tests.export.runs import write_run

LORA = "lora={rank: 2, targets: [attention, mlp]}"
SENTENCES = ["a man in red", "a woman with a bag"]


@pytest.fixture(scope="module")
def base(tmp_path_factory, places) -> Path:
    """A small CLIP of squares, as transformers has it."""
    folder = tmp_path_factory.mktemp("base")
    words = ["data.image_size=32", "model.activation=gelu"]
    run = write_run(folder / "run", parse(["--config", DEMO, *SMALL, *places, *words]).configure())
    assert export([str(run), str(folder / "hub"), "--format", "huggingface"]) == 0
    return folder / "hub"


@pytest.fixture
def tune(base, places, tmp_path):
    """A run with LoRA beside those weights."""

    def tune(*words: str) -> Path:
        own = ["--config", DEMO, *SMALL, *places, "data.image_size=32", LORA, *words]
        config = parse([*own, f"model.clip_pretrained={base}"]).configure()
        return write_run(tmp_path / "run", config)

    return tune


@torch.inference_mode()
def test_the_adapter_and_the_merged_weights_give_the_features_of_the_run(tune, base, tmp_path):
    run = tune()
    people = PersonSearch(run, "cpu")  # LoRA beside the weights
    images, tokens = torch.randn(3, 3, 32, 32), people.encoder.sentences.tokenize(SENTENCES)
    tokens = tokens.collate([tokens[0], tokens[1]])
    assert export([str(run), str(tmp_path / "adapter"), "--format", "peft"]) == 0
    assert export([str(run), str(tmp_path / "merged"), "--format", "huggingface"]) == 0
    plain = AutoModel.from_pretrained(base)
    tuned = PeftModel.from_pretrained(AutoModel.from_pretrained(base), str(tmp_path / "adapter"))
    merged = AutoModel.from_pretrained(tmp_path / "merged")
    for model, is_tuned in ((tuned, True), (merged, True), (plain, False)):
        image = model.eval().get_image_features(pixel_values=images).pooler_output
        text = model.get_text_features(input_ids=tokens).pooler_output
        off = (F.normalize(image, dim=-1) - people.encoder.encode(images)).abs().max()
        assert (off < 1e-5) == is_tuned
        off = (F.normalize(text, dim=-1) - people.encode_texts(SENTENCES)).abs().max()
        assert (off < 1e-5) == is_tuned
    size = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    assert size < 0.1 * (tmp_path / "merged" / "model.safetensors").stat().st_size


def test_an_adapter_of_another_image_size_has_no_base(tune, tmp_path, capsys):
    assert (
        export([str(tune("data.image_size=[32, 16]")), str(tmp_path / "x"), "--format", "peft"])
        == 2
    )
    error = capsys.readouterr().err
    assert "was tuned at another image size or caption length than" in error
    assert "give --format huggingface, which merges LoRA" in error
    assert not (tmp_path / "x").exists()


def test_a_run_without_lora_has_no_adapter(text_run, tmp_path, capsys):
    assert export([str(text_run), str(tmp_path / "x"), "--format", "peft"]) == 2
    assert "was not tuned by lora" in capsys.readouterr().err
