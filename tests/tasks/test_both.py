"""One model for sentences and pictures, from the command line to its record."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

import main
import options
from errors import InputError
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.runtime.distributed import AllGather, Processes, processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, seed_torch
from misc.synthetic.__main__ import main as draw
from misc.tasks.both.task import BothTask
from misc.training.trainer import Trainer, TrainingSettings
from model.architecture import JointArchitecture
from model.gather import Alone
from model.interface import JointBatch
from tests.altclip_folders import write_altclip_folder
from tests.command_line import configure, parse
from tests.conftest import SMALL
from tests.ranks import run_ranks
from tests.tasks.conftest import DEMO_BOTH, FEW

BOTH = str(options.RECIPES / "both.yaml")
PROMPTS = str(options.RECIPES / "both_prompts.yaml")


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def closing(folder: Path) -> dict[tuple[str, str], dict]:
    metrics = ("R1", "R5", "R10", "mAP", "mINP", "unmatched")
    found = [row for row in rows(folder) if "chosen" in row]
    return {(r["dataset"], r["direction"]): {m: r[m] for m in metrics} for r in found}


def test_a_run_trains_and_evaluates_both_tasks(run_joint, capsys):
    folder = run_joint("experiment.select_on=test", "experiment.selection_weights.reid=3")
    told = capsys.readouterr().out
    assert "People are told apart by dataset: 6 of CUHK-PEDES for sentences, 6 of Market" in told
    first = rows(folder)[0]
    names = {"text.nitc", "text.ritc", "text.id", "reid.id", "reid.triplet"}
    assert names <= first.keys()
    assert first["loss"] == pytest.approx(sum(first[name] for name in names))
    found = closing(folder)
    assert list(found) == [
        ("CUHK-PEDES test", "text to image"),
        ("CUHK-PEDES test", "image to text"),
        ("Market-1501 test", "image to image"),
    ]
    text, _, reid = found.values()
    mean = (text["R1"] + 3 * reid["mAP"]) / 4
    said = f"text R1 {text['R1']:.2f} (weight 1) and re-identification mAP {reid['mAP']:.2f} "
    assert f"{said}(weight 3): {mean:.2f}  (best so far)" in told
    assert open_checkpoint(folder / LAST).training.position.best == pytest.approx(mean)
    table = (folder / "results.md").read_text().splitlines()
    assert sum(line.startswith("| CUHK-PEDES test |") for line in table) == 2
    assert sum(line.startswith("| Market-1501 test |") for line in table) == 1
    main.run(parse(["--evaluate", "run", "--output", "again"]))
    assert closing(Path("again")) == found


def test_a_checkpoint_has_the_image_tower_once(run_joint):
    state = open_checkpoint(run_joint() / LAST).state
    assert "clip.visual.second_class" in state
    assert not any(name.startswith("reid.visual.") for name in state)
    copy = state["clip.visual.class_embedding"] + state["clip.visual.positional_embedding"][0]
    assert not torch.equal(state["clip.visual.second_class"], copy)
    assert isinstance(open_checkpoint(Path("run") / LAST).architecture, JointArchitecture)


def test_a_shared_token_is_the_first_for_both(run_joint):
    state = open_checkpoint(run_joint("model.class_tokens=shared") / LAST).state
    assert "clip.visual.second_class" not in state
    with pytest.raises(InputError, match=r"model\.class_tokens is shared in it and routed in"):
        main.run(parse(["--evaluate", "run", "model.class_tokens=routed", "--output", "other"]))


def test_altclip_learns_both_tasks(run_joint, tmp_path, capsys):
    """By the recipe and the backbone as they are documented; its processor is left out."""
    folder = write_altclip_folder(tmp_path / "altclip")
    altclip = ("--backbone", "altclip", f"model.altclip_pretrained={folder}")
    widths = ("model={embed_dim: 48, projection_dim: 48}", "experiment.simclr_mlp=[48, 16, 48]")
    trained = run_joint(*altclip, *widths, "schedule.epoch_warmup=0", recipe=BOTH)
    assert "experiment.use_altclip_processor is switched off: task both" in capsys.readouterr().out
    state = open_checkpoint(trained / LAST).state
    copy = state["clip.visual.class_embedding"] + state["clip.visual.positional_embedding"][0]
    assert not torch.equal(state["clip.visual.second_class"], copy)
    found = closing(trained)
    main.run(parse(["--evaluate", "run", "--output", "again"]))
    assert closing(Path("again")) == found


def test_cameras_are_added_to_the_second_token(run_joint, tmp_path, capsys):
    """And left out where they are not those of the training."""
    trained = closing(run_joint("reid.sie=camera"))
    main.run(parse(["--evaluate", "run", "--output", "again"]))
    assert closing(Path("again")) == trained
    architecture = open_checkpoint(Path("run") / LAST).architecture
    assert (architecture.num_people, architecture.num_cameras) == (6, 6)
    people = ["--train", "4", "--test", "3", "--images", "4", "4", "--height", "32", "48"]
    assert draw(["--layout", "dukemtmc", "--output", str(tmp_path / "duke"), *people]) == 0
    other = ["reid.dataset=dukemtmc", f"reid.root={tmp_path / 'duke'}"]
    main.run(parse(["--evaluate", "run", *other, "--output", "other"]))
    assert "was trained with 6 cameras and 1 views, which are not those" in capsys.readouterr().out


def test_an_interrupted_run_ends_in_the_same_weights(run_joint, interrupt):
    """Also where the pictures' epochs end within those of the pairs."""
    words = ("schedule.epoch=2", "log.save_period=2", "experiment.token_change=0.1")
    whole = open_checkpoint(run_joint(*words, output="whole") / LAST)
    interrupt(lambda: run_joint(*words, output="parts"), 3)
    assert 0 < open_checkpoint(Path("parts") / LAST).training.position.step < 12
    parts = open_checkpoint(run_joint(*words, "--resume", "auto", output="parts") / LAST)
    assert parts.training.position == whole.training.position
    assert all(torch.equal(parts.state[name], tensor) for name, tensor in whole.state.items())


def test_words_of_people_are_learned_first(run_joint):
    """Then the pictures are classified among them, by a text tower that stays as it was."""
    short = ("stages.prompts.schedule={epoch: 1, epoch_warmup: 0}", "schedule.epoch_warmup=0")
    folder = run_joint(*short, recipe=PROMPTS)
    losses = [row for row in rows(folder) if "loss" in row]
    assert {row["stage"] for row in losses} == {"prompts", "both"}
    assert losses[0].keys() >= {"sup_con"}
    assert losses[-1].keys() >= {"text.sdm", "text.id", "reid.id", "reid.triplet", "reid.i2t"}
    state = open_checkpoint(folder / LAST).state
    name = "transformer.blocks.0.mlp.c_fc.weight"
    assert not torch.equal(state[f"reid.prompts.text.{name}"], state[f"clip.text.{name}"])


Steps = tuple[list[dict[str, float]], list[dict[str, Tensor]]]


def train_steps(
    own: Processes, words: tuple[str, ...], steps: int = 4, recipe: str = DEMO_BOTH
) -> Steps:
    """Losses and gradients of some steps on this process's part of the global batches."""
    config = parse(["--config", recipe, *SMALL, *FEW, *words]).configure()
    precision = Precision("fp32", own.device)
    task = BothTask(config, own, precision)
    seed_torch(config.misc.seed, Purpose.INITIALISATION)
    model = task.build_model(None, for_training=True)
    (stage,) = task.build_stages(model)
    settings = TrainingSettings(1, config.data.batch_size)
    gather = AllGather() if own.world_size > 1 else Alone()
    trainer = Trainer(stage, model, own, precision, gather=gather, settings=settings)
    gradients: list[dict[str, Tensor]] = []

    def remember(*_: object) -> None:
        named = model.named_parameters()
        gradients.append({n: p.grad.clone() for n, p in named if p.requires_grad})

    trainer.optimizer.register_step_pre_hook(remember)
    losses = []
    for step, batch in zip(range(steps), stage.loader, strict=False):
        found, *_ = trainer.step(batch, step)
        losses.append({name: own.mean(loss).item() for name, loss in found.items()})
    norms = {n: b.clone() for n, b in model.named_buffers() if "running" in n}
    return losses, [*gradients[:2], norms]


def check_same(found: Steps, expected: Steps) -> None:
    for step, (ours, theirs) in enumerate(zip(found[0], expected[0], strict=True)):
        assert ours == pytest.approx(theirs, rel=1e-6 if step == 0 else 1e-4)
    for ours, theirs in zip(found[1], expected[1], strict=True):
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            close = 1e-5 * max(1.0, tensor.norm().item())
            torch.testing.assert_close(ours[name], tensor, rtol=0, atol=close, msg=name)


def test_two_processes_and_parts_train_as_one(joint_places, tmp_path):
    """Also two processes that encode their batches in parts; the batch norms are of the whole."""
    whole, parts = (*joint_places, "data.batch_size=8"), (*joint_places, "data.batch_size=3")
    with processes("cpu") as own:
        alone = train_steps(own, whole)
        check_same(train_steps(own, parts), alone)
        few = (*parts, "reid.global_batch_size=16")
        many = (*joint_places, "data.batch_size=16", "reid.global_batch_size=16")
        check_same(train_steps(own, few, 2), train_steps(own, many, 2))
    first, second = run_ranks(train_steps, 2, tmp_path, parts)
    check_same(first, alone)
    for name, gradient in first[1][1].items():
        assert torch.equal(gradient, second[1][1][name]), f"{name} differs over ranks"


def test_sdm_on_a_shared_token_trains_as_one(joint_places, tmp_path):
    """The losses of config/both.yaml, on two processes in parts as in one."""
    words = (*joint_places, "schedule.epoch_warmup=0", "model.class_tokens=shared")
    with processes("cpu") as own:
        alone = train_steps(own, (*words, "data.batch_size=8"), 2, BOTH)
    assert {"text.sdm", "reid.triplet"} <= alone[0][0].keys()
    ranks = run_ranks(train_steps, 2, tmp_path, (*words, "data.batch_size=3"), 2, BOTH)
    for found in ranks:
        check_same(found, alone)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux alone")
@pytest.mark.parametrize(("kind", "share"), [("memory", 2), ("disk", 1)])
def test_the_caches_of_both_datasets_share_the_room(kind, share, joint_places, tmp_path, caplog):
    """None of them, but a file of another run, is called deletable."""
    cached = f"data={{cache: {kind}, cache_folder: {tmp_path}, cache_gib: 3}}"
    config = parse(["--config", DEMO_BOTH, *SMALL, *FEW, *joint_places, cached]).configure()
    own = Processes(0, 1, torch.device("cpu"))
    task = BothTask(config, own, Precision("fp32", own.device))
    model = task.build_model(None, for_training=True)
    _, cache = task.training_set(config.stages[0], model).caches
    assert [each.room for each in (*task.text._reader.caches, cache)] == [3 * 2**30 / share] * 2
    cache.room = 0
    for others in (0, 1):
        cache.adds = True
        cache(0, Path(task.reid.data.training.pictures[0].path))
        assert not cache.adds
        warned = [line for line in caplog.messages if "delete" in line]
        assert len(warned) == (others if kind == "disk" else 0)
        (tmp_path / "pictures-other.cache").touch()
    assert all(line.endswith(f": {tmp_path}/pictures-other.cache (0.00 GiB)") for line in warned)


def batches(*words: str) -> list[JointBatch]:
    config = parse(["--config", DEMO_BOTH, *SMALL, *FEW, *words]).configure()
    own = Processes(0, 1, torch.device("cpu"))
    task = BothTask(config, own, Precision("fp32", own.device))
    (stage,) = task.build_stages(task.build_model(None, for_training=True))
    stage.loader.start(1)
    return [batch.to(own.device) for batch in stage.loader]


def test_the_seed_alone_decides_the_batches(joint_places):
    once, workers = batches(*joint_places), batches(*joint_places, "data.num_workers=2")
    assert len(once) == len(workers) == 6
    for first, second in zip(once, workers, strict=True):
        assert len(first) == 16
        assert all(map(torch.equal, first.present().values(), second.present().values()))
    other = batches(*joint_places, "misc.seed=2")
    assert not torch.equal(once[0].pictures.images, other[0].pictures.images)


def test_the_cpu_augments_for_both_tasks(joint_places, caplog):
    asked = batches(*joint_places, "data.augment_on=device")
    assert "data.augment_on=device needs task text_to_image: the CPU augments" in caplog.text
    for first, second in zip(asked, batches(*joint_places), strict=True):
        assert all(map(torch.equal, first.present().values(), second.present().values()))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("data.annotation_file=null",), r"data\.annotation_file is not set: give"),
        (("reid.root=null",), r"reid\.root is not set: give reid\.dataset=market1501"),
        (("reid.global_batch_size=4",), r"a batch of 4 pictures .* fewer than two people with 4"),
        (("reid.global_batch_size=10",), r"10 pictures \(reid\.global_batch_size\) is no multiple"),
        (
            ("reid.global_batch_size=32",),
            r"a batch has 8 identities, .* only 6; reduce reid\.global_batch_size to 24",
        ),
        (
            ("data.batch_size=1", "reid.global_batch_size=16"),
            r"parts of data\.batch_size=1 has 16 .* 8 pairs or pictures .*: raise data\.batch_size",
        ),
        (
            ("experiment.selection_weights={text: 0, reid: 0}",),
            r"both weights are 0: give one of them more",
        ),
        (
            ("model.vision={width: 4, layers: [1, 1, 1, 1], heads: 2, patch_size: null}",),
            r"model\.class_tokens: routed needs a ViT, as a ResNet has no class token",
        ),
        (
            ("--backbone", "siglip", "model.clip_pretrained=x"),
            r"siglip cannot be trained for task both, only for text_to_i",
        ),
        (("lora.rank=4",), r"lora: needs task text_to_image"),
        (("experiment.division=sdm",), r"experiment\.division: needs task text_to_image"),
        (("reid.i2t=true",), r"reid\.i2t: needs prompts, but no stage learns them"),
    ],
)
def test_a_mistake_is_one_sentence(run_joint, tmp_path, words, sentence):
    with pytest.raises(InputError, match=sentence):
        run_joint(*words)
    assert not (tmp_path / "run").exists()


def test_both_tasks_select_on_a_split_that_both_have(run_joint, pedestrians):
    own = (
        f"data.annotation_file={pedestrians.processed}",
        f"data.image_root={pedestrians.image_root}",
    )
    with pytest.raises(InputError, match=r"Market-1501 has no val split, and both tasks select"):
        run_joint(*own, "experiment.select_on=val")


def test_pictures_of_a_step_are_of_task_both_alone():
    with pytest.raises(InputError, match=r"reid\.global_batch_size: needs task both"):
        configure("reid.global_batch_size=8")
