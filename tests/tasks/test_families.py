"""Every family of backbones through main.py and search.py, without the weights of its source."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import torch

import main
import options
import search
from errors import InputError
from misc.data.text import count_cut
from misc.runtime.checkpoint import BEST, open_checkpoint
from misc.search.person_search import PersonSearch
from misc.tasks.starting_weights import compare_statistics
from model.tuning.tune import is_added
from tests.altclip_folders import write_altclip_folder
from tests.backbone_folders import (
    OPEN_CLIP,
    write_chinese_clip_folder,
    write_clip_folder,
    write_open_clip_folder,
    write_siglip_folder,
)
from tests.command_line import configure, parse
from tests.conftest import SMALL
from text_utils.tokenizer import ClipTokenizer, SiglipTokenizer

DEMO = str(options.RECIPES / "demo.yaml")
FEW = ("data.batch_size=40", "schedule.epoch=2", "evaluation.ranked_lists=0")
FAMILIES = {
    "siglip": lambda folder: write_siglip_folder(folder, "siglip"),
    "siglip2": lambda folder: write_siglip_folder(folder, "siglip2"),
    "naflex": lambda folder: write_siglip_folder(folder, "naflex"),
    "chinese": write_chinese_clip_folder,
    "altclip": lambda folder: write_altclip_folder(
        folder, embed_dim=32, text_width=32, mlp_ratio=3, context_length=80
    ),
    "clip": write_clip_folder,  # its MLPs are not four times as wide as its blocks
    **{name: partial(write_open_clip_folder, family=name) for name in OPEN_CLIP if name != "pe"},
}
OWN = {  # settings of a family
    "eva02": "data.image_size=28",
    "mobileclip2": "data.image_size=32",
    "altclip": "model.projection_dim=32",
}
LORA = "lora={rank: 2, targets: [attention, mlp]}"


@pytest.fixture
def train(places, tmp_path, monkeypatch):
    """Run main.py in a folder of its own; the result is the run's folder."""
    monkeypatch.chdir(tmp_path)

    def train(source: object, *words: str, output: str = "run") -> Path:
        own = [*SMALL, *places, f"model.clip_pretrained={source}", "model.embed_dim=32", *FEW]
        recipe = [] if "--config" in words else ["--config", DEMO]
        main.run(parse([*recipe, "--output", output, *own, *words]))
        return tmp_path / output

    return train


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def closing(folder: Path) -> list[tuple[float, ...]]:
    return [tuple(row[n] for n in ("R1", "R10", "mAP")) for row in rows(folder) if "chosen" in row]


def without_weights(folder: Path) -> None:
    """Remove the pretrained weights; the tokenizer stays."""
    for file in [*folder.rglob("*.safetensors"), *folder.rglob("*.bin")]:
        file.unlink()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_resumes_evaluates_and_is_searched(
    family, train, interrupt, tmp_path, pedestrians
):
    FAMILIES[family](tmp_path / "weights")
    own = [OWN[family]] if family in OWN else []
    whole = train("weights", *own, output="whole")
    interrupt(lambda: train("weights", *own), 1)
    without_weights(tmp_path / "weights")
    main.run(parse(["--resume", "run"]))
    assert closing(tmp_path / "run") == closing(whole)
    ours, other = (open_checkpoint(folder / BEST) for folder in (tmp_path / "run", whole))
    assert all(torch.equal(ours.state[name], other.state[name]) for name in other.state)
    main.run(parse(["--evaluate", "run", "--output", "again"]))
    assert closing(tmp_path / "again") == closing(whole)
    found = [*("--images", str(pedestrians.image_root)), *("--output", "index"), "--workers", "0"]
    assert search.main(["index", "--checkpoint", "run", *found]) == 0
    assert search.main(["query", "--index", "index", "a woman in a red coat"]) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_tuned_by_lora(family, train, tmp_path):
    FAMILIES[family](tmp_path / "weights")
    own = [OWN[family]] if family in OWN else []
    folder = train("weights", *own, LORA, "schedule.epoch=1", "schedule.layer_decay=0.5")
    state = open_checkpoint(folder / BEST).state
    lora = [name for name in state if is_added(name)]
    assert {name.split(".")[1] for name in lora} == {"visual", "text"}
    assert len(lora) >= 2 * 2 * 6 or family == "mobileclip2"
    assert any("mlp" in name or "dense" in name or "fc" in name for name in lora)
    main.run(parse(["--evaluate", "run", "--output", "again"]))
    assert closing(tmp_path / "again") == closing(folder)


def test_the_sigmoid_loss_moves_the_bias_and_others_leave_it(train, tmp_path):
    write_siglip_folder(tmp_path / "weights")
    off = ("experiment.nitc=false", "experiment.ritc=false", "experiment.sigmoid=true")
    short = ("schedule.epoch=1", "experiment.select_on=last")
    for words, moves in ((short, False), ((*short, *off), True)):
        folder = train("weights", *words, output=f"run-{moves}")
        bias = open_checkpoint(folder / "checkpoint_last.pt").state["clip.logit_bias"]
        assert (bias.item() != pytest.approx(-12.9, abs=1e-6)) is moves
        scale = open_checkpoint(folder / "checkpoint_last.pt").state["clip.logit_scale"]
        assert scale.item() == pytest.approx(4.7, abs=0.01)  # beyond CLIP's largest


def test_a_larger_picture_than_the_run_that_is_started_from(train, tmp_path):
    write_siglip_folder(tmp_path / "weights")
    train("weights", "schedule.epoch=1", output="first")
    second = train(
        "weights", "schedule.epoch=1", "model.init_from=first", "data.image_size=[48, 32]"
    )
    positions = open_checkpoint(second / BEST).state["clip.visual.positional_embedding"]
    assert positions.shape == (24, 32)


@pytest.mark.parametrize("recipe", ["irra.yaml", "rde.yaml"])
def test_a_published_method_trains_another_backbone(recipe, train, tmp_path):
    """IRRA without masked words, RDE with one embedding."""
    write_siglip_folder(tmp_path / "weights")
    own = ("--config", str(options.RECIPES / recipe), "schedule={epoch: 1, epoch_warmup: 0}")
    folder = train("weights", *own, "data.global_batch_size=null")
    losses = {"irra.yaml": {"sdm", "id"}, "rde.yaml": {"tal"}}[recipe]
    (row,) = [row for row in rows(folder) if "lr" in row]
    assert {"sdm", "id", "mlm", "tal"} & row.keys() == losses
    assert "global alone" not in (folder / "results.md").read_text()
    log = (folder / "log.txt").read_text()
    assert ("experiment.mlm is switched off" in log) is (recipe == "irra.yaml")
    assert ("Division, epoch 1: " in log) is (recipe == "rde.yaml")


def test_masked_and_changed_words_of_open_clip_by_its_vocabulary(train, tmp_path):
    """Of CLIP's they train; others are told by the weights, not by the kind."""
    write_open_clip_folder(tmp_path / "weights", "pooled")
    write_open_clip_folder(tmp_path / "other", "xlmr")
    irra = ("--config", str(options.RECIPES / "irra.yaml"), "data.global_batch_size=null")
    words = (*irra, "schedule={epoch: 1, epoch_warmup: 0}", "experiment.cmt_depth=1")
    folder = train("weights", *words, "experiment.token_change=0.2")
    (row,) = [row for row in rows(folder) if "lr" in row]
    assert {"sdm", "id", "mlm"} <= row.keys()
    assert "switched off" not in (folder / "log.txt").read_text()
    with pytest.raises(InputError, match="needs CLIP's vocabulary, and other has another"):
        train("other", *words, "experiment.token_change=0.2", output="changed")
    folder = train("other", *words, output="masked")
    assert "words of CLIP's vocabulary, and other has another" in (folder / "log.txt").read_text()


def test_pictures_prepared_unlike_those_of_the_weights_are_told_once(train, tmp_path):
    """Not where they are alike, of CLIP, whose methods do so on purpose, nor in an evaluation."""
    write_open_clip_folder(tmp_path / "weights", "pooled")
    write_clip_folder(tmp_path / "clip")
    short = ("schedule.epoch=1", "model.freeze=[]")
    logs = {
        "alike": train("weights", *short, "data.normalize=none", output="alike"),
        "unlike": train("weights", *short, "data.normalize=clip", output="unlike"),
        "clip": train("clip", *short, "data.normalize=half", output="clip-run"),
    }
    main.run(parse(["--evaluate", "unlike", "--output", "again"]))
    found = {name: (folder / "log.txt").read_text() for name, folder in logs.items()}
    found["again"] = (tmp_path / "again" / "log.txt").read_text()
    told = (
        "data.normalize is clip, but weights was trained on pictures with the mean "
        "[0.0, 0.0, 0.0] and the deviation [1.0, 1.0, 1.0]: set it to none"
    )
    assert {name: text.count(told) for name, text in found.items()} == {
        "alike": 0, "unlike": 1, "clip": 0, "again": 0
    }  # fmt: skip
    assert not any("data.normalize is" in found[name] for name in ("alike", "clip", "again"))


def test_statistics_that_no_value_has_are_told(tmp_path):
    write_siglip_folder(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    settings = json.loads(file.read_text()) | {"image_mean": [0.1, 0.2, 0.3]}
    file.write_text(json.dumps(settings))
    config = configure("--backbone", "siglip", f"model.clip_pretrained={tmp_path}")
    assert re.search(
        r"mean \[0\.1, 0\.2, 0\.3\] .*: no value of it has", compare_statistics(config)
    )
    from_run = configure(
        *("--backbone", "siglip", f"model.clip_pretrained={tmp_path}", "model.init_from=run")
    )
    assert compare_statistics(from_run) == ""


def test_losses_and_prompts_that_a_backbone_lacks_are_refused(train, tmp_path):
    write_siglip_folder(tmp_path / "weights")
    with pytest.raises(InputError, match=r"experiment\.sigmoid needs a logit bias"):
        train("null", "experiment.sigmoid=true", "model.embed_dim=16", output="clip")
    with pytest.raises(InputError, match=r"prompts go through .* image tower is a SigLIPVisionTr"):
        train("weights", "prompts={n_ctx: 2, depth: 1, direction: independent}")
    with pytest.raises(InputError, match=r"mlm is the only loss, .* but weights has another"):
        train("weights", *("experiment={nitc: false, ritc: false, mlm: true}",), output="words")


def test_long_captions_are_read_or_cut_and_counted(train, tmp_path, capsys):
    write_open_clip_folder(tmp_path / "weights", "bigg")
    words = ("schedule.epoch=1", "model.clip_pretrained=weights")
    long = train("weights", "experiment.text_length=248", *words, output="long")
    state = open_checkpoint(long / BEST).state
    assert state["clip.text.positional_embedding"].shape == (248, 32)
    assert "are cut" not in (long / "log.txt").read_text()
    short = train("weights", "experiment.text_length=12", *words, output="short")
    found = (short / "log.txt").read_text()
    for name, splits in (("training captions", 1), ("captions to evaluate", 2)):  # val and test
        sentence = rf"\d+ of \d+ {name} have more than 12 tokens and are cut; the end token stays"
        assert len(re.findall(sentence, found)) == splits
    people = PersonSearch(short, "cpu")
    for words, told in ((["a man"], 0), (["a man", "a man in a coat " * 5], 1), (["a " * 20], 0)):
        capsys.readouterr()
        people.encode_texts(words)
        found = "".join(capsys.readouterr())
        assert found.count("1 of 2 descriptions have more than 12 tokens and are cut") == told
        assert ("are cut" in found) is bool(told)
    with pytest.raises(InputError, match="249 is more than the 248 tokens that clip can read"):
        train("weights", "experiment.text_length=249", output="longer")


def test_cut_captions_keep_their_end_and_are_counted_to_the_token(tmp_path):
    write_siglip_folder(tmp_path / "siglip")
    for tokenizer in (ClipTokenizer(), SiglipTokenizer(tmp_path / "siglip")):
        texts = ["a", "a b c d e", "a b c d e f g h"]
        lengths = tokenizer.lengths(tokenizer(texts, 64)).tolist()
        for length in (lengths[1] - 1, lengths[1], lengths[2]):
            assert count_cut(tokenizer, texts, length) == sum(n > length for n in lengths)
        ends = tokenizer(texts, lengths[1] - 1)[:, -1]
        assert ends[1] == ends[2]
