"""The command line of an export, published names, the upload to the hub."""

import os
from pathlib import Path
from typing import ClassVar

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from torch import Tensor

import options
from errors import InputError
from misc.export import main as export
from misc.export.command import FOLDERS
from misc.export.hub import push
from misc.export.output_folder import whole_folder
from misc.export.preparation import public_config
from misc.export.trained_model import TrainedModel
from misc.runtime.checkpoint import BEST, open_checkpoint
from misc.settings.yaml12 import read_yaml
from misc.tasks.reid.data import TrainingCounts
from model.weights.published.format import Geometry
from model.weights.published.tbps_clip import to_tbps_clip
from tests.command_line import parse
from tests.conftest import SMALL
from tests.export.runs import write_reid_run

REID = ["--config", str(options.RECIPES / "clipreid_vit.yaml"), *SMALL]
REID += ["model.clip_pretrained=null", "reid.root=none", "reid.sie=camera"]


def test_a_reidentification_run_in_clip_reids_names_is_read_back(tmp_path):
    run = write_reid_run(tmp_path / "run", parse(REID).configure(), TrainingCounts(4, 3, 1))
    file = tmp_path / "clip_reid.pth"
    assert export([str(run), str(file), "--format", "clip-reid"]) == 0
    names = torch.load(file).keys()
    assert {"image_encoder.conv1.weight", "bottleneck.weight", "cv_embed"} < names
    geometry = Geometry((32, 16), heads=(2, 2))
    published = open_checkpoint(file, geometry=lambda _: geometry)
    own = open_checkpoint(run, BEST)
    assert published.recipe == "CLIP-ReID"
    assert published.state.keys() == own.state.keys()
    for name, tensor in own.state.items():
        if (
            name != "prompts.text.token_embedding.weight"
        ):  # places of the words, which are elsewhere
            assert torch.equal(published.state[name], tensor), name


def test_a_file_in_published_names_is_compared_with_the_checkpoint(
    text_run, tmp_path, monkeypatch, capsys
):
    file = tmp_path / "tbps_clip.pth"
    assert export([str(text_run), str(file)]) == 0
    printed = capsys.readouterr().out
    assert "image tower: features in tbps_clip.pth differ from the checkpoint's by at" in printed
    assert "text tower: features in tbps_clip.pth" in printed
    file.unlink()

    def turned(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**to_tbps_clip(state), "visual.proj": -state["clip.visual.proj"]}

    monkeypatch.setattr("misc.export.published.to_tbps_clip", turned)
    assert export([str(text_run), str(file)]) == 2
    assert "the image tower gives other features in tbps_clip.pth" in capsys.readouterr().err
    assert not file.exists()


REFUSED = {
    "--format clip-reid": "is a text-to-image model, which CLIP-ReID's code does not know",
    "--precision int8": "--precision int8 goes with --format onnx alone",
    "--measure --format torch": "--measure goes with --format onnx alone",
    "--push somebody/model": "--push uploads a folder: give --format huggingface or",
    "--push somebody --format torch": "give a repository on the hub as ORG/NAME",
    "--public": "--public goes with --push alone",
    "--format tflite": "invalid choice",
}


@pytest.mark.parametrize("words", REFUSED)
def test_options_that_do_not_fit_are_refused(words, text_run, tmp_path, capsys):
    assert export([str(text_run), str(tmp_path / "x"), *words.split()]) == 2
    assert REFUSED[words] in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_a_folder_is_whole_or_absent(tmp_path):
    def fail() -> None:
        with whole_folder(tmp_path / "a" / "x") as folder:
            (folder / "file").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not [*(tmp_path / "a").iterdir()]
    with whole_folder(tmp_path / "a" / "x") as folder:
        (folder / "file").write_text("whole")
    assert (tmp_path / "a" / "x" / "file").read_text() == "whole"
    with (
        pytest.raises(InputError, match="x exists: name another"),
        whole_folder(tmp_path / "a" / "x"),
    ):
        pass


def test_an_exported_folder_reaches_the_disk_before_its_name(tmp_path, monkeypatch):
    synced, output = [], tmp_path / "x"

    def sync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((str(path.relative_to(tmp_path)), output.exists()))

    monkeypatch.setattr(os, "fsync", sync)
    with whole_folder(output) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("whole")
    partial = [f"x.partial{name}" for name in ("", "/deep", "/deep/file")]
    assert sorted(synced) == [(".", True), *((name, False) for name in partial)]


class FakeHub:
    """The hub's client, without the hub."""

    fault: Exception | None = None
    calls: ClassVar[list[tuple]] = []
    private = False

    def create_repo(self, repo_id, exist_ok, private):
        self.calls.append(("create", repo_id, exist_ok, private))
        FakeHub.private = private
        if self.fault:
            raise self.fault

    def upload_folder(self, repo_id, folder_path, commit_message):
        files = sorted(file.name for file in folder_path.iterdir())
        self.calls.append(("upload", repo_id, files))

    def model_info(self, repo_id):
        return huggingface_hub.ModelInfo(id=repo_id, private=self.private)


def answer(status: int) -> HfHubHTTPError:
    from huggingface_hub.utils import get_session  # its own client has the class of answers

    response_class = type(get_session().build_request("GET", "http://x")).__module__.split(".")[0]
    client = __import__(response_class)
    request = client.Request("GET", "https://huggingface.co/api")
    return HfHubHTTPError("told no", response=client.Response(status, request=request))


@pytest.fixture
def hub(monkeypatch) -> type[FakeHub]:
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    monkeypatch.setattr(FakeHub, "calls", [])
    return FakeHub


def write_little(trained: TrainedModel, folder: Path) -> None:
    (folder / "weights").write_text(trained.file.name)


@pytest.mark.parametrize(("option", "readers"), [([], "private"), (["--public"], "public")])
def test_an_export_is_pushed(hub, option, readers, text_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(FOLDERS, "torch", "tests.export.test_command:write_little")
    words = ["--format", "torch", "--push", "somebody/model", *option]
    assert export([str(text_run), str(tmp_path / "little"), *words]) == 0
    create, upload = hub.calls
    assert create == ("create", "somebody/model", True, readers == "private")
    assert upload == ("upload", "somebody/model", ["README.md", "weights"])
    assert f"https://huggingface.co/somebody/model ({readers})" in capsys.readouterr().out
    assert "# somebody/model" in (tmp_path / "little" / "README.md").read_text()


def test_a_published_configuration_names_no_folders(text_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret" / "clip").mkdir(parents=True)
    words = [
        "data.annotation_file=../secret/data.json",
        "data.image_root=secret/pictures",
        "data.train_sets=[{name: more, annotation_file: secret/a.json, image_root: ~/secret/b}]",
        "data.noise={file: secret/noise.npy}",
        "data.cache_folder=secret/cache",
        "model.init_from=secret/run.pt",
        "model.tokenizer_cache_dir=secret/hub",
        "model.altclip_pretrained=BAAI/AltCLIP",
    ]
    sources = {
        "secret/clip": "clip",
        "/secret/a/clip.pt": "clip.pt",
        "local-dir:secret/clip": "local-dir:clip",
        "hf:openai/clip": "hf:openai/clip",
        "open_clip:RN50-quickgelu/openai": "open_clip:RN50-quickgelu/openai",
    }
    for source, public in sources.items():
        trained = TrainedModel.open(text_run, [*words, f"model.clip_pretrained={source}"])
        written = read_yaml(public_config(trained), "it")
        assert "secret" not in str(written)
        assert written["model"]["clip_pretrained"] == public
        assert written["model"]["altclip_pretrained"] == "BAAI/AltCLIP"
        assert written["data"]["train_sets"][0]["annotation_file"] == "a.json"


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (LocalTokenNotFoundError("none"), "no valid token, run `hf auth login`"),
        (answer(401), "no valid token"),
        (answer(403), "the token has no right to write there"),
        (answer(500), "the hub answered 500"),
        (ConnectionError("no route to host"), "the hub cannot be reached (no route to host)"),
    ],
)
def test_a_failed_upload_is_one_sentence(hub, monkeypatch, tmp_path, fault, sentence):
    monkeypatch.setattr(hub, "fault", fault)
    with pytest.raises(InputError) as caught:
        push(tmp_path, "somebody/model")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [call[0] for call in hub.calls] == ["create"]
