"""Prompts, adapters and LoRA on a frozen backbone, from the command line to the checkpoint."""

import json
import math
from pathlib import Path

import pytest
import torch

import main
import options
from errors import InputError
from misc import export
from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
from misc.synthetic.writing import write_dataset, write_reid_dataset
from misc.tasks.text.model import restored_model
from misc.training.trainer import Trainer
from model.tuning.tune import is_added
from model.weights.published.cskt import to_cskt
from model.weights.published.format import Geometry
from tests.altclip_folders import write_altclip_folder
from tests.archives import VIT_B_16, write_openai_archive
from tests.command_line import parse
from tests.conftest import SMALL
from tests.ranks import run_main_on_ranks

CSKT = str(options.RECIPES / "cskt.yaml")
FEW = (
    "prompts.depth=2",
    "data.global_batch_size=null",
    "model.embed_dim=32",
    "schedule={epoch: 2, epoch_warmup: 1, lr: 1e-2, eps: 1e-8}",
    "evaluation.ranked_lists=0",
    "log.print_period=1",
)
OFF = ("prompts.n_ctx=0", "adapters.towers=[]")
WAYS = {
    "CSKT": (),
    "prompts": ("adapters.towers=[]",),
    "prompts of words": ("adapters.towers=[]", "prompts={init: words, direction: independent}"),
    "prompts of one direction": ("prompts.direction=text_to_image", "experiment.mlm=true"),
    "prompts of the other": (
        "prompts.direction=image_to_text",
        "model.gradient_checkpointing=true",
    ),
    "adapters": ("prompts.n_ctx=0",),
    "adapters in one block": (*OFF, "adapters={towers: [text], blocks: [1]}"),
    "LoRA": (*OFF, "lora={rank: 2, targets: [attention, mlp]}"),
    "LoRA and learnt scale": (*OFF, "lora={rank: 2, towers: [image]}", "model.temperature=null"),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A small pretrained CLIP of two blocks a tower."""
    file = tmp_path_factory.mktemp("weights") / "small.pt"
    write_openai_archive(file, embed_dim=32)
    return file


@pytest.fixture
def train(places, archive, tmp_path, monkeypatch):
    """Run main.py in a folder of its own; the result is the run's folder."""
    monkeypatch.chdir(tmp_path)

    def train(*words: str, output: str = "run") -> Path:
        recipe = ["--config", CSKT, "--output", output, *SMALL, *FEW, *places]
        main.run(parse([*recipe, f"model.clip_pretrained={archive}", *words]))
        return tmp_path / output

    return train


def closing(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    names = ("direction", "R1", "R5", "R10", "mAP", "mINP")
    return [{name: row[name] for name in names} for row in rows if "chosen" in row]


def evaluate(*words: str, output: str) -> list[dict]:
    main.run(parse(["--evaluate", *words, "--output", output]))
    return closing(Path(output))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_checkpoint_holds_what_was_trained_and_gives_the_same_numbers(train, way):
    folder = train(*way)
    state = open_checkpoint(folder / BEST).state
    held = {name for name in state if not name.endswith(("positional_embedding",))}
    held -= {"clip.logit_scale"}
    assert held
    assert all(is_added(name) or not name.startswith("clip.") for name in held)
    assert evaluate("run", output="again") == closing(folder)


@pytest.mark.parametrize("way", ["CSKT", "LoRA"])
def test_what_is_frozen_stays_and_the_rest_moves(train, monkeypatch, way):
    seen: dict[str, torch.Tensor] = {}
    step = Trainer.step

    def look(self: Trainer, *arguments: object) -> object:
        if not seen:
            seen.update({n: p.detach().clone() for n, p in self.model.named_parameters()})
        result = step(self, *arguments)
        train.model = self.model
        return result

    monkeypatch.setattr(Trainer, "step", look)
    train(*WAYS[way], "experiment.select_on=last")
    for name, parameter in train.model.named_parameters():
        assert torch.equal(parameter, seen[name]) is not is_added(name), name


def test_other_frozen_weights_are_refused_by_name(train, tmp_path):
    folder = train()
    write_openai_archive(tmp_path / "other.pt", embed_dim=32, seed=1)
    with pytest.raises(
        InputError, match=r"on different frozen weights than model\.clip_pretrained"
    ):
        evaluate("run", "model.clip_pretrained=other.pt", output="again")
    with pytest.raises(InputError, match=r"its tuning is .* and that of the configuration"):
        evaluate("run", "prompts.n_ctx=2", output="again")
    with pytest.raises(InputError, match=r"its vision is .* and that of the configuration"):
        evaluate("run", "data.image_size=[16, 32]", output="again")
    with pytest.raises(InputError, match="its activation is quickgelu"):
        evaluate("run", "model.activation=gelu", output="again")
    with pytest.raises(
        InputError, match=r"the frozen ones \(model\.init_from, .*: there are no weights"
    ):
        evaluate("run", "model.clip_pretrained=absent.pt", output="again")
    with pytest.raises(InputError, match="holds only the tuned weights: give the whole model"):
        train(f"model.init_from={folder}", output="next")


def test_what_a_run_has_learnt_is_tuned(train, tmp_path):
    """With the temperature of the recipe, whatever the scale that was learnt; then resumed."""
    train(*OFF, "model.temperature=null", "schedule.epoch=1", output="base")
    last = ("model.init_from=base", "experiment.select_on=last")
    folder = train(*last, "schedule.epoch=1")
    state = open_checkpoint(folder / LAST).state
    assert state["clip.logit_scale"].exp().item() == pytest.approx(50)
    assert evaluate("run", output="again") == closing(folder)
    train(*last, "schedule.epoch=2", "--resume", "auto")
    assert open_checkpoint(folder / LAST).epoch == 2
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(
        InputError, match=r"model\.init_from, .* cannot be loaded: base does not exist"
    ):
        evaluate("run", output="none")
    assert evaluate("run", "model.init_from=moved", output="third") == closing(folder)


def test_random_frozen_weights_are_told_of(train, capsys):
    towers = "layers: 2, heads: 2"
    train(
        *("model.clip_pretrained=null", "experiment.select_on=last"),
        f"model={{vision: {{width: 32, {towers}, patch_size: 8}}, text: {{width: 32, {towers}}}}}",
    )
    assert "the frozen weights are random" in capsys.readouterr().out


@pytest.mark.parametrize("saves", [1, 3])
def test_a_resumed_run_ends_in_the_same_weights_bit_by_bit(train, interrupt, saves):
    words = ("lora.rank=2", "experiment.id=true", "log.save_period=5")
    whole = train(*words, output="whole")
    interrupt(lambda: train(*words, output="broken"), saves)
    resumed = train(*words, "--resume", "auto", output="broken")
    first, second = (open_checkpoint(folder / LAST).state for folder in (whole, resumed))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert closing(whole) == closing(resumed)


def test_every_loss_goes_with_it(train):
    losses = "nitc: true, ritc: true, citc: true, ss: true, id: true, mlm: true, cmt_depth: 1"
    more = f"experiment={{{losses}, itc: true, cmpm: true, simclr_mlp: [32, 8, 32]}}"
    folder = train(more, "schedule.epoch=1")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    names = {"nitc", "ritc", "citc", "ss", "id", "mlm", "itc", "sdm", "cmpm"}
    assert names <= rows[0].keys()
    assert evaluate("run", output="again") == closing(folder)


def test_two_processes_tune_as_one(train, places, archive, tmp_path):
    words = ("data.global_batch_size=8", "schedule.epoch=1", "lora.rank=2")
    alone = train(*words)
    recipe = ["--config", CSKT, "--output", str(tmp_path / "both"), *SMALL, *FEW, *places, *words]
    run_main_on_ranks(2, tmp_path, [*recipe, f"model.clip_pretrained={archive}"])
    first, second = (
        [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open() if '"sdm"' in line]
        for folder in (alone, tmp_path / "both")
    )
    assert second == pytest.approx(first, rel=1e-4)


def test_lora_is_merged_by_an_export_and_the_others_are_refused(train, tmp_path):
    folder = train(*WAYS["LoRA"], "experiment.id=true")
    assert export.main([str(folder), "merged.pth"]) == 0
    merged = open_checkpoint(Path("merged.pth"), geometry=lambda _: Geometry((32, 16))).state
    checkpoint = open_checkpoint(folder, BEST)
    config = parse([]).configure(checkpoint.config)
    model = restored_model(config, checkpoint, with_heads=False)
    assert torch.equal(merged["classifier.weight"], checkpoint.state["classifier.weight"])
    name = "clip.visual.transformer.blocks.0.mlp.c_fc"
    layer = model.clip.visual.transformer.blocks[0].mlp.c_fc
    expected = layer.base_layer.weight + layer.get_delta_weight("default")
    torch.testing.assert_close(merged[f"{name}.weight"], expected)
    assert not torch.allclose(expected, layer.base_layer.weight)
    train(output="cskt")
    assert export.main(["cskt", "none.pth"]) == 2
    assert not Path("none.pth").exists()


def test_a_published_checkpoint_is_evaluated(train, places):
    folder = train()
    checkpoint = open_checkpoint(folder, BEST)
    config = parse([]).configure(checkpoint.config)
    state = restored_model(config, checkpoint, with_heads=False).state_dict()
    torch.save({"model": to_cskt(state)}, "best.pth")
    words = ("--config", CSKT, *SMALL, *FEW, *places)
    assert evaluate("best.pth", *words, output="again") == closing(folder)
    recipe = str(options.RECIPES / "clipreid_vit.yaml")
    reid = write_reid_dataset("market1501", Path("reid"), identities={"train": 4, "test": 2})
    words = ("--config", recipe, *SMALL, "model.embed_dim=32", f"reid.root={reid.root}")
    with pytest.raises(InputError, match="is tuned by prompts, image_adapters, text_ada"):
        main.run(parse([*words, "model.init_from=best.pth"]))


def test_altclip_is_tuned_in_its_own_way(places, tmp_path, monkeypatch):
    """Prompts in the image tower; adapters and LoRA in both."""
    monkeypatch.chdir(tmp_path)
    folder = write_altclip_folder(tmp_path / "altclip", embed_dim=16)
    words = ("model.backbone=altclip", f"model.altclip_pretrained={folder}")
    more = ("model.embed_dim=16", "model.projection_dim=16", "lora.rank=2", "prompts.depth=1")
    recipe = ["--config", CSKT, "--output", "run", *SMALL, *FEW, *places, *words, *more]
    with pytest.raises(InputError, match=r"set prompts\.direction=independent"):
        main.run(parse(recipe))
    main.run(parse([*recipe, "prompts.direction=independent"]))
    assert evaluate("run", output="again") == closing(Path("run"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("prompts.depth=3",), r"prompts\.depth is 3: give 1 to 2"),
        (("prompts.init=words", "prompts.n_ctx=3"), r"are 4 tokens and prompts\.n_ctx is 3"),
        (("adapters.blocks=[2]",), r"adapters cannot sit in block 2"),
        (("adapters.reduction=100",), r"adapters\.reduction is 100: give 1 to 64"),
        (("experiment.text_length=9",), r"prompts\.n_ctx=4 leaves 1 of 9 tokens"),
        (("adapters.towers=[words]",), r"adapters\.towers\[0\] is \"words\", expected 'image' or"),
        (("adapters.towers=[text, text]",), r"adapters\.towers: text, text: give each once"),
        (("adapters.blocks=[]",), r"adapters\.blocks"),
        (("prompts={init: words, n_ctx: 0}",), r"prompts: init is words, but n_ctx is 0"),
        (("model.temperature=0.005",), r"model\.temperature is 0\.005, expected at least 0\.01"),
        (("task=image_to_image", "reid.i2t=false"), r"prompts: needs task text_to_image"),
    ],
)
def test_a_mistake_is_one_sentence(train, words, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        train(*words)
    assert not (tmp_path / "run").exists()


def test_the_recipe_makes_full_size_steps(tmp_path):
    """ViT-B/16 at 384 x 128: what the log says of it, and what has moved."""
    write_openai_archive(tmp_path / "ViT-B-16.pt", **VIT_B_16)
    few = (
        *("data.global_batch_size=2", "data.batch_size=2", "data.test_batch_size=8"),
        *("data.num_workers=0", "schedule={epoch: 1, epoch_warmup: 0}", "log.print_period=1"),
        *("experiment.select_on=last", "evaluation.ranked_lists=0"),
    )
    pictures = write_dataset(
        "cuhk-pedes",
        tmp_path,
        identities={"train": 1, "test": 1},
        images=(2, 2),
        height=(96, 128),
    )
    places = (
        f"data.annotation_file={pictures.processed}",
        f"data.image_root={pictures.image_root}",
    )
    source = f"model.clip_pretrained={tmp_path / 'ViT-B-16.pt'}"
    arguments = ["--config", CSKT, "--output", str(tmp_path / "run"), *places, source, *few]
    main.run(parse(arguments))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    steps = [row for row in rows if "loss" in row]
    assert len(steps) == 2
    assert {row["trained_parameters"] for row in steps} == {12_117_888}
    assert all(math.isfinite(row["loss"]) for row in steps)
    told = (tmp_path / "run" / "log.txt").read_text()
    assert "12,117,888 of 161,735,553 parameters trained (7.49 %)" in told
    held = open_checkpoint(tmp_path / "run" / LAST).state
    moved = [name for name, tensor in held.items() if name.endswith("up.bias") and tensor.any()]
    assert len(moved) == 24
