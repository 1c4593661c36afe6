"""Runs as ONNX and as programs of torch.export."""

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from onnx import load_model, save_model
from tokenizers import Tokenizer
from torch import Tensor

import options
import search
from errors import InputError
from misc.export import main as export
from misc.export.accuracy import compare_accuracy
from misc.export.onnx_precision import change_precision
from misc.export.onnx_programs import convert
from misc.export.towers import Tower, build_towers, check_features, check_rounded, trace
from misc.export.trained_model import TrainedModel
from misc.search.exported import Exported
from misc.search.onnx_folder import open_onnx
from misc.search.person_search import PersonSearch
from misc.tasks.reid.data import TrainingCounts
from tests.archives import write_openai_archive
from tests.command_line import parse
from tests.conftest import SMALL
from tests.export.conftest import DEMO
from tests.export.runs import write_reid_run, write_run

SENTENCES = ["a woman in a red coat", "a man, with a black backpack!", "somebody"]


@pytest.fixture(scope="module")
def own(text_run) -> PersonSearch:
    return PersonSearch(text_run, "cpu")


@pytest.fixture(scope="module")
def onnx(onnx_folder) -> PersonSearch:
    return PersonSearch(onnx_folder, "cpu")


def close(features: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_onnx_gives_the_features_of_the_checkpoint(own, onnx, pedestrians, count):
    files = sorted(Path(pedestrians.image_root).rglob("*.jpg"))[:count]
    close(onnx.encode_images(files), own.encode_images(files))
    close(onnx.encode_texts(SENTENCES[:count]), own.encode_texts(SENTENCES[:count]))


def test_search_ranks_with_onnx_as_with_the_checkpoint(own, onnx, pedestrians, tmp_path, capsys):
    location = str(tmp_path / "people.index")
    onnx.index(location).add(pedestrians.image_root, workers=0)
    for sentence in SENTENCES:
        found, expected = (each.index(location).search(sentence, top=20) for each in (onnx, own))
        assert [hit.path for hit in found] == [hit.path for hit in expected]
        assert len(found) == 20
    assert search.main(["query", "--index", location, SENTENCES[-1], "--top", "20", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [hit["path"] for hit in printed] == [hit.path for hit in expected]


def test_the_description_is_enough_to_encode_a_sentence(onnx, onnx_folder):
    """With onnxruntime and tokenizers, as somebody does who has nothing of this project."""
    described = json.loads((onnx_folder / "preprocessing.json").read_text())["text"]
    tokenizer = Tokenizer.from_file(str(onnx_folder / described["tokenizer"]))
    tokenizer.enable_truncation(described["length"])
    tokenizer.enable_padding(length=described["length"], pad_id=described["pad_id"])
    ids = torch.tensor([each.ids for each in tokenizer.encode_batch(SENTENCES)])
    close(onnx.encoder.sentences.encode(ids), onnx.encode_texts(SENTENCES))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precisions_are_smaller_and_nearly_the_same(
    precision, onnx_folder, text_run, own, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(  # the conversion to fp32 is the same
        "misc.export.onnx_programs.convert",
        lambda _, file: shutil.copyfile(onnx_folder / file.name, file),
    )
    folder = tmp_path / precision
    words = ["--format", "onnx", "--precision", precision]
    assert export([str(text_run), str(folder), *words]) == 0
    printed = capsys.readouterr().out
    size, whole = (
        sum(f.stat().st_size for f in each.glob("*.onnx")) for each in (folder, onnx_folder)
    )
    assert size < {"fp16": 0.55, "int8": 0.3}[precision] * whole
    lower = PersonSearch(folder, "cpu")
    assert lower.encoder.model_hash != own.encoder.model_hash
    rounded, whole_precision = lower.encode_texts(SENTENCES), own.encode_texts(SENTENCES)
    assert not torch.equal(rounded, whole_precision)
    assert torch.cosine_similarity(rounded, whole_precision).min() > 0.98
    for name in ("image", "text"):
        (least,) = re.findall(
            rf"{name}.onnx \({precision}\) have a cosine of at least (\S+)", printed
        )
        assert 0.98 < float(least) <= 1
    assert printed.count("on the test split: R1") == printed.count(f"in {precision} ONNX") == 2
    assert "text to image: the first match has another rank for" in printed


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_rounded_weights_of_a_large_tower_stay_beside_it(
    precision, onnx_folder, text_run, tmp_path
):
    image, _ = build_towers(TrainedModel.open(text_run))
    file, weights = tmp_path / "image.onnx", tmp_path / "image.onnx.data"
    model = load_model(onnx_folder / file.name)
    save_model(model, str(file), save_as_external_data=True, location=weights.name)
    whole = weights.stat().st_size
    change_precision(file, precision)
    assert {*tmp_path.iterdir()} == {file, weights}
    assert weights.stat().st_size < {"fp16": 0.55, "int8": 0.3}[precision] * whole
    check_rounded(image, session(file), "ONNX")


def test_onnx_ranks_the_test_split_as_the_checkpoint(text_run, onnx_folder, capsys):
    compare_accuracy(TrainedModel.open(text_run), open_onnx(onnx_folder).encoder, "fp32")
    printed = capsys.readouterr().out
    assert printed.count("(+0.00)") == 2
    assert "text to image: the first match has another rank for 0 of" in printed


def test_features_that_are_not_finite_are_refused():
    """As where a value is beyond the range of fp16."""
    tower = Tower("image", lambda x: x, lambda count: torch.ones(count, 3), [])
    check_rounded(tower, lambda x: x.half().float(), "it")
    with pytest.raises(InputError, match="the image tower gives features in it that are not fin"):
        check_rounded(tower, lambda x: (x * 1e5).half().float(), "it")


def test_without_data_the_loss_is_not_measured(text_run, onnx_folder, capsys):
    trained = TrainedModel.open(text_run, ["data.annotation_file=nowhere"])
    compare_accuracy(trained, open_onnx(onnx_folder).encoder, "int8")
    assert "The loss of int8 in R1 was not measured: " in capsys.readouterr().out


@torch.library.custom_op("tests::unknown", mutates_args=())
def unknown(x: Tensor) -> Tensor:
    """An operation that ONNX lacks."""
    return x.clone()


unknown.register_fake(lambda x: torch.empty_like(x))


def test_an_operation_that_onnx_lacks_is_named(tmp_path):
    tower = Tower("image", lambda x: unknown(x), lambda count: torch.randn(count, 3), [])
    with pytest.raises(InputError, match=r"no operation for tests\.unknown.* of the image tower"):
        convert(tower, tmp_path / "image.onnx")


def test_other_features_are_refused():
    tower = Tower("image", lambda x: x, lambda count: torch.randn(count, 3), [])
    with pytest.raises(InputError, match="other features in it"):
        check_features(tower, lambda x: x + 1e-4, "it")
    with pytest.raises(InputError, match="other features in it"):
        check_features(tower, lambda x: x * torch.nan, "it")


def test_missing_packages_are_named(text_run, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    lacking = ("onnx", "onnxruntime")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in lacking else find(name)
    )
    assert export([str(text_run), str(tmp_path / "onnx"), "--format", "onnx"]) == 2
    assert (
        "misc.export --format onnx needs onnx, onnxscript and onnxruntime: pip install onnx "
        "onnxscript onnxruntime" in capsys.readouterr().err
    )


def test_a_damaged_folder_is_refused(onnx_folder, tmp_path):
    folder = shutil.copytree(onnx_folder, tmp_path / "damaged")
    with pytest.raises(InputError, match="was exported with its configuration"):
        PersonSearch(folder, "cpu", config=DEMO)
    (folder / "text.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"text\.onnx cannot be read"):
        PersonSearch(folder, "cpu")
    (folder / "preprocessing.json").write_text('{"task": 1}')
    with pytest.raises(InputError, match=r"preprocessing\.json is damaged"):
        PersonSearch(folder / "image.onnx", "cpu")


def test_a_reidentification_model_is_one_program(tmp_path):
    recipe = str(options.RECIPES / "clipreid_vit.yaml")
    words = ["model.clip_pretrained=null", "reid.root=none", "reid.flip=true", "reid.sie=camera"]
    config = parse(["--config", recipe, *SMALL, *words]).configure()
    run = write_reid_run(tmp_path / "run", config, TrainingCounts(4, 3, 1))
    assert export([str(run), str(tmp_path / "torch"), "--format", "torch"]) == 0
    assert not (tmp_path / "torch" / "text.pt2").exists()
    module = torch.export.load(tmp_path / "torch" / "image.pt2").module()
    images = torch.randn(4, 3, 32, 16)
    with torch.inference_mode():
        close(module(images), PersonSearch(run, "cpu").encoder.encode(images))
        close(module(images.flip(-1)), module(images))
    exported = Exported.read(tmp_path / "torch")
    assert (exported.task, exported.text, exported.width) == ("image_to_image", None, 48)


def test_a_second_embedding_is_part_of_the_program(places, tmp_path):
    words = ["model.token_selection={embed_dim: 24, ratio: 0.3}", "experiment.sdm=true"]
    config = parse(["--config", DEMO, *SMALL, *places, *words]).configure()
    trained = TrainedModel.open(write_run(tmp_path / "run", config))
    _, text = build_towers(trained)
    assert text.width == 16 + 24
    convert(text, tmp_path / "text.onnx")
    check_features(text, session(tmp_path / "text.onnx"), "ONNX")


def session(file: Path) -> Callable[[Tensor], Tensor]:
    """An ONNX file as a function of its input."""
    opened = onnxruntime.InferenceSession(str(file))
    (given,) = (each.name for each in opened.get_inputs())
    return lambda inputs: torch.from_numpy(opened.run(None, {given: inputs.numpy()})[0])


def test_equal_values_are_sorted_in_onnx_as_in_torch(tmp_path):
    def order(values: Tensor) -> Tensor:
        return values.argsort(dim=1, descending=True, stable=True).float()

    tower = Tower(
        "image", order, lambda count: torch.arange(50.0).remainder(4).repeat(count, 1), []
    )
    convert(tower, tmp_path / "image.onnx")
    check_features(tower, session(tmp_path / "image.onnx"), "ONNX")


def test_prompts_and_adapters_are_part_of_the_program(places, tmp_path):
    archive = tmp_path / "small.pt"
    write_openai_archive(archive, embed_dim=32)
    words = ["prompts.depth=2", "data.global_batch_size=null", "model.embed_dim=32"]
    recipe = ["--config", str(options.RECIPES / "cskt.yaml"), *SMALL, *places, *words]
    config = parse([*recipe, f"model.clip_pretrained={archive}"]).configure()
    run, folder = write_run(tmp_path / "run", config), tmp_path / "onnx"
    assert export([str(run), str(folder), "--format", "onnx"]) == 0
    own, onnx = (PersonSearch(each, "cpu") for each in (run, folder))
    close(onnx.encode_texts(SENTENCES), own.encode_texts(SENTENCES))
    text = own.encoder.model.clip.text
    assert Exported.read(folder).text.length == text.room < config.experiment.text_length
    trained = TrainedModel.open(run)
    image, _ = build_towers(trained)
    module = trace(image).module()
    check_features(image, module, "its program")
    inputs = image.sample(2)
    before = module(inputs)
    trained.encoder.model.clip.prompts.image.data.mul_(-1)
    assert not torch.allclose(image(inputs), before, atol=1e-2)
