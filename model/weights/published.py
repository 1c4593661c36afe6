"""Trained checkpoints of the public projects TBPS-CLIP, IRRA and CSKT: their names to ours, and
back.

Nothing in such a file is run. Only tensors and plain types are unpickled; the configuration beside
TBPS-CLIP's weights is an `easydict.EasyDict`, for which an ordinary dictionary stands in.
"""

import math
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.serialization import safe_globals

from errors import InputError
from model.clip import CLIP, TextShape
from model.tuning.cskt import TEMPERATURE, tune
from model.vit import VisionShape
from model.weights import (
    LANDMARKS,
    Names,
    join_in_proj,
    published_cskt,
    read_shapes,
    refuse_misfits,
    rename_all,
    reverse,
    split_in_proj,
)
from model.weights.sources import State

Kind = Literal["TBPS-CLIP", "IRRA", "CSKT"]

# The projects have the decoder's parts at the top level; `simclr_mlp` and `classifier` keep their
# names.
DECODER: Names = (
    ("mlm_decoder.ln_text.", "ln_pre_t."),
    ("mlm_decoder.ln_image.", "ln_pre_i."),
    ("mlm_decoder.cross_attn.", "cross_attn."),
    ("mlm_decoder.transformer.blocks.", "cross_modal_transformer.resblocks."),
    ("mlm_decoder.ln_post.", "ln_post."),
    ("mlm_decoder.to_words.0.", "mlm_head.dense."),
    ("mlm_decoder.to_words.2.", "mlm_head.ln."),
    ("mlm_decoder.to_words.3.", "mlm_head.fc."),
)
TBPS_CLIP: Names = (
    ("clip.logit_scale", "logit_scale"),
    ("clip.visual.transformer.blocks.", "visual.transformer.resblocks."),
    ("clip.visual.", "visual."),
    ("clip.text.transformer.blocks.", "encode_text.transformer.resblocks."),
    ("clip.text.projection", "encode_text.text_projection"),
    ("clip.text.", "encode_text."),
    *DECODER,
)
IRRA: Names = (
    ("clip.logit_scale", "base_model.logit_scale"),
    ("clip.visual.transformer.blocks.", "base_model.visual.transformer.resblocks."),
    ("clip.visual.", "base_model.visual."),
    ("clip.text.transformer.blocks.", "base_model.transformer.resblocks."),
    ("clip.text.token_embedding.", "base_model.token_embedding."),
    ("clip.text.positional_embedding", "base_model.positional_embedding"),
    ("clip.text.ln_final.", "base_model.ln_final."),
    ("clip.text.projection", "base_model.text_projection"),
    *DECODER,
)
HEADS = ("simclr_mlp.", "classifier.", "mlm_decoder.")  # ours, beside `clip.`
CLASSIFIER = "classifier.weight"  # (identities, D)
EASYDICT = (OrderedDict, "easydict.EasyDict")  # what its pickle makes instead


def from_tbps_clip(state: Mapping[str, Tensor]) -> State:
    """TBPS-CLIP's names to those of our model."""
    return split_in_proj(rename_all(state, reverse(TBPS_CLIP)))


def to_tbps_clip(state: Mapping[str, Tensor]) -> State:
    """The names of our model to TBPS-CLIP's, the inverse of `from_tbps_clip`."""
    return rename_all(join_in_proj(state), TBPS_CLIP)


def from_irra(state: Mapping[str, Tensor]) -> State:
    """IRRA's names to those of our model."""
    return split_in_proj(rename_all(state, reverse(IRRA)))


def from_cskt(state: Mapping[str, Tensor]) -> State:
    """CSKT's names to those of our model."""
    return from_irra(published_cskt.from_prompt_learner(state))


def to_cskt(state: Mapping[str, Tensor]) -> State:
    """The names of our model to CSKT's, the inverse of `from_cskt`."""
    return rename_all(join_in_proj(published_cskt.to_prompt_learner(state)), IRRA)


class Layout(NamedTuple):
    """What a project's file looks like; `logit_scale` is for a file that holds none.

    `landmarks` are the tensors `clip.*` that `read_tuning` reads, and their dimensions.
    """

    landmark: str
    to_ours: Callable[[Mapping[str, Tensor]], State]
    logit_scale: float
    landmarks: Mapping[str, int] = {}
    read_tuning: Callable[[State], dict[str, Any]] = lambda _: {}


LAYOUTS: dict[Kind, Layout] = {
    # Before IRRA, whose names it has, too.
    "CSKT": Layout(
        published_cskt.LANDMARK,
        from_cskt,
        math.log(1 / TEMPERATURE),
        published_cskt.LANDMARKS,
        published_cskt.read_tuning,
    ),
    # The value that its training starts from.
    "TBPS-CLIP": Layout("encode_text.token_embedding.weight", from_tbps_clip, math.log(1 / 0.07)),
    # A constant outside the weights, 1 / temperature.
    "IRRA": Layout("base_model.token_embedding.weight", from_irra, math.log(1 / 0.02)),
}


@dataclass(frozen=True)
class Published:
    """A published checkpoint.

    `state` has the names of our model: `clip.*`, and of `simclr_mlp.*`, `classifier.*` and
    `mlm_decoder.*` those that were trained, in the file's precision. `architecture` says in plain
    types what the towers are, as `build_model` takes it: `vision` and `text` (the fields of their
    shapes), `embed_dim`, `activation`, `identities`, those of the classifier or 0, and of CSKT
    `tuning`, as `cskt.tune` takes it.
    """

    state: State
    kind: Kind
    architecture: dict[str, Any]


def is_published(file: Path) -> bool:
    """Whether a file is a checkpoint of TBPS-CLIP, IRRA or CSKT, as far as its names tell."""
    try:
        return _find_kind(_load(file)) is not None
    except InputError:
        return False


def read_published(
    file: Path,
    image_size: tuple[int, int] | None = None,
    stride: int | None = None,
    heads: tuple[int, int] | None = None,
) -> Published:
    """The weights of a public project's checkpoint, on the CPU, and what they were made for.

    Args:
        image_size: (rows, columns) in pixels, which the weights of a rectangle do not tell; None:
            a square.
        stride: pixels from patch to patch; None: the patch size.
        heads: of the image and the text tower; None: 64 channels a head, as in all of CLIP's.

    Raises:
        InputError: there is no such file, it cannot be read without running something, it is of
            another project, or its tensors are not those of two towers for that image size.
    """
    state = _load(file)
    kind = _find_kind(state)
    if kind is None:
        raise InputError(
            f"{file} is neither a checkpoint of TBPS-CLIP (encode_text.*) nor of IRRA or CSKT "
            "(base_model.*): give one of these"
        )
    layout = LAYOUTS[kind]
    ours = layout.to_ours(state)
    ours.setdefault("clip.logit_scale", torch.tensor(layout.logit_scale))
    towers = {k.removeprefix("clip."): v for k, v in ours.items() if k.startswith("clip.")}
    unexpected = [name for name in ours if not name.startswith(("clip.", *HEADS))]
    _check_landmarks(file, ours, {**LANDMARKS, **layout.landmarks}, unexpected)
    vision, text = read_shapes(towers, heads)
    assert isinstance(vision, VisionShape)  # the landmarks are a ViT's
    vision = fit_image_size(
        file, vision, len(towers["visual.positional_embedding"]) - 1, image_size, stride
    )
    embed_dim = towers["visual.proj"].shape[1]
    tuning = layout.read_tuning(towers)
    _check_fit(file, towers, unexpected, vision, text, embed_dim, tuning)
    architecture = {
        "backbone": "clip",
        "vision": asdict(vision),
        "text": asdict(text),
        "embed_dim": embed_dim,
        "activation": "quickgelu",  # of both projects, as of OpenAI's weights
        "identities": len(ours[CLASSIFIER]) if CLASSIFIER in ours else 0,
        **({"tuning": tuning} if tuning else {}),
    }
    return Published(ours, kind, architecture)


def _load(file: Path) -> State:
    """The tensors under `model`, as the file names them but for `module.` in front of all."""
    content = load_safely(file, "TBPS-CLIP, IRRA or CSKT")
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping):
        raise InputError(
            f"{file} has no weights under `model`: give a checkpoint that TBPS-CLIP, IRRA or "
            "CSKT wrote"
        )
    return select_tensors(model)


def load_safely(file: Path, authors: str) -> Any:
    """What a file holds, on the CPU, if that is tensors and plain types.

    Args:
        authors: who write such files.

    Raises:
        InputError: there is no such file, or it cannot be read without running something.
    """
    if not file.is_file():
        raise InputError(f"there is no checkpoint {file}")
    try:
        with safe_globals([EASYDICT]):
            return torch.load(
                file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
            )
    except Exception as error:  # torch raises nearly any type on a file that is not its own
        raise InputError(
            f"{file} cannot be read safely, it is damaged or holds more than tensors and plain "
            f"types: give the file that {authors} wrote"
        ) from error


def select_tensors(content: Mapping[Any, Any]) -> State:
    """The tensors among the values, without the `module.` that DDP writes in front of all names."""
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def _find_kind(state: State) -> Kind | None:
    return next((kind for kind, layout in LAYOUTS.items() if layout.landmark in state), None)


def fit_image_size(
    file: Path,
    vision: VisionShape,
    patches: int,
    image_size: tuple[int, int] | None,
    stride: int | None,
) -> VisionShape:
    """The image tower's shape for an image size, which must have as many patches as the weights."""
    side = math.isqrt(patches)
    step = stride or vision.patch_size
    if image_size is None:
        if side**2 != patches:
            raise InputError(
                f"{file} was trained on a rectangle of {patches} patches, which does not tell its "
                "sides: set data.image_size to that of its training"
            )
        pixels = (side - 1) * step + vision.patch_size
        image_size = (pixels, pixels)
    vision = replace(vision, image_size=image_size, stride=step)
    rows, columns = vision.grid
    if rows * columns != patches:
        raise InputError(
            f"{file} was trained on {patches} patches, but an image of {image_size[0]} x "
            f"{image_size[1]} pixels at stride {step} has {rows} x {columns}: set data.image_size "
            "and model.stride to those of its training"
        )
    return vision


def _check_landmarks(
    file: Path, ours: State, landmarks: Mapping[str, int], unexpected: list[str]
) -> None:
    """The tensors that the architecture is read from must be there to read it."""
    needed = {f"clip.{name}": dimensions for name, dimensions in landmarks.items()}
    wrong = [
        f"{name} {tuple(ours[name].shape)} instead of {dimensions} dimensions"
        for name, dimensions in {**needed, CLASSIFIER: 2}.items()
        if name in ours and ours[name].ndim != dimensions
    ]
    refuse_misfits(file, needed.keys() - ours.keys(), unexpected, wrong)


def _check_fit(
    file: Path,
    towers: State,
    unexpected: list[str],
    vision: VisionShape,
    text: TextShape,
    embed_dim: int,
    tuning: Mapping[str, Any],
) -> None:
    with torch.device("meta"):  # shapes alone
        clip = CLIP(vision, text, embed_dim)
        tune(clip, tuning)
    expected = clip.state_dict()
    wrong = [
        f"clip.{name} {tuple(towers[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & towers.keys()
        if towers[name].shape != expected[name].shape
    ]
    missing = [f"clip.{name}" for name in expected.keys() - towers.keys()]
    unexpected = unexpected + [f"clip.{name}" for name in towers.keys() - expected.keys()]
    refuse_misfits(file, missing, unexpected, wrong)
