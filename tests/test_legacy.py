"""Files that the code of 2026-11-24 (commit 3b5375d) left evaluate and go on as they did then."""

import json
import lzma
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file

import main
import options
from misc.retrieval.features import load_features
from misc.runtime.checkpoint import open_checkpoint
from misc.synthetic.writing import write_dataset, write_reid_dataset
from misc.tasks.starting_weights import geometry
from misc.tasks.text.model import restored_model
from tests.legacy.old_views import make_views
from text_utils.captions import clean_caption
from text_utils.tokenizer import ClipTokenizer

LEGACY = Path(__file__).parent / "legacy"
LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"
MEASURED = ("samples_per_second", "peak_memory_gib")  # of the machine, not of the model
# What the names and shapes in the files of other projects do not tell.
UNTOLD = (
    "data.image_size=[32,16]",
    "data.test_batch_size=16",
    "data.num_workers=0",
    "evaluation.ranked_lists=0",
    "experiment.simclr_mlp=[16, 8, 16]",
    "model.embed_dim=16",
    "model.clip_pretrained=null",
    "model.vision={width: 16, layers: 2, heads: 1, patch_size: 8}",
    "model.text={width: 16, layers: 2, heads: 1}",
)


@pytest.fixture(scope="session")
def text_places(tmp_path_factory) -> tuple[str, ...]:
    """The pedestrians that the text runs learnt from, drawn again."""
    drawn = write_dataset(
        "cuhk-pedes",
        tmp_path_factory.mktemp("legacy_text"),
        identities={"train": 12, "val": 4, "test": 6},
        images=(2, 2),
        height=(40, 64),
    )
    return f"data.annotation_file={drawn.processed}", f"data.image_root={drawn.image_root}"


@pytest.fixture(scope="session")
def reid_places(tmp_path_factory) -> tuple[str, ...]:
    """The same for re-identification."""
    drawn = write_reid_dataset(
        "market1501",
        tmp_path_factory.mktemp("legacy_reid"),
        identities={"train": 6, "test": 4},
        images=(4, 5),
        height=(32, 48),
    )
    return (f"reid.root={drawn.root}",)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[..., None]:
    """`python main.py`, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["main.py", *words])
        main.main()

    return run


@pytest.fixture
def evaluate(run) -> Callable[..., None]:
    """Evaluate a kept file, and compare with what the old code found."""

    def evaluate(kept: str, told: str, *words: str) -> None:
        file = unpack(kept, Path(kept).name)
        run("--evaluate", str(file), "--output", "evaluated", *words)
        assert_same_results(Path("evaluated"), told)

    return evaluate


def read(name: str) -> bytes:
    """The content of a kept file."""
    return lzma.decompress((LEGACY / f"{name}.xz").read_bytes())


def unpack(name: str, to: str | Path) -> Path:
    """A kept file, decompressed to another place."""
    file = Path(to)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(read(name))
    return file


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested JSON, each with its path."""
    if isinstance(tree, dict | list):
        parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, part in parts:
            yield from leaves(part, f"{name}/{key}")
    else:
        yield name, tree


def assert_same_results(folder: Path, told: str) -> None:
    """results.json in a folder against a kept one, in percent."""
    found = dict(leaves(json.loads((folder / "results.json").read_text(encoding="utf-8"))))
    expected = dict(leaves(json.loads(read(told))))
    found.pop("/recipe", None)  # which the kept ones are too old to have
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (value if value is None else pytest.approx(value, rel=0, abs=1e-9))


def assert_same_features(file: Path, told: str) -> None:
    """Saved features against kept ones."""
    found, expected = load_file(file), load_file(unpack(told, "expected.safetensors"))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5, msg=name)


def assert_same_rows(file: Path, told: str) -> None:
    """metrics.jsonl against a kept one, row by row."""
    found, expected = file.read_text(encoding="utf-8"), read(told).decode()
    rows = [[json.loads(line) for line in text.splitlines()] for text in (found, expected)]
    for own, other in zip(*rows, strict=True):
        own.pop("seconds", None)  # which the kept ones are too old to have
        assert own.keys() == other.keys()
        for name in own.keys() - set(MEASURED):
            if isinstance(other[name], float):
                assert own[name] == pytest.approx(other[name], rel=1e-5, abs=1e-6), (name, other)
            else:
                assert own[name] == other[name]


def assert_same_weights(file: Path, told: str) -> None:
    """A checkpoint's weights against those of a kept one.

    On the machine that made the kept ones, and with as many threads, they are equal bit by bit.
    """
    expected = torch.load(unpack(told, "expected.pt"), weights_only=True)
    found = torch.load(file, weights_only=True)
    assert found["epoch"] == expected["epoch"]
    assert found["model"].keys() == expected["model"].keys()
    for name, tensor in expected["model"].items():
        # This one's gradient is zero but for rounding, and Adam makes whole steps of that.
        atol = 2e-2 if name.endswith("k_proj.bias") else 1e-6
        torch.testing.assert_close(found["model"][name], tensor, rtol=1e-4, atol=atol, msg=name)


@pytest.mark.parametrize(
    ("kind", "places", "checkpoints"),
    [("text", "text_places", (LAST, BEST)), ("reid", "reid_places", (LAST,))],
)
def test_an_interrupted_run_goes_on_as_it_would_have(
    run, request, monkeypatch, kind, places, checkpoints
):
    """From within the second epoch, and of re-identification within the second stage. Views are
    made otherwise since then: here they are made as they were.
    """
    monkeypatch.setattr("misc.data.text.make_views", make_views)
    for name in ("config.yaml", "metrics.jsonl", "log.txt", *checkpoints):
        unpack(f"{kind}/interrupted/{name}", f"run/{name}")
    run("--resume", "run", *request.getfixturevalue(places))
    assert_same_rows(Path("run/metrics.jsonl"), f"{kind}/finished/metrics.jsonl")
    assert_same_results(Path("run"), f"{kind}/finished/results.json")
    for name in checkpoints:
        assert_same_weights(Path("run") / name, f"{kind}/finished/{name}")


@pytest.mark.parametrize(
    ("kind", "places", "name"),
    [("text", "text_places", BEST), ("reid", "reid_places", LAST)],
)
def test_a_finished_run_gives_the_same_features(evaluate, request, kind, places, name):
    words = ("--save-features", "features.safetensors", *request.getfixturevalue(places))
    evaluate(f"{kind}/finished/{name}", f"{kind}/evaluated/results.json", *words)
    assert_same_features(Path("features.safetensors"), f"{kind}/evaluated/features.safetensors")


@pytest.mark.parametrize("way", ["lora", "cskt"])
def test_what_was_tuned_goes_with_its_frozen_weights(evaluate, text_places, way):
    pretrained = unpack("pretrained.pt", "weights/pretrained.pt")
    words = (f"model.clip_pretrained={pretrained}", *text_places)
    evaluate(f"tuned/{way}.pt", f"tuned/{way}.json", *words)


@pytest.mark.parametrize(
    ("name", "recipe", "places"),
    [
        ("tbps_clip", "config.yaml", "text_places"),
        ("irra", "config.yaml", "text_places"),
        ("cskt", "cskt.yaml", "text_places"),
        ("clip_reid", "clipreid_vit.yaml", "reid_places"),
    ],
)
def test_a_file_in_the_names_of_another_project(evaluate, request, name, recipe, places):
    sie = ("reid.sie=camera",) if name == "clip_reid" else ()
    words = ("--config", str(options.RECIPES / recipe), *UNTOLD, *sie)
    # Captions went through the cleaning then; IRRA's and CSKT's own code has none.
    words += (*request.getfixturevalue(places), "experiment.clean_captions=true")
    evaluate(f"published/{name}.pth", f"published/{name}.json", *words)


@pytest.mark.parametrize("name", ["tbps_clip", "irra", "cskt"])
def test_captions_are_cleaned_as_each_project_does(run, text_places, name):
    file = unpack(f"published/{name}.pth", f"{name}.pth")
    recipe = "cskt.yaml" if name == "cskt" else "config.yaml"
    words = ("--config", str(options.RECIPES / recipe), *UNTOLD, *text_places)
    run("--evaluate", str(file), "--save-features", "found", "--output", "out", *words)
    cleans = yaml.safe_load(Path("out/config.yaml").read_text())["experiment"]["clean_captions"]
    assert cleans == (name == "tbps_clip")

    config = options.parse(words).configure()
    checkpoint = open_checkpoint(file, geometry=lambda _: geometry(config))
    model = restored_model(config, checkpoint, with_heads=False).eval()
    found = load_features("found")
    captions = [clean_caption(c) if cleans else c for c in found.captions]
    assert captions != list(found.captions) or not cleans
    with torch.no_grad():
        features = model.encode_text(ClipTokenizer()(captions, config.experiment.text_length))
    torch.testing.assert_close(found.text, F.normalize(features), rtol=0, atol=1e-5)


def test_a_configuration_of_that_time_is_read(run, text_places):
    """By `--config`, though keys have come since; captions are cleaned as they were then."""
    file = unpack("text/interrupted/config.yaml", "config.yaml")
    config = options.parse(["--config", str(file), *text_places]).configure()
    assert config.experiment.clean_captions
    assert config.experiment.losses == {}


def test_a_run_of_that_time_keeps_its_cleaning_under_a_recipe_without_it(text_places):
    """Resumed by the command that began it, as clusters do."""
    saved = options.to_tree(options.parse(text_places).configure())
    command = options.parse(["--config", str(options.RECIPES / "cskt.yaml"), *text_places])
    assert not command.configure(saved).experiment.clean_captions
    del saved["experiment"]["clean_captions"]
    assert command.configure(saved).experiment.clean_captions
    asked = options.parse(
        [
            "--config",
            str(options.RECIPES / "cskt.yaml"),
            *text_places,
            "experiment.clean_captions=false",
        ]
    )
    assert not asked.configure(saved).experiment.clean_captions


def test_altclip(evaluate, text_places):
    archive = unpack("altclip/folder.tar", "folder.tar")
    with tarfile.open(archive) as content:
        content.extractall(".", filter="data")
    words = ("model.altclip_pretrained=folder", *text_places)
    evaluate("altclip/checkpoint.pt", "altclip/checkpoint.json", *words)
