"""CLIP-ReID from the command line to its record, on the six layouts in miniature."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

import main
import options
from errors import InputError
from misc import export
from misc.datasets.reid import read_reid
from misc.retrieval.features import load_features
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.synthetic.writing import write_reid_dataset
from misc.tasks.reid.task import ReIDTask
from model.weights.published.clip_reid import to_clip_reid
from tests.command_line import configure, parse
from tests.conftest import SMALL
from tests.ranks import run_main_on_ranks

VIT = str(options.RECIPES / "clipreid_vit.yaml")
CNN = str(options.RECIPES / "clipreid_cnn.yaml")
SIE_OLP = str(options.RECIPES / "clipreid_vit_sie_olp.yaml")
RESNET = "model.vision={width: 4, layers: [1, 1, 1, 1], heads: 2, patch_size: null}"
FEW = (
    "model.clip_pretrained=null",
    "data.global_batch_size=8",
    "stages.prompts.schedule={epoch: 2, epoch_warmup: 1, lr: 1e-2}",
    "stages.images.schedule={epoch: 2, epoch_warmup: 1, milestones: [2], lr: 1e-3}",
    "evaluation.ranked_lists=1",
    "log.print_period=1",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """All six layouts: 6 identities to train on and 4 to test with."""
    folder = tmp_path_factory.mktemp("reid")
    for layout in ("market1501", "msmt17", "dukemtmc", "occluded-duke", "veri776", "vehicleid"):
        people = {"train": 6, "test": 4}
        write_reid_dataset(layout, folder, identities=people, images=(4, 5), height=(32, 48))
    return folder


@pytest.fixture
def run(folder, tmp_path, monkeypatch):
    """Run main.py on Market-1501 in a folder of its own, which is the result."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, recipe: str = VIT, output: str = "run") -> Path:
        root = f"reid.root={folder}"
        arguments = ["--config", recipe, "--output", output, *SMALL, *FEW, root, *words]
        main.run(parse(arguments))
        return tmp_path / output

    return run


def evaluate(*words: str, output: str) -> dict[str, dict[str, float]]:
    """The closing metrics of `main.py --evaluate`, by dataset and direction."""
    main.run(parse(["--evaluate", *words, "--output", output]))
    return metrics(Path(output))


def metrics(folder: Path) -> dict[str, dict[str, float]]:
    closing = [row for row in rows(folder) if "chosen" in row]
    names = ("R1", "R5", "R10", "mAP", "mINP", "unmatched")
    return {f"{r['dataset']}, {r['direction']}": {n: r[n] for n in names} for r in closing}


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[dict]:
    return [row for row in rows(folder) if "loss" in row]


@pytest.mark.parametrize(
    ("dataset", "cameras", "views"),
    [
        ("market1501", 6, 1),
        ("msmt17", 15, 1),
        ("dukemtmc", 8, 1),
        ("occluded-duke", 8, 1),
        ("veri776", 20, 9),
        ("vehicleid", 0, 1),
    ],
)
def test_every_layout_trains_and_evaluates(run, dataset, cameras, views):
    folder = run(
        f"reid.dataset={dataset}",
        "reid.sie=both",
        "stages.prompts.schedule.epoch=1",
        "stages.images.schedule.epoch=1",
    )
    assert len([row for row in losses(folder) if row["stage"] == "images"]) >= 2
    ((name, found),) = metrics(folder).items()
    assert name.endswith("test, image to image")
    assert 0 < found["mAP"] <= 100
    architecture = open_checkpoint(folder / LAST).architecture
    assert (architecture.num_cameras, architecture.num_views) == (cameras, views)
    lists = folder / "ranked_lists" / re.sub(r"[^\w.-]+", "-", name.partition(",")[0])
    names = {file.name for file in lists.iterdir()}
    assert names == {"sample-01.jpg", "worst-01.jpg", "ranked_lists.jsonl"}


@pytest.mark.parametrize(("sie", "drops"), [("both", True), ("camera", False)])
def test_test_images_without_a_viewpoint_may_be_dropped(folder, tmp_path, sie, drops):
    """As is published, where the side information has views."""
    root = shutil.copytree(folder / "VeRi", tmp_path / "VeRi")
    labels = root / "keypoint_test.txt"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[::2]))

    def sizes(*words: str) -> tuple[int, int]:
        """All test pictures, and those without a viewpoint."""
        settings = ("reid.dataset=veri776", f"reid.root={root}", f"reid.sie={sie}")
        config = configure("--config", VIT, *SMALL, "model.clip_pretrained=null", *settings, *words)
        own = Processes(0, 1, torch.device("cpu"))
        retrieval = ReIDTask(config, own, Precision("fp32", own.device)).build_retrieval("test")
        return len(retrieval.pictures), sum(picture.view == 8 for picture in retrieval.pictures)

    (kept, without), (left, none) = sizes(), sizes("reid.unlabelled_views=drop")
    assert without > 0
    assert (left, none) == ((kept - without, 0) if drops else (kept, without))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux alone")
def test_the_stages_share_a_cache(folder):
    settings = ("model.clip_pretrained=null", f"reid.root={folder}", "data.cache=memory")
    own = Processes(0, 1, torch.device("cpu"))
    config = configure("--config", VIT, *SMALL, *settings)
    task = ReIDTask(config, own, Precision("fp32", own.device))
    (first,), (second,) = (task.training_set(8).caches for _ in range(2))
    assert first is second


def test_the_stages_learn_what_is_theirs(run):
    """The prompts first, from pictures that are encoded once; then the image tower and heads."""
    first = run("stages.images.skip=true", output="first")
    whole = run(output="whole")
    stages = [row["stage"] for row in losses(whole)]
    assert stages == sorted(stages, reverse=True)
    assert {*stages} == {"prompts", "images"}
    prompts = [row["sup_con"] for row in losses(whole) if row["stage"] == "prompts"]
    assert prompts == [row["sup_con"] for row in losses(first)]
    assert all(row.keys() >= {"id", "triplet", "i2t"} for row in losses(whole)[len(prompts) :])
    total = losses(whole)[-1]
    assert total["loss"] == pytest.approx(0.25 * total["id"] + total["triplet"] + total["i2t"])

    before, after = (open_checkpoint(run / LAST).state for run in (first, whole))
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    kept = {name for name in before if name.startswith("prompts.")}
    kept |= {"image_head.neck.bias", "projected_head.neck.bias"}
    assert changed == before.keys() - kept


def test_the_second_stage_alone_begins_with_the_prompts_of_the_first(run):
    first = run("stages.images.skip=true", output="first")
    second = run("stages.prompts.skip=true", f"model.init_from={first}", output="second")
    before, after = (open_checkpoint(run / LAST).state for run in (first, second))
    assert torch.equal(before["prompts.words"], after["prompts.words"])
    assert {row["stage"] for row in losses(second)} == {"images"}
    other = ("stages.prompts.skip=true", f"model.init_from={first}", "reid.dataset=vehicleid")
    baseline = run(*other, "reid.i2t=false", "data.image_size=[48, 16]", output="other")
    assert not any(n.startswith("prompts.") for n in open_checkpoint(baseline / LAST).state)


def test_prompts_that_nothing_has_learnt_are_not_compared_with(run, folder):
    with pytest.raises(InputError, match=r"reid\.i2t: needs prompts, but no stage learns them"):
        run("stages.prompts.skip=true")
    baseline = run("stages.prompts.skip=true", "reid.i2t=false", output="baseline")
    with pytest.raises(InputError, match="holds no prompts of these 6 identities"):
        run("stages.prompts.skip=true", f"model.init_from={baseline}", output="other")
    with pytest.raises(InputError, match="baseline has no text tower for a person, and model"):
        run(f"model.init_from={baseline}", output="other")
    more = f"reid.train_sets=[{{dataset: msmt17, root: {folder}}}]"
    first = run("stages.images.skip=true", output="first")
    with pytest.raises(InputError, match="holds no prompts of these 12 identities"):
        run("stages.prompts.skip=true", f"model.init_from={first}", more, output="other")


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_a_resumed_run_ends_in_the_same_weights_bit_by_bit(run, interrupt, saves):
    """Interrupted within the first stage, between the two, and within the second one."""
    whole = run("reid.sie=camera", output="whole")
    interrupt(lambda: run("reid.sie=camera", output="broken"), saves)
    resumed = run("reid.sie=camera", "--resume", "auto", output="broken")
    first, second = (open_checkpoint(folder / LAST).state for folder in (whole, resumed))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert metrics(whole) == metrics(resumed)


@pytest.mark.parametrize("recipe", [VIT, CNN])
def test_two_processes_train_as_one(run, folder, tmp_path, recipe):
    """The same global batches, statistics and triplets: the same losses, stage by stage."""
    tower = (RESNET,) if recipe == CNN else ("reid.sie=camera",)
    alone = run(*tower, recipe=recipe)
    both = tmp_path / "both"
    arguments = ["--config", recipe, "--output", str(both), *SMALL, *FEW, f"reid.root={folder}"]
    run_main_on_ranks(2, tmp_path, [*arguments, *tower])
    for one, two in zip(losses(alone), losses(both), strict=True):
        named = [name for name in one if name in ("loss", "sup_con", "id", "triplet", "i2t")]
        assert [two[name] for name in named] == pytest.approx([one[n] for n in named], rel=2e-4)
    first, second = (open_checkpoint(folder / LAST).state for folder in (alone, both))
    for name, tensor in first.items():
        if not name.endswith("k_proj.bias"):  # its gradient is zero but for rounding
            torch.testing.assert_close(second[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_a_batch_in_parts_is_the_batch_in_one(run):
    """Also of the second stage, whose batch norms see the features of all parts."""
    folders = [
        run("data.global_batch_size=16", f"data.batch_size={size}", output=f"{size}")
        for size in (16, 3)
    ]
    whole, parts = map(losses, folders)
    for one, other in zip(whole, parts, strict=True):
        names = {"loss", "sup_con", "id", "triplet", "i2t"} & one.keys()
        assert len(names) in (2, 4)
        assert [other[name] for name in names] == pytest.approx([one[n] for n in names], rel=2e-4)


def test_evaluation_alone_gives_the_same_numbers(run, folder, capsys):
    """Also of other data, whose cameras the model does not know, and of features in a file."""
    more = f"reid.test_sets=[{{dataset: dukemtmc, root: {folder}}}]"
    rerank = "evaluation.rerank={k1: 3, k2: 2, weight: 0.3}"
    trained = metrics(run(more, rerank, "reid.flip=true", recipe=SIE_OLP, output="trained"))
    assert list(trained) == [
        f"{name} test, image to image{rerank}"
        for name in ("Market-1501", "DukeMTMC-reID")
        for rerank in ("", ", re-ranked")
    ]
    assert evaluate("trained", "--save-features", "f.safetensors", output="again") == trained
    features = load_features(Path("f.safetensors"))
    dataset = read_reid("market1501", folder)
    pictures = [*dataset.query, *dataset.gallery]
    assert features.image_paths == tuple(picture.path for picture in pictures)
    assert features.image_ids.tolist() == [picture.identity for picture in pictures]
    assert features.image.norm(dim=1).sub(1).abs().max() < 1e-5

    duke = (f"reid.root={folder}", "reid.dataset=dukemtmc", "reid.test_sets=[]")
    capsys.readouterr()
    found = evaluate("trained", *duke, output="duke")
    told = "was trained with 6 cameras and 1 views, which are not those of DukeMTMC-reID"
    assert told in capsys.readouterr().out
    for name, expected in found.items():
        assert trained[name] == expected


@pytest.mark.parametrize("recipe", [SIE_OLP, CNN])
def test_a_published_checkpoint_is_evaluated(run, folder, recipe):
    """In the names of CLIP-ReID's code, without a configuration of this project in the file."""
    tower = (RESNET,) if recipe == CNN else ()
    trained = run(*tower, recipe=recipe, output="trained")
    torch.save(to_clip_reid(open_checkpoint(trained / LAST).state), "ViT-B-16_60.pth")
    words = ("--config", recipe, *SMALL, *FEW, *tower, f"reid.root={folder}")
    assert evaluate("ViT-B-16_60.pth", *words, output="published") == metrics(trained)


def test_datasets_are_trained_on_together(run, folder):
    more = f"[{{dataset: dukemtmc, root: {folder}}}]"
    sets = (f"reid.train_sets={more}", f"reid.test_sets={more}")
    trained = run(*sets, "reid.sie=camera", output="joined")
    architecture = open_checkpoint(trained / LAST).architecture
    assert (architecture.num_identities, architecture.num_cameras) == (12, 6 + 8)
    assert len(metrics(trained)) == 2
    assert evaluate("joined", output="again") == metrics(trained)


def test_a_further_test_set_of_the_same_name_is_told_by_its_folder(run, folder):
    trained = run(f"reid.test_sets=[{{dataset: market1501, root: {folder}}}]", output="twice")
    first, second = metrics(trained).items()
    assert (first[0], second[0]) == (
        "Market-1501 test, image to image",
        f"Market-1501 ({folder}) test, image to image",
    )
    assert first[1] == second[1]


def test_a_text_training_goes_on_with_pictures(run, places, tmp_path):
    """The image tower and the text tower of task text_to_image, at another size."""
    demo = str(options.RECIPES / "demo.yaml")
    arguments = ["--config", demo, *SMALL, *places, "schedule.epoch=1", "experiment.text_length=77"]
    main.run(parse([*arguments, "--output", "text"]))
    words = ("model.init_from=text", "data.image_size=[48, 16]", "stages.images.skip=true")
    state = open_checkpoint(run(*words) / LAST).state
    text = open_checkpoint(tmp_path / "text" / LAST).state
    for name in ("visual.proj", "visual.conv1.weight"):
        assert torch.equal(state[name], text[f"clip.{name}"])
    projection = "text.projection"
    assert torch.equal(state[f"prompts.{projection}"], text[f"clip.{projection}"])
    with pytest.raises(InputError, match="is a re-identification model and cannot search by text"):
        main.run(parse([*arguments, "model.init_from=run", "--output", "none"]))


def test_a_training_begins_with_a_published_checkpoint(run, tmp_path):
    """With CLIP-ReID's own, whose prompts are of as many identities, and with TBPS-CLIP's."""
    first = run(output="first")
    state = open_checkpoint(first / LAST).state
    torch.save(to_clip_reid(state), "reid.pth")
    second = run("stages.prompts.skip=true", "model.init_from=reid.pth", output="second")
    held = open_checkpoint(second / LAST).state
    assert torch.equal(held["prompts.words"], state["prompts.words"])
    architecture = {"embed_dim": 32}
    with pytest.raises(InputError, match=r"model\.embed_dim is 16 in it and 32 in the config"):
        run("model.init_from=first", f"model.embed_dim={architecture['embed_dim']}", output="none")


def test_a_checkpoint_of_the_other_task_is_named(run, places, tmp_path):
    demo = str(options.RECIPES / "demo.yaml")
    text = ["--config", demo, *SMALL, *places, "schedule.epoch=1", "experiment.text_length=77"]
    main.run(parse([*text, "--output", "text"]))
    assert export.main(["text", "tbps.pth"]) == 0
    for file, fault in (
        ("text", "is a text-to-image model, which has no identities"),
        ("tbps.pth", r"tbps\.pth is a checkpoint of TBPS-CLIP, for task text_to_image"),
    ):
        with pytest.raises(InputError, match=fault):
            run("--evaluate", file, output="none")
    started = open_checkpoint(run("model.init_from=tbps.pth", output="run") / LAST).state
    whole = open_checkpoint(Path("text") / "checkpoint_best.pt").state
    name = "text.transformer.blocks.0.attn.q_proj.weight"
    assert torch.equal(started[f"prompts.{name}"], whole[f"clip.{name}"])
    torch.save(to_clip_reid(started), "reid.pth")
    with pytest.raises(InputError, match=r"reid\.pth is a checkpoint of CLIP-ReID, for"):
        main.run(parse([*text, "--evaluate", "reid.pth", "--output", "none"]))


def test_prompts_of_other_identities_or_another_noun_are_not_taken(run):
    run("stages.images.skip=true", output="first")
    words = ("model.init_from=first", "reid.dataset=veri776", "stages.prompts.skip=true")
    with pytest.raises(InputError, match="holds no prompts of these 6 identities"):
        run(*words, output="none")
    with pytest.raises(InputError, match="has no text tower for a vehicle, and model"):
        run(*words[:2], "reid.noun=vehicle", output="none")


def test_a_published_model_without_the_recipes_side_information_keeps_its_own(run, folder, capsys):
    """Its cameras are those of the data; `reid.sie` says nothing about it."""
    trained = run(recipe=SIE_OLP, output="trained")
    torch.save(to_clip_reid(open_checkpoint(trained / LAST).state), "sie.pth")
    words = ("--config", VIT, *SMALL, *FEW, f"reid.root={folder}", "model.stride=12")
    words = tuple(word for word in words if word != "model.stride=12")
    stride = parse(["--config", SIE_OLP]).configure().model.stride
    found = evaluate("sie.pth", *words, f"model.stride={stride}", output="again")
    assert found == metrics(trained)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("data.languages=[en]",), r"data\.languages: needs task text_to_image"),
        (("reid.i2t=false",), r"stages\[0\]: learns prompts that are not used"),
        (
            ("reid.train_sets=[{dataset: market1501, root: FOLDER}]",),
            r"reid\.train_sets: market1501 in .* is given twice",
        ),
        (("reid.root=null",), r"reid\.root is not set: give reid\.dataset=market1501"),
        (("reid.root=absent",), r"Market-1501 not found in absent or"),
        (("reid.dataset=market",), r"unknown dataset 'market': did you mean market1501\?"),
        (("reid.images_per_identity=3",), r"a batch of 8 pictures .* is no multiple of .*=3"),
        (
            ("data.global_batch_size=24", "data.batch_size=24", "reid.images_per_identity=2"),
            r"a batch has 12 identities, the training set only 6; reduce data\.global_batch_size",
        ),
        (("model.freeze=[visual.absent]",), r"no parameter's name starts with 'visual\.absent'"),
        (("model.freeze=[prompts]", "stages.images.skip=true"), r"freezes every parameter"),
        (
            ("model.backbone=altclip", "model.projection_dim=16"),
            r"altclip cannot be trained for task image_to_image",
        ),
        (
            ("stages.image.skip=true",),
            r"stages\.image: expected .* by its name \(prompts, images\)",
        ),
        (
            ("stages.images.learns=prompts",),
            r"stages: expected any number of stages that learn prompts",
        ),
        (("schedule.milestones=[5, 2]",), r"schedule\.milestones: \[5, 2\] do not rise"),
    ],
)
def test_a_mistake_is_one_sentence(run, folder, words, sentence, tmp_path):
    words = tuple(word.replace("FOLDER", str(folder / "..") + f"/{folder.name}") for word in words)
    with pytest.raises(InputError, match=sentence):
        run(*words)
    assert not (tmp_path / "run").exists()


def test_a_resnet_is_told_nothing_of_cameras(run):
    with pytest.raises(InputError, match=r"reid\.sie is camera, but a ResNet has no class token"):
        run(RESNET, "reid.sie=camera", recipe=CNN)
