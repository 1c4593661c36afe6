"""Two towers and their heads from a text-to-image project's checkpoint."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from model.architecture import NOT_TUNED, TextArchitecture
from model.clip import CLIP
from model.heads import SelectionShape
from model.tbps_clip import ENCODERS, TBPSCLIP, build_selectors
from model.tuning.description import Tuning
from model.tuning.tune import tune
from model.vit import VisionShape
from model.weights.key_maps import Names
from model.weights.misfits import check_fit, refuse_misfits
from model.weights.published.format import Geometry, PublishedWeights, fit_image_size
from model.weights.shapes import LANDMARKS, check_sizes, read_shapes
from model.weights.sources import State

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
HEADS = ("simclr_mlp.", "classifier.", "mlm_decoder.")  # ours, that only losses read
CLASSIFIER = "classifier.weight"  # (identities, D)
SELECTION = "image_selector.linear.weight"  # (E, D)

KeyMap = Callable[[Mapping[str, Tensor]], State]


def text_reader(
    to_ours: KeyMap,
    temperature: float,
    landmarks: Mapping[str, int] | None = None,
    read_tuning: Callable[[State], Tuning] = lambda _: NOT_TUNED,
) -> Callable[[Path, State, Geometry], PublishedWeights]:
    """A `PublishedFormat.read`, for weights whose names `to_ours` makes ours.

    Args:
        temperature: of the similarities, for a file that holds no logit scale.
        landmarks: tensors `clip.*` that `read_tuning` reads, and their dimensions.
    """
    needed = {**LANDMARKS, **(landmarks or {})}
    return partial(_read, to_ours, temperature, needed, read_tuning)


def _read(
    to_ours: KeyMap,
    temperature: float,
    landmarks: Mapping[str, int],
    read_tuning: Callable[[State], Tuning],
    file: Path,
    state: State,
    geometry: Geometry,
) -> PublishedWeights:
    ours = to_ours(state)
    ours.setdefault("clip.logit_scale", torch.tensor(math.log(1 / temperature)))
    _check_landmarks(file, ours, landmarks)
    towers = {k.removeprefix("clip."): v for k, v in ours.items() if k.startswith("clip.")}
    vision, text = read_shapes(towers, geometry.heads)
    assert isinstance(vision, VisionShape)  # the landmarks are a ViT's
    num_patches = len(towers["visual.positional_embedding"]) - 1
    architecture = TextArchitecture(
        backbone="clip",
        vision=fit_image_size(file, vision, num_patches, geometry),
        text=text,
        embed_dim=towers["visual.proj"].shape[1],
        activation="quickgelu",  # of all these projects, as of OpenAI's weights
        num_identities=len(ours[CLASSIFIER]) if CLASSIFIER in ours else 0,
        tuning=read_tuning(towers),
        # The share of the tokens, which the weights do not tell, is the published one.
        selection=SelectionShape(len(ours[SELECTION])) if SELECTION in ours else None,
    )
    _check_towers(file, ours, architecture)
    return PublishedWeights(ours, architecture)


def _check_landmarks(file: Path, ours: State, landmarks: Mapping[str, int]) -> None:
    """Check the tensors that the architecture is read from."""
    needed = {f"clip.{name}": dimensions for name, dimensions in landmarks.items()}
    wrong = [
        f"{name} {tuple(ours[name].shape)} instead of {dimensions} dimensions"
        for name, dimensions in {**needed, CLASSIFIER: 2, SELECTION: 2}.items()
        if name in ours and not (ours[name].ndim == dimensions and ours[name].numel())
    ]
    unexpected = [name for name in ours if not name.startswith((*ENCODERS, *HEADS))]
    refuse_misfits(file, needed.keys() - ours.keys(), unexpected, wrong)


def _check_towers(file: Path, ours: State, architecture: TextArchitecture) -> None:
    towers = architecture.vision, architecture.text, architecture.embed_dim
    check_sizes(file, *towers, num_values=sum(map(Tensor.numel, ours.values())))
    with torch.device("meta"):  # shapes alone
        clip = CLIP(architecture.vision, architecture.text, architecture.embed_dim)
        tune(clip, architecture.tuning)
        selectors = build_selectors(clip, architecture.selection)
    expected = TBPSCLIP(clip, selectors=selectors).state_dict()
    check_fit(file, {k: v for k, v in ours.items() if not k.startswith(HEADS)}, expected)
