"""The benchmarks of speed in their small form, where only what they need is installed."""

import json
import os
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from benchmarks import gpu, growth, open_clip_step, records, start, step, steps
from benchmarks.authors_step import authors_step
from benchmarks.open_clip_step import build_open_clip_step
from benchmarks.records import NOT_MEASURED, Record
from benchmarks.steps import RECIPES, SMALL, build_step, tower_operations
from errors import InputError
from misc.runtime.distributed import Processes
from tests import ROOT
from tests.command_line import configure
from tests.forking import CONTEXT
from tests.ranks import run_ranks

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
# All that a machine with PyTorch, transformers and a few carried wheels lacks.
ABSENT = (
    *("lancedb", "pyarrow", "av", "matplotlib", "tensorboard", "sentencepiece", "gradio", "nltk"),
    *("timm", "cv2", "sklearn", "optuna", "onnx", "pandas", "scipy"),
)
BLOCKED = """
import runpy, sys
sys.modules.update(dict.fromkeys({absent!r}))
sys.argv[1:] = {arguments!r}
runpy.run_module("benchmarks.gpu", run_name="__main__")
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[str, dict]:
    """The rows of the small form on a machine that lacks packages, and a compiler."""
    folder = tmp_path_factory.mktemp("speed")
    file = folder / "gpu.json"
    arguments = ["--output", str(file), "--device", "cpu", "--small", "--workers", "1"]
    made = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(absent=ABSENT, arguments=arguments)],
        cwd=ROOT,
        env={**os.environ, "PATH": str(folder), "CXX": "absent", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    tree = json.loads(file.read_text())
    assert tree["machine"]["torch"] == torch.__version__.split("+")[0]
    return tree["rows"]


def test_every_recipe_is_measured(rows):
    for name in RECIPES:
        assert rows[f"{name}: batch 8"]["samples/s"] > 0, name
        in_parts = rows.get(f"{name}: batch 32 in parts", {NOT_MEASURED: "refused"})
        assert ("samples/s" in in_parts) == RECIPES[name].in_parts, name


def test_rows_that_cannot_be_measured_say_why(rows):
    for recipe, words in (
        *((gpu.SIMPLIFIED, words) for words in (gpu.COMPILED, gpu.AUTOTUNED)),
        (gpu.FULL, gpu.COMPILED),
    ):
        row = rows[f"{recipe}: a step, {words}"]
        assert "No working C++ compiler" in row[NOT_MEASURED]
    assert rows["parity of losses"]["GPU against CPU, fp32"] == "not measured: there is no GPU"
    assert 0 < rows["parity of losses"]["bf16 against fp32"] < 0.02


def test_the_other_rows_have_their_figures(rows):
    plain = rows["TBPS-CLIP, simplified: a step"]
    assert plain["share of the matrix product's rate"] == pytest.approx(
        plain["TFLOP/s"] / rows["matrix product"]["TFLOP/s"]
    )
    peer = rows["open_clip, plain CLIP loss"]  # whose captions are longer
    work, own = (row["TFLOP/s"] * row["seconds"] for row in (peer, plain))
    assert own < work < 1.3 * own
    ranking = rows["re-ranking"]
    assert ranking["images"] == 120
    assert ranking["held"] == (ranking["value"] <= 2.0)
    for name in (gpu.SIMPLIFIED, gpu.FULL):
        row = rows[f"{name}: end to end"]
        assert row["value"] == pytest.approx(row["end to end"] / row["compute"])
        assert row["held"] == (row["value"] <= 1.10)


def test_compiled_steps_are_judged_and_ours_is_gone_before_open_clips(monkeypatch):
    monkeypatch.setattr(steps, "compile_blocks", lambda *_: 1)  # which takes long
    benchmark, models = gpu.Benchmark(ALONE, small=True, workers=1), []
    build, build_theirs = benchmark.build, gpu.build_open_clip_step

    def noted(*words):
        models.append(weakref.ref((step := build(*words)).trainer.model))
        return step

    def built_alone(*words):
        assert len(models) == 3
        assert all(model() is None for model in models)
        return build_theirs(*words)

    monkeypatch.setattr(benchmark, "build", noted)
    monkeypatch.setattr(gpu, "build_open_clip_step", built_alone)
    benchmark.matrix_rate()
    plain, compiled = (
        measure()
        for words in ((), (gpu.COMPILED,))
        for _, measure in [benchmark.fast_step(gpu.SIMPLIFIED, *words)]
    )
    assert "bar" not in plain
    assert compiled["value"] == compiled[gpu.SHARE]
    assert compiled["held"] == (compiled["value"] >= 0.50)
    peer = benchmark.open_clip_step()
    fastest = min(compiled["seconds"], plain["seconds"])
    assert peer["value"] == pytest.approx(fastest / peer["seconds"])
    assert peer["our plain step / it"] == pytest.approx(plain["seconds"] / peer["seconds"])
    assert peer["held"] == (peer["value"] <= 1.0)


def test_a_loader_that_is_a_little_too_slow_is_seen(monkeypatch):
    """Eight workers give eight batches at once, every ten seconds; a step takes one."""
    now = [0.0]

    class Loader:
        def start(self, epoch: int) -> None:
            now[0] = 0.0

        def __iter__(self):
            for number in range(self.batches):
                now[0] = max(now[0], 10.0 * (1 + number // 8))
                yield torch.zeros(1)

    def take(*_: object) -> None:
        now[0] += 1

    def build(name: str, steps: int) -> SimpleNamespace:
        loader.batches = steps
        return SimpleNamespace(
            trainer=SimpleNamespace(stage=SimpleNamespace(loader=loader), step=take)
        )

    loader, benchmark = Loader(), gpu.Benchmark(ALONE, small=False, workers=8)
    monkeypatch.setattr(benchmark, "build", build)
    monkeypatch.setattr(gpu, "seconds_per_step", lambda *_, **__: 1.0)
    monkeypatch.setattr(gpu, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    row = benchmark.end_to_end(gpu.FULL)
    assert row["value"] == 10 / 8
    assert not row["held"]


def test_a_row_that_fails_or_comes_too_late_costs_no_other(tmp_path, capsys):
    def fail() -> dict[str, object]:
        raise torch.OutOfMemoryError("tried to allocate 3 GiB\nand a traceback")

    record = Record(tmp_path / "new" / "record.json", CPU, seconds=60)
    record.measure("first", fail)
    record.measure("second", lambda: {"seconds": 2.0})
    record.seconds = 0
    record.measure("third", lambda: {"seconds": 3.0})
    rows = json.loads((tmp_path / "new" / "record.json").read_text())["rows"]
    assert rows["first"][NOT_MEASURED] == "OutOfMemoryError: tried to allocate 3 GiB"
    assert rows["second"]["seconds"] == 2
    assert "seconds of --seconds were over" in rows["third"][NOT_MEASURED]
    assert capsys.readouterr().out.count("\n") == 3


def test_a_record_of_the_same_machine_is_completed(tmp_path, monkeypatch):
    file = tmp_path / "record.json"
    first = Record(file, CPU, seconds=60)
    first.measure("measured", lambda: {"seconds": 1.0})
    first.measure("failed", lambda: {}["key"])
    second = Record(file, CPU, seconds=60, completes=True)
    second.measure("failed", lambda: {"seconds": 2.0})
    second.measure("measured", lambda: {"seconds": 3.0})
    rows = json.loads(file.read_text())["rows"]
    assert {name: row["seconds"] for name, row in rows.items()} == {"measured": 1, "failed": 2}
    monkeypatch.setattr(records, "describe_machine", lambda _: {"device": "another"})
    assert Record(file, CPU, seconds=60, completes=True).rows == {}


@pytest.mark.parametrize("whole", [False, True])
def test_operations_are_those_that_torch_counts(whole):
    """In the linear layers and the patch embedding; attention is counted by the flop counter, too,
    where it is two products.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    words = (*SMALL, "data={batch_size: 4, num_workers: 0}", "model.freeze=[]")
    step = build_step(RECIPES["TBPS-CLIP, full"], words, ALONE)
    clip, batch = step.trainer.model.clip, step.batch
    pictures = torch.cat([batch.images, batch.simclr_images]).flatten(0, 1)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        clip.visual(pictures) if whole else clip.encode_image(pictures)
        clip.text(batch.tokens)
    projection = 0 if whole else 2 * len(pictures) * clip.visual.shape.width * clip.embed_dim
    convolution = 2 * len(pictures) * 8 * 32 * 3 * 8**2
    forward = counter.get_total_flops() - convolution - projection
    assert tower_operations(step, whole) == pytest.approx(3 * forward + convolution)


AUTHORS = {
    "config/s.config.yaml": "experiment: {input_resolution: [32, 16]}",
    "config/config.yaml": "experiment: {input_resolution: [32, 16]}",
    "model/__init__.py": "",
    "model/tbps_model.py": """
from easydict import EasyDict
from nltk.corpus import stopwords
from torch import nn
class Model(nn.Linear):
    def forward(self, batch, alpha):
        assert len(batch["caption"]) == len(batch["id"]) == len(batch["aug_ss_2"])
        assert len(batch["id"]) in (2, 4)
        return {"ritc_loss": super().forward(batch["image"]).sum() * alpha}
def clip_vitb(config):
    return Model(config.experiment.input_resolution[1], 2)
""",
    "misc/__init__.py": "",
    "misc/build.py": """
import torch
def build_optimizer(config, model):
    return torch.optim.AdamW(model.parameters())
""",
}


def test_a_step_is_compared_with_others(tmp_path, monkeypatch, capsys):
    """With open_clip's, and with that of code whose packages are named as those of this project."""
    monkeypatch.setattr(open_clip_step, "get_context", lambda _: CONTEXT)
    for name, text in AUTHORS.items():
        file = tmp_path / "clone" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    words = ["--output", str(tmp_path / "step.json"), "--small", "--rounds", "1", "--batch", "4"]
    assert step.main([*words, "--authors", str(tmp_path / "clone")]) == 0
    rows = json.loads((tmp_path / "step.json").read_text())["rows"]
    assert len(rows) == 5
    for row in rows.values():
        assert row["ratio"] == pytest.approx(row["seconds"] / row["the other's"])
    for name, bar, views in (("simplified", "<= 0.6", 1), ("full", "<= 0.75", 4)):
        assert rows[f"TBPS-CLIP, {name}, against its authors' code"]["bar"] == bar
        peer = rows[f"TBPS-CLIP, {name}, against open_clip with its plain loss"]
        assert (peer["bar"], peer["views"], peer["batch"]) == ("<= 0.9", views, 4 // min(views, 2))
        assert peer["held"] == (peer["ratio"] <= 0.9)


def test_every_view_of_open_clips_step_has_a_loss(monkeypatch):
    from open_clip.loss import ClipLoss

    words = ("data.batch_size=4", "model.clip_pretrained=null", *SMALL)
    losses, forward = [], ClipLoss.forward

    def noted(self, *features):
        losses.append(forward(self, *features))
        return losses[-1]

    monkeypatch.setattr(ClipLoss, "forward", noted)
    build_open_clip_step(configure(*words), CPU, views=3, vocab_size=60)()
    assert len({loss.item() for loss in losses}) == 3
    assert all(loss.requires_grad for loss in losses)


def test_rows_against_the_authors_are_kept_where_their_code_is_not_given(
    tmp_path, monkeypatch, capsys
):
    file, rows = tmp_path / "step.json", {}
    kept, other = (
        f"TBPS-CLIP, {name}, against its authors' code" for name in ("simplified", "full")
    )
    rows[kept], rows[other] = {"ratio": 0.5, "seconds taken": 9}, {NOT_MEASURED: "no time"}
    file.write_text(json.dumps({"machine": {"device": "a"}, "rows": rows}, indent=1))
    measured = [(name, lambda: {"ratio": 2.0}) for name in (kept, other, "another")]
    monkeypatch.setattr(step, "_rows", lambda *_: measured)
    assert step.main(["--output", str(file)]) == 0
    found = json.loads(file.read_text())["rows"]
    assert found[kept] == rows[kept]
    assert found[other]["ratio"] == found["another"]["ratio"] == 2.0
    assert capsys.readouterr().out.count("as --authors was not given") == 1
    assert step.main(["--output", str(file), "--authors", str(tmp_path)]) == 0
    assert json.loads(file.read_text())["rows"][kept]["ratio"] == 2.0
    file.write_text(file.read_text()[:-9])
    assert step.main(["--output", str(file)]) == 2
    assert "step.json is damaged" in capsys.readouterr().err


def test_the_authors_code_is_not_part_of_this_project(tmp_path):
    asked = step._parser().parse_args(["--output", str(tmp_path / "step.json")])
    (_, _), (name, measure), *_ = step._rows(ALONE, asked)
    assert name == "TBPS-CLIP, full, against its authors' code"
    assert "a clone of their repository, was not given" in measure()[NOT_MEASURED]
    with (
        pytest.raises(InputError, match=r"has no config/config\.yaml: give a clone of https"),
        authors_step(tmp_path, "config.yaml", 4),
    ):
        pass
    for name, text in AUTHORS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with (
        authors_step(tmp_path, "config.yaml", 3) as theirs,  # a batch that the model does not take
        pytest.raises(RuntimeError, match="has failed"),
    ):
        theirs()


@pytest.mark.parametrize("main", [gpu.main, step.main])
def test_the_output_is_a_file(tmp_path, capsys, main):
    assert main(["--output", str(tmp_path)]) == 2
    assert "is a folder, give a file" in capsys.readouterr().err


def test_growth_is_measured_and_drawn(tmp_path, monkeypatch):
    def on_ranks(function, world_size):  # which are there already
        return run_ranks(function, world_size, tmp_path)

    monkeypatch.setattr(growth, "in_processes", on_ranks)
    file, plot = tmp_path / "growth.json", tmp_path / "growth.png"
    assert growth.main(["--small", "--output", str(file), "--plot", str(plot)]) == 0
    rows = json.loads(file.read_text())["rows"]
    kept = {name: row["32"] for name, row in rows.items() if name.startswith("MiB kept")}
    whole, checkpointed, parts = kept.values()
    assert checkpointed < whole / 5
    assert whole / 2.1 < parts < whole / 1.9
    in_all, each = (row for name, row in rows.items() if name.startswith("CPU seconds"))
    assert in_all["2"] < 0.9 * each["2"]
    with Image.open(plot) as picture:
        assert min(picture.size) > 500


def test_answers_of_the_command_line_are_timed(tmp_path):
    file = tmp_path / "start.json"
    assert start.main(["--output", str(file), "--rounds", "1"]) == 0
    for row in json.loads(file.read_text())["rows"].values():
        assert row["held"] == (0.05 < row["value"] <= 0.5)
    with pytest.raises(RuntimeError, match="--help left with status 0, not 2"):
        start.measure("--help", 2, 1)
