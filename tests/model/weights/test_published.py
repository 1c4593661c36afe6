"""Checkpoints of TBPS-CLIP, IRRA and CSKT, written here as their code writes them."""

import math
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import main
import options
from errors import InputError
from misc import export
from misc.runtime.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    open_checkpoint,
    save_checkpoint,
)
from misc.tasks.starting_weights import open_init_from, restore_backbone
from misc.tasks.text.model import build_tbps_clip, describe, new_model
from model.architecture import TextArchitecture
from model.clip import CLIP, TextShape
from model.heads import Classifier, MaskedLanguageDecoder, ProjectionHead, SelectionShape
from model.tbps_clip import TBPSCLIP, build_selectors
from model.tuning.description import AdapterTuning, PromptTuning, Tuning
from model.tuning.tune import describe_tuning, tune
from model.vit import VisionShape
from model.weights.published.cskt import from_cskt, to_cskt
from model.weights.published.format import Geometry
from model.weights.published.irra import from_irra, to_irra
from model.weights.published.tbps_clip import from_tbps_clip, to_tbps_clip
from model.weights.published.text_towers import HEADS
from tests import GOLDEN_FILES
from tests.command_line import parse
from tests.conftest import SMALL

GOLDEN = np.load(GOLDEN_FILES / "tbps_step.npz")
SHAPE = {"image_size": (64, 32), "heads": (2, 2)}  # of the golden model, not told by its weights
VISION = VisionShape(64, 2, 2, patch_size=16, stride=16, image_size=(64, 32))
TEXT = TextShape(64, 2, 2, context_length=20, vocab_size=300)


def read_published(file: Path, *geometry: object, **named: object) -> Checkpoint:
    return open_checkpoint(file, geometry=lambda _: Geometry(*geometry, **named))


def golden(name: str) -> torch.Tensor:
    return torch.tensor(GOLDEN[f"c1/{name}"])


@pytest.fixture
def theirs() -> dict[str, torch.Tensor]:
    """The golden weights in the names of TBPS-CLIP, with a log scale as after some training."""
    names = [name for name in GOLDEN.files if name.startswith("weights/")]
    weights = {name.removeprefix("weights/"): torch.tensor(GOLDEN[name]) for name in names}
    return weights | {"logit_scale": torch.tensor(2.75)}


@pytest.fixture
def irra(theirs) -> dict[str, torch.Tensor]:
    """The same weights in the names of IRRA, whose towers are one CLIP and whose scale is fixed."""
    heads = ("cross_attn", "cross_modal", "ln_pre_", "ln_post", "mlm_head", "classifier")
    return {
        name if name.startswith(heads) else f"base_model.{name.removeprefix('encode_text.')}": value
        for name, value in theirs.items()
        if not name.startswith(("simclr_mlp.", "logit_scale"))
    }


@pytest.fixture
def write(tmp_path):
    """Write weights as the projects do; the result is the file."""

    def write(state: dict[str, torch.Tensor], **beside: object) -> Path:
        file = tmp_path / "published.pth"
        torch.save({"model": state, **beside}, file)
        return file

    return write


class EasyDict(dict):
    """As the package's: every value is an item and an attribute, dictionaries within are the same.

    It leaves a mark when it is made, to show that reading a file does not make one.
    """

    made = 0

    def __new__(cls, *args: object) -> "EasyDict":
        EasyDict.made += 1
        return super().__new__(cls, *args)

    def __init__(self, items: dict | None = None) -> None:
        super().__init__()
        for name, value in (items or {}).items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, list | tuple):
            value = type(value)(EasyDict(v) if isinstance(v, dict) else v for v in value)
        elif isinstance(value, dict) and not isinstance(value, EasyDict):
            value = EasyDict(value)
        super().__setattr__(name, value)
        super().__setitem__(name, value)

    __setitem__ = __setattr__


@pytest.fixture
def easydict(monkeypatch) -> ModuleType:
    """A module easydict, which need not be installed."""
    module = ModuleType("easydict")
    module.EasyDict = EasyDict
    monkeypatch.setattr(EasyDict, "__module__", "easydict")
    monkeypatch.setattr(EasyDict, "made", 0)
    monkeypatch.setitem(sys.modules, "easydict", module)
    return module


CONFIG = {
    "model": {"ckpt_type": "original_clip", "embed_dim": 64, "vision": {"heads": None}},
    "image": {"size": (64, 32), "mean": [0.5, 0.5, 0.5]},
    "schedule": {"lr": 1e-4, "betas": (0.9, 0.98), "stages": [{"name": "train"}]},
    "distributed": True,
}


def full_model(text: TextShape = TEXT) -> TBPSCLIP:
    return TBPSCLIP(
        CLIP(VISION, text, embed_dim=64),
        simclr_mlp=ProjectionHead(64, 32, 64),
        classifier=Classifier(64, 6),
        mlm_decoder=MaskedLanguageDecoder(64, 1, 2, 300),
    )


@torch.no_grad()
def assert_golden_features(clip: CLIP) -> None:
    clip.eval()
    images, tokens = golden("image"), golden("tokens")
    for encode, inputs, kind in (
        (clip.encode_image, images, "image"),
        (clip.encode_text, tokens, "text"),
    ):
        features, dense = encode(inputs, dense=True)
        for ours, name in ((features, "feat"), (dense, "dense"), (encode(inputs), "feat")):
            expected = golden(f"{kind}_{name}")
            torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-4)


def assert_same_state(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("with_easydict", [True, False])
def test_features_are_those_of_the_published_code(
    theirs, easydict, write, monkeypatch, with_easydict, prefix
):
    """From a file just as it is published: weights, optimizer and configuration."""
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    optimizer = torch.optim.AdamW([weight])
    optimizer.step()
    file = write(
        {prefix + name: value for name, value in theirs.items()},
        optimizer=optimizer.state_dict(),
        config=EasyDict(CONFIG) if with_easydict else CONFIG,
    )
    assert (b"easydict" in file.read_bytes()) == with_easydict
    monkeypatch.delitem(sys.modules, "easydict")

    published = read_published(file, **SHAPE)
    assert published.recipe == "TBPS-CLIP"
    model = full_model()
    model.load_state_dict(published.state)
    assert_golden_features(model.clip)
    assert model.clip.logit_scale == 2.75

    alone = CLIP(VISION, TEXT, embed_dim=64)
    towers = {n: v for n, v in published.state.items() if n.startswith("clip.")}
    alone.load_state_dict({n.removeprefix("clip."): v for n, v in towers.items()})
    assert_golden_features(alone)


def test_irra(irra, write):
    file = write(irra)
    published = read_published(file, **SHAPE)
    assert published.recipe == "IRRA"
    assert published.architecture.num_identities == 6
    model = full_model()
    model.simclr_mlp = None
    model.load_state_dict(published.state)
    assert_golden_features(model.clip)
    assert model.clip.logit_scale.exp().item() == pytest.approx(1 / 0.02)


def test_a_training_goes_on_from_irras_heads_where_they_fit(irra, write, small_config, caplog):
    """The decoder has the golden sizes; of another number of people, the classifier begins anew."""
    shape = ("data.image_size=[64,32]", "model.embed_dim=64", "experiment.text_length=20")
    towers = (
        "model.vision={width: 64, layers: 2, heads: 2, patch_size: 16}",
        "model.text={width: 64, layers: 2, heads: 2}",
    )
    losses = ("experiment={id: true, mlm: true, cmt_depth: 1, ss: false}",)
    file = write(irra)
    config = small_config(*shape, *towers, *losses, f"model.init_from={file}")
    for num_identities, fits in ((6, True), (7, False)):
        caplog.clear()
        with caplog.at_level("INFO"):
            model = new_model(config, open_init_from(config), num_identities=num_identities)
        assert_golden_features(model.clip)
        ours = from_irra(irra)
        for name, tensor in model.state_dict().items():
            if name.startswith("mlm_decoder.") or (fits and name.startswith("classifier.")):
                assert torch.equal(tensor, ours[name]), name
        assert len(model.classifier.weight) == num_identities
        assert ("a classifier of other sizes: it begins anew" in caplog.text) == (not fits)


def test_rde(irra, write, places, tmp_path):
    """IRRA's towers with the published heads: both embeddings, and a table of main.py of them."""
    golden_heads = np.load(GOLDEN_FILES / "rde.npz")
    torch.manual_seed(0)
    theirs = {name: value for name, value in irra.items() if name.startswith("base_model.")}
    for prefix, head in (("V", "visul_emb_layer"), ("T", "texual_emb_layer")):
        for name in golden_heads.files:
            if name.startswith(f"t0/{prefix}."):
                value = torch.tensor(golden_heads[name])
                if value.ndim == 2 and value.shape[1] == 32 and "layers.1" not in name:
                    value = torch.randn(len(value), 64)  # towers here are 64 wide
                theirs[name.replace(f"t0/{prefix}.", f"{head}.")] = value
    file = write(theirs)
    published = read_published(file, **SHAPE)
    assert published.recipe == "RDE"
    assert published.architecture.selection == SelectionShape(64, 0.3)
    clip = CLIP(VISION, TEXT, embed_dim=64)
    model = TBPSCLIP(clip, selectors=build_selectors(clip, SelectionShape(64, 0.3))).eval()
    model.load_state_dict(published.state)
    assert_golden_features(model.clip)
    linear = model.image_selector.linear.weight
    assert torch.equal(linear, theirs["visul_emb_layer.fc.weight"])
    _, tokens, attention = clip.attend_image(golden("image"))
    expected = slow_selection(theirs, "visul_emb_layer", "fc", tokens, attention)
    found = model.image_selector(tokens, attention)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

    sizes = ("data.image_size=[64,32]", "model.embed_dim=64", "experiment.text_length=20")
    towers = (
        "model.vision={width: 64, layers: 2, heads: 2, patch_size: 16}",
        "model.text={width: 64, layers: 2, heads: 2}",
    )
    words = ["--config", str(options.RECIPES / "rde.yaml"), *SMALL, *places, *sizes, *towers]
    words += ["model.token_selection.embed_dim=64", "evaluation.ranked_lists=0"]
    words += ["model.clip_pretrained=null", "--output", str(tmp_path / "run")]
    # The golden vocabulary has 300 tokens: the tokenizer's needs them all.
    vocabulary = "base_model.token_embedding.weight"
    theirs[vocabulary] = torch.randn(49408, 64) / 50
    main.run(parse(["--evaluate", str(write(theirs)), *words]))
    table = (tmp_path / "run/results.md").read_text()
    assert "text to image, token selection alone" in table
    with pytest.raises(InputError, match=r"wrong shape .*image_selector.mlp.0.weight \(32, 8\)"):
        read_published(
            write(theirs | {"visul_emb_layer.mlp.layers.0.weight": torch.zeros(32, 8)}), **SHAPE
        )
    with pytest.raises(InputError, match=r"image_selector.linear.weight \(64,\) instead of 2"):
        read_published(write(theirs | {"visul_emb_layer.fc.weight": torch.zeros(64)}), **SHAPE)


def slow_selection(
    theirs: dict[str, torch.Tensor],
    head: str,
    linear: str,
    tokens: torch.Tensor,
    attention: torch.Tensor,
) -> torch.Tensor:
    """The embedding of images by a loop, in evaluation mode."""
    weights = {n.removeprefix(f"{head}."): v for n, v in theirs.items() if n.startswith(head)}
    rows = []
    for words, weight in zip(tokens, attention, strict=True):
        order = sorted(range(1, len(words)), key=lambda i: -float(weight[i]))
        found = []
        for i in order[: int((len(words) - 1) * 0.3)]:
            x = words[i] / (words[i].norm() + 1e-8)
            hidden = weights["mlp.layers.0.weight"] @ x + weights["mlp.layers.0.bias"]
            mean, var = weights["mlp.bns.0.running_mean"], weights["mlp.bns.0.running_var"]
            hidden = (hidden - mean) / (var + 1e-5).sqrt()
            hidden = (hidden * weights["mlp.bns.0.weight"] + weights["mlp.bns.0.bias"]).relu()
            out = weights["mlp.layers.1.weight"] @ hidden + weights["mlp.layers.1.bias"]
            found.append(weights[f"{linear}.weight"] @ x + weights[f"{linear}.bias"] + out)
        rows.append(torch.stack(found).amax(dim=0))
    return torch.stack(rows)


def test_cskt(write):
    """Its file is IRRA's with prompts and adapters, whose sizes its tensors tell."""
    content = np.load(GOLDEN_FILES / "tiny_cskt.npz")
    names = [name for name in content.files if name.startswith("weights/")]
    theirs = {name.removeprefix("weights/"): torch.tensor(content[name]) for name in names}
    file = write(theirs)
    assert read_published(file, (64, 32), heads=(1, 1)).recipe == "CSKT"
    published = read_published(write({f"module.{k}": v for k, v in theirs.items()}), (64, 32))
    architecture = published.architecture
    assert isinstance(architecture, TextArchitecture)
    assert architecture.tuning == Tuning(
        PromptTuning(4, 3, "both"), AdapterTuning(8, 0.1), AdapterTuning(8, 4.0)
    )
    assert published.state["clip.logit_scale"].exp().item() == pytest.approx(50)
    clip = CLIP(architecture.vision, architecture.text, architecture.embed_dim)
    tune(clip, architecture.tuning)
    model = TBPSCLIP(clip).eval()
    model.load_state_dict(published.state)
    case = {k.removeprefix("a_nctx4_depth3_layers3/"): content[k] for k in content.files}
    with torch.no_grad():
        for name, features in (
            ("image_feat", model.encode_image(torch.tensor(case["images"]))),
            ("text_feat", model.encode_text(torch.tensor(case["tokens_in"]))),
        ):
            torch.testing.assert_close(features, torch.tensor(case[name]), rtol=1e-4, atol=1e-4)
    assert_same_state(to_cskt(from_cskt(theirs)), theirs)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "prompt_learner.compound_prompts_text.0",
            None,
            r"missing clip.prompts.text; unexpected prompt_learner.compound_prompt_proj",
        ),
        ("prompt_learner.vision", torch.zeros(3, 64), "missing clip.prompts.image"),
        ("prompt_learner.vmap.weight", None, "missing clip.prompts.image_to_text.0.weight"),
        ("prompt_learner.other", torch.zeros(3), "unexpected prompt_learner.other"),
        ("prompt_learner.ctx", torch.zeros(64), "missing clip.prompts.text"),
        (
            "base_model.visual.transformer.resblocks.0.adapter_mlp.down.weight",
            torch.zeros(8),
            "wrong shape clip.visual.transformer.blocks.0.adapter.down.weight",
        ),
        (
            "base_model.visual.transformer.resblocks.1.adapter_mlp.down.bias",
            torch.zeros(9),
            r"visual.transformer.blocks.1.adapter.down.bias \(9,\) instead of \(8,\)",
        ),
        (
            "base_model.transformer.resblocks.1.ln_3.weight",
            None,
            "missing clip.text.transformer.blocks.1.adapter.ln_3.weight",
        ),
    ],
)
def test_tensors_of_cskt_that_do_not_fit_are_named(write, name, value, told):
    content = np.load(GOLDEN_FILES / "tiny_cskt.npz")
    names = [name for name in content.files if name.startswith("weights/")]
    theirs = {name.removeprefix("weights/"): torch.tensor(content[name]) for name in names}
    theirs[name] = value
    file = write({k: v for k, v in theirs.items() if v is not None})
    with pytest.raises(InputError, match=told):
        read_published(file, (64, 32))


def test_architecture(theirs, write, small_config):
    """It is that of the model, and the builder makes a model of it that the weights fit."""
    published = read_published(write(theirs), **SHAPE)
    assert published.architecture == describe_full(full_model())
    config = small_config(
        "data.image_size=[64,32]",
        "model.clip_pretrained=unread.pt",
        "model.embed_dim=64",
        "experiment.text_length=20",
        "experiment.ss=true",
        "experiment.simclr_mlp=[64, 32, 64]",
        "experiment.id=true",
        "experiment.mlm=true",
        "experiment.cmt_depth=1",
    )
    clip = restore_backbone(config, published.architecture)
    model = build_tbps_clip(config, clip, published.architecture.num_identities)
    model.load_state_dict(published.state)
    assert_golden_features(model.clip)
    assert describe(config, model).num_identities == 6

    towers = {n: v for n, v in theirs.items() if not n.startswith("classifier.")}
    assert read_published(write(towers), **SHAPE).architecture.num_identities == 0


def test_heads_are_64_wide_unless_told(theirs, write):
    architecture = read_published(write(theirs), image_size=(64, 32)).architecture
    assert architecture.vision == replace(VISION, heads=1)
    assert architecture.text == replace(TEXT, heads=1)


def test_round_trips_are_bitwise(theirs, irra):
    """There and back from either side; halves stay halves."""
    halves = {name: value.half() for name, value in theirs.items()}
    for state in (theirs, halves):
        ours = from_tbps_clip(state)
        assert ours.keys() == full_model().state_dict().keys()
        assert_same_state(to_tbps_clip(ours), state)
    ours = full_model().state_dict()
    assert_same_state(from_tbps_clip(to_tbps_clip(ours)), ours)

    ours = from_tbps_clip(theirs)
    left_out = ("simclr_mlp.", "clip.logit_scale")
    rest = {name: value for name, value in ours.items() if not name.startswith(left_out)}
    assert_same_state(from_irra(irra), rest)
    assert_same_state(to_irra(rest), irra)


def test_a_missing_log_scale_is_that_of_the_start(theirs, write):
    del theirs["logit_scale"]
    scale = read_published(write(theirs), **SHAPE).state["clip.logit_scale"]
    assert scale.shape == ()
    assert scale.item() == pytest.approx(math.log(1 / 0.07))


def test_a_square_tells_its_sides(theirs, write):
    theirs["visual.positional_embedding"] = torch.zeros(1 + 9, 64)
    file = write(theirs)
    assert read_published(file).architecture.vision.image_size == (48, 48)
    vision = read_published(file, stride=12).architecture.vision
    assert (vision.image_size, vision.stride) == ((40, 40), 12)


def test_the_image_size_must_fit(theirs, write):
    """The weights are of 4 x 2 patches, of any size and stride that make as many."""
    file = write(theirs)
    with pytest.raises(InputError, match=r"rectangle of 8 patches.*set data.image_size"):
        read_published(file)
    with pytest.raises(InputError, match=r"8 patches, but .* 64 x 64 .* stride 16 has 4 x 4"):
        read_published(file, image_size=(64, 64))
    with pytest.raises(InputError, match=r"stride 8 has 7 x 3: .* model.stride"):
        read_published(file, image_size=(64, 32), stride=8)
    with pytest.raises(InputError, match="is smaller than a patch"):
        read_published(file, image_size=(8, 8))
    vision = read_published(file, image_size=(40, 24), stride=8).architecture.vision
    assert (vision.image_size, vision.stride) == ((40, 24), 8)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("visual.proj", None, "missing clip.visual.proj"),
        ("visual.ln_post.bias", None, "missing clip.visual.ln_post.bias"),
        ("prompt_learner.ctx", torch.zeros(4, 64), "unexpected prompt_learner.ctx"),
        ("visual.extra", torch.zeros(1), "unexpected clip.visual.extra"),
        ("visual.ln_pre.bias", torch.zeros(8), r"clip.visual.ln_pre.bias \(8,\) instead of \(64,"),
        ("encode_text.text_projection", torch.zeros(64), r"projection \(64,\) instead of 2 dim"),
        ("classifier.weight", torch.zeros(()), r"classifier.weight \(\) instead of 2 dimensions"),
    ],
)
def test_tensors_that_do_not_fit_are_named(theirs, write, name, value, told):
    theirs[name] = value
    file = write({name: value for name, value in theirs.items() if value is not None})
    with pytest.raises(InputError, match=told):
        read_published(file, **SHAPE)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist"),
        (b"", "cannot be read safely"),
        (b"no archive", "cannot be read safely"),
        (torch.zeros(3), "holds a Tensor, not a checkpoint"),
        ({"state_dict": {}}, "neither a checkpoint of this project"),
        ({"model": torch.zeros(3)}, "neither a checkpoint of this project"),
        ({"model": {}}, "nor of a known one .TBPS-CLIP, CSKT, RDE, IRRA, CLIP-ReID."),
        ({"model": {"encode_text.token_embedding.weight": "a"}}, "neither a checkpoint"),
        ({"model": {"clip.text.token_embedding.weight": torch.zeros(3, 4)}}, "nor of a known one"),
        ({"model": {"token_embedding.weight": torch.zeros(3, 4)}}, "nor of a known one"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, content, told):
    file = tmp_path / "other.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(InputError, match=told) as caught:
        read_published(file)
    assert str(file) in str(caught.value)


class Trap:
    """Unpickled by anything that runs pickles, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("way", ["zip", "legacy", "raw"])
def test_a_pickle_is_not_run(theirs, tmp_path, way):
    file, mark = tmp_path / "published.pth", tmp_path / "mark"
    content = {"model": theirs, "config": Trap(mark)}
    if way == "raw":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=way == "zip")
    with pytest.raises(InputError, match="cannot be read safely"):
        read_published(file, **SHAPE)
    assert not mark.exists()
    with file.open("rb") as stream:  # it would have been, by another reader
        if way == "raw":
            pickle.load(stream)
        else:
            torch.load(stream, weights_only=False)
    assert mark.exists()


def test_a_pickle_is_not_run_under_the_allowed_name(theirs, easydict, write):
    """The class of the name easydict.EasyDict is not called, though it can be imported."""
    file = write(theirs, config=EasyDict(CONFIG))
    made = EasyDict.made
    assert made > 0
    read_published(file, **SHAPE)
    assert EasyDict.made == made
    torch.load(file, weights_only=False)
    assert EasyDict.made > made


def test_the_allowed_name_is_allowed_here_alone(theirs, easydict, write):
    file = write(theirs, config=EasyDict(CONFIG))
    before = set(torch.serialization.get_safe_globals())
    read_published(file, **SHAPE)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError, match="EasyDict"):
        torch.load(file, weights_only=True)


def describe_full(model: TBPSCLIP) -> TextArchitecture:
    clip = model.clip
    return TextArchitecture(
        backbone="clip",
        vision=clip.visual.shape,
        text=clip.text.shape,
        embed_dim=clip.embed_dim,
        activation=clip.activation,
        num_identities=model.classifier.out_features,
        tuning=describe_tuning(clip),
    )


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """A run's folder, whose best and last checkpoints differ in their weights."""
    folder = tmp_path / "run"
    folder.mkdir()
    words = ["data.image_size=[64,32]", "model.embed_dim=64", "experiment.text_length=20"]
    words += ["model.vision={width: 64, layers: 2, heads: 2}"]
    words += ["model.text={width: 64, layers: 2, heads: 2}"]
    demo = str(options.RECIPES / "demo.yaml")
    config = parse(["--config", demo, "model.vision.patch_size=16", *words]).configure()
    text = replace(TEXT, vocab_size=49408)  # of CLIP's tokenizer
    for name in (LAST, BEST):
        model = full_model(text)
        content = {
            "model": model.state_dict(),
            "architecture": describe_full(model).to_tree(),
            "config": options.to_tree(config),
            "recipe": "demo",
            "epoch": 1,
        }
        save_checkpoint(content, folder / name)
    return folder


def test_export(run_folder, tmp_path, capsys):
    """Exported and read again, it is the same; a folder means its best checkpoint."""
    output = tmp_path / "new" / "tbps_clip.pth"
    assert export.main([str(run_folder), str(output)]) == 0
    *compared, told = capsys.readouterr().out.splitlines()
    assert told == f"{run_folder / BEST} -> {output}"
    assert [line.split(" differ ")[0] for line in compared] == [
        f"{tower} tower: features in tbps_clip.pth" for tower in ("image", "text")
    ]
    assert torch.load(output, weights_only=True).keys() == {"model"}
    published = read_published(output, **SHAPE)
    best = open_checkpoint(run_folder / BEST)
    assert_same_state(published.state, best.state)
    assert published.architecture == best.architecture

    before = output.read_bytes()
    assert export.main([str(run_folder / LAST), str(output)]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: {output} exists: name another file, or delete this one\n"
    assert captured.out == ""
    assert output.read_bytes() == before
    assert not list(output.parent.glob("*.partial"))

    output.unlink()
    assert export.main([str(run_folder / LAST), str(output)]) == 0
    last = open_checkpoint(run_folder / LAST)
    assert_same_state(read_published(output, **SHAPE).state, last.state)


def test_a_trained_run_is_exported(places, tmp_path, monkeypatch):
    """The checkpoint is one that training wrote, with every head."""
    monkeypatch.chdir(tmp_path)
    demo = str(options.RECIPES / "demo.yaml")
    heads = [f"experiment.{loss}=true" for loss in ("ss", "id", "mlm")]
    few = ["schedule.epoch=1", "experiment.cmt_depth=1"]
    words = ["--config", demo, "--output", "run", *SMALL, *places, *few, *heads]
    main.run(parse(words))
    output = tmp_path / "tbps_clip.pth"
    assert export.main(["run", str(output)]) == 0

    checkpoint = open_checkpoint(tmp_path / "run" / BEST)
    published = read_published(output, image_size=(32, 16), heads=(2, 2))
    assert {name.partition(".")[0] + "." for name in published.state} == {"clip.", *HEADS}
    assert_same_state(published.state, checkpoint.state)
    text = replace(checkpoint.architecture.text, dropout=0.0)  # of the training, not of the weights
    assert published.architecture == replace(checkpoint.architecture, text=text)
    assert published.architecture.num_identities == 20


def test_what_cannot_be_exported(run_folder, tmp_path, capsys):
    output = tmp_path / "tbps_clip.pth"
    file = run_folder / LAST
    content = open_checkpoint(file).to_tree()

    def refused(place: Path, output: Path = output) -> str:
        assert export.main([str(place), str(output)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert not output.is_file()
        return captured.err

    assert "does not exist" in refused(tmp_path / "nothing")
    other = tmp_path / "other.pth"
    torch.save({"model": {}}, other)
    assert "neither a checkpoint of this project" in refused(other)

    architecture = content["architecture"] | {"activation": "gelu"}
    save_checkpoint(content | {"architecture": architecture}, other)
    assert "activation gelu" in refused(other)

    foreign = {"prompts.context": torch.zeros(2), "prompts.mask": torch.zeros(2)}
    save_checkpoint(content | {"model": content["model"] | foreign}, other)
    assert "no place for prompts.context and 1 other" in refused(other)

    assert f"cannot write {file / 'below.pth'}" in refused(file, file / "below.pth")
