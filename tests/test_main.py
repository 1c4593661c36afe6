"""The command line as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import main
import options
from misc.runtime.checkpoint import LAST
from misc.synthetic.writing import write_dataset
from tests.command_line import latest, parse
from tests.conftest import SMALL

ROOT = Path(main.__file__).parent
DEMO = str(options.RECIPES / "demo.yaml")


@pytest.fixture
def fail(places, tmp_path, monkeypatch, capsys):
    """Run main.py on something wrong; the result is its one sentence."""
    monkeypatch.chdir(tmp_path)

    def fail(*words: str) -> str:
        arguments = ["main.py", "--config", DEMO, *SMALL, *places, "schedule.epoch=1", *words]
        monkeypatch.setattr(sys, "argv", latest(arguments))
        with pytest.raises(SystemExit) as caught:
            main.main()
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return fail


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data.batchsize=4"], "did you mean data.batch_size?"),
        (["data.annotation_file=absent.json"], "absent.json does not exist"),
        (["data.annotation_file=null"], "data.annotation_file is not set"),
        (["data.image_root=absent"], "data.image_root: none of the annotated images"),
        (["model.clip_pretrained=absent.pt"], "absent.pt"),
        (["model.freeze=[vision]"], "no parameter's name starts with 'vision'"),
        (["model.freeze=[visual, text, logit_scale]"], "freezes every parameter"),
        (["data.batch_size=100000"], "larger than the training set"),
        (["--evaluate", "absent"], "absent does not exist"),
        (["--resume", "absent"], "absent does not exist"),
        (["--backbone", "altclip"], "projection_dim is 768, but embed_dim is 16"),
        (["--device", "gpu"], "--device gpu: unknown device"),
        (["experiment.text_augment=replacement"], "nltk"),
        (["--device", "mps"], "--device mps: unknown device"),
        (["distributed.backend=nccl"], "distributed.backend=nccl needs GPUs"),
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--epochs", "3"], "--epochs"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(fail, tmp_path, words, sentence):
    assert sentence in fail(*words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unreadable_picture_stops_the_training_in_a_sentence(fail, tmp_path, num_workers):
    written = write_dataset(
        "cuhk-pedes", tmp_path / "data", identities={"train": 4}, images=(2, 2), height=(40, 48)
    )
    for picture in written.image_root.rglob("*.jpg"):
        picture.write_bytes(b"no picture")
    error = fail(
        f"data.annotation_file={written.annotation_file}",
        f"data.image_root={written.image_root}",
        f"data.num_workers={num_workers}",
    )
    assert error.startswith(f"error: image {written.image_root}")
    assert "cannot be read" in error
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_features_replace_no_checkpoint(fail, tmp_path):
    checkpoint = tmp_path / "checkpoint_best.pt"
    checkpoint.write_bytes(b"PK, as all checkpoints begin")
    error = fail("--evaluate", str(tmp_path), "--save-features", str(checkpoint))
    assert f"--save-features: {checkpoint} exists and is not a file of features" in error
    assert checkpoint.read_bytes() == b"PK, as all checkpoints begin"


def test_a_checkpoint_of_another_architecture_is_refused(fail, places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--config", DEMO, "--output", "run", *SMALL, *places, "schedule.epoch=1"]
    main.run(parse(arguments))
    wider = "model.text={width: 64, layers: 1, heads: 2}"
    for change, key in (
        ("data.image_size=[48, 16]", "data.image_size is (32, 16)"),
        ("model.embed_dim=24", "model.embed_dim is 16"),
        (wider, "model.text is"),
    ):
        error = fail("--evaluate", "run", change)
        assert "the checkpoint has another architecture" in error
        assert key in error


def test_help_and_mistyped_keys_do_not_wait_for_torch():
    code = (
        "import sys, main, options\n"
        "try: main.main()\n"
        "finally: assert 'torch' not in sys.modules, 'torch was imported'"
    )
    for arguments, status in ((["--help"], 0), (["data.batchsize=4"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


def test_the_published_command_trains_on_four_ranks(places, tmp_path):
    """As TBPS-CLIP's authors start it, with tiny towers, on CPUs."""
    settings = (*SMALL, *places, "model.clip_pretrained=null", "data.batch_size=2")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--rdzv_id=3", "--rdzv_backend=c10d"),
        *("--rdzv_endpoint=localhost:0", "--nnodes=1", "--nproc_per_node=4"),
        *("main.py", "--simplified", "--output", str(tmp_path / "run"), "schedule.epoch=1"),
        *latest(settings),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"CUDA_VISIBLE_DEVICES": "0,1,2,3", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test split: epoch 1, the best on val") == 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert [row["split"] for row in rows if "split" in row] == ["val", "val", "test", "test"]
    saved = torch.load(tmp_path / "run" / LAST, weights_only=True)
    assert saved["config"]["experiment"]["mvs_image"] is False
    assert saved["config"]["misc"]["seed"] == 0
    assert saved["recipe"] == "tbps_clip-simplified"
