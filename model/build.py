"""From the configuration to a model, its tokenizer and its criterion."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from errors import InputError
from model.clip import CLIP, TextShape
from model.criterion import Criterion, Settings
from model.heads import Classifier, MaskedLanguageDecoder, ProjectionHead
from model.tbps_clip import TBPSCLIP
from model.vit import VisionShape
from model.weights import (
    POSITIONS,
    State,
    load_clip,
    resize_position_embedding,
    resize_text_positions,
)
from options import Config
from text_utils.tokenizer import ClipTokenizer

Architecture = dict[str, Any]


def build_tokenizer(config: Config) -> ClipTokenizer:
    """The tokenizer that the backbone was made for."""
    return ClipTokenizer()


def build_model(
    config: Config,
    identities: int = 0,
    architecture: Architecture | None = None,
    with_heads: bool = True,
) -> TBPSCLIP:
    """The model, with pretrained weights or random ones, and the heads that the losses need.

    Args:
        identities: in the training set, for the classifier.
        architecture: of a checkpoint that will be loaded; then nothing pretrained is read.
        with_heads: without them there is no training.

    Raises:
        InputError: if weights or checkpoint do not fit the configuration.
    """
    experiment = config.experiment
    if architecture is None:
        clip = BACKBONES[config.model.backbone](config)
    else:
        clip = _clip_of_checkpoint(config, architecture)
        identities = architecture["identities"]
    if not with_heads:
        return TBPSCLIP(clip)
    width, vocab_size = clip.embed_dim, clip.text.shape.vocab_size
    return TBPSCLIP(
        clip,
        simclr_mlp=_build_simclr_mlp(config) if experiment.ss else None,
        classifier=Classifier(width, identities) if experiment.id else None,
        mlm_decoder=MaskedLanguageDecoder(
            width, experiment.cmt_depth, max(1, width // 64), vocab_size
        )
        if experiment.mlm
        else None,
        fresh_soft_pass=experiment.soft_pass == "fresh",
    )


def _build_simclr_mlp(config: Config) -> ProjectionHead:
    widths = config.experiment.simclr_mlp
    if widths[0] != config.model.embed_dim:
        raise InputError(
            f"experiment.simclr_mlp begins with {widths[0]}, but model.embed_dim is "
            f"{config.model.embed_dim}: the head reads features of that width"
        )
    return ProjectionHead(*widths)


def describe_architecture(model: TBPSCLIP) -> Architecture:
    """What a checkpoint says of its model, in plain types; `build_model` makes the like of it."""
    clip = model.clip
    return {
        "vision": asdict(clip.visual.shape),
        "text": asdict(clip.text.shape),
        "embed_dim": clip.embed_dim,
        "activation": clip.activation,
        "identities": 0 if model.classifier is None else model.classifier.out_features,
    }


def adapt_weights(
    config: Config, state: State, architecture: Architecture, identities: int
) -> tuple[State, Architecture]:
    """Weights of a checkpoint for a training of another image size, stride, length or people.

    The position embeddings are interpolated as those of pretrained weights are.
    """
    vision = architecture["vision"]
    stride = config.model.stride or vision["patch_size"]
    vision = {**vision, "image_size": config.data.image_size, "stride": stride}
    length = config.experiment.text_length
    adapted = {
        **architecture,
        "vision": vision,
        "text": {**architecture["text"], "context_length": length},
        "identities": identities,
    }
    image, text = (f"clip.{name}" for name in POSITIONS)
    own_grid, grid = (VisionShape(**shape).grid for shape in (architecture["vision"], vision))
    positions = {
        image: resize_position_embedding(state[image].float(), grid, own_grid=own_grid),
        text: resize_text_positions(state[text].float(), length),
    }
    return {**state, **positions}, adapted


def build_criterion(config: Config) -> Criterion:
    """The losses that are switched on, with their weights."""
    experiment = config.experiment
    settings = Settings(
        softlabel_ratio=config.model.softlabel_ratio,
        ritc_eps=experiment.ritc_eps,
        citc_inmodal=experiment.citc_lambda1,
        citc_crossmodal=experiment.citc_lambda2,
        simclr_temperature=experiment.simclr_temperature,
    )
    return Criterion(experiment.loss_weights(), settings)


def _build_clip(config: Config) -> CLIP:
    if config.model.clip_pretrained is None:
        return _clip_from_scratch(config)
    clip = load_clip(
        config.model.clip_pretrained,
        config.data.image_size,
        config.model.stride,
        config.experiment.text_length,
        activation=config.model.activation,
        dropout=config.experiment.dropout,
        gradient_checkpointing=config.model.gradient_checkpointing,
    )
    if clip.embed_dim != config.model.embed_dim:
        raise InputError(
            f"model.embed_dim is {config.model.embed_dim}, but the joint space of "
            f"{config.model.clip_pretrained} has {clip.embed_dim} dimensions: set "
            f"model.embed_dim={clip.embed_dim}"
        )
    return clip


def _shapes_from_scratch(config: Config) -> tuple[VisionShape, TextShape]:
    vision, text = config.model.vision, config.model.text
    return (
        VisionShape(
            width=vision.width,
            layers=vision.layers,
            heads=vision.heads,
            patch_size=vision.patch_size,
            stride=config.model.stride or vision.patch_size,
            image_size=config.data.image_size,
        ),
        TextShape(
            width=text.width,
            layers=text.layers,
            heads=text.heads,
            context_length=config.experiment.text_length,
            vocab_size=build_tokenizer(config).vocab_size,
            dropout=config.experiment.dropout,
        ),
    )


def _clip_from_scratch(config: Config) -> CLIP:
    activation = "quickgelu" if config.model.activation == "auto" else config.model.activation
    return CLIP(
        *_shapes_from_scratch(config),
        config.model.embed_dim,
        activation,
        config.model.gradient_checkpointing,
    )


def _clip_of_checkpoint(config: Config, architecture: Architecture) -> CLIP:
    vision = VisionShape(**architecture["vision"])
    rows, columns = vision.image_size
    vision = replace(vision, image_size=(rows, columns))  # a list in the checkpoint
    text = replace(TextShape(**architecture["text"]), dropout=config.experiment.dropout)
    wanted: dict[str, tuple[Any, Any]] = {
        "data.image_size": (vision.image_size, config.data.image_size),
        "model.stride": (vision.stride, config.model.stride or vision.patch_size),
        "model.embed_dim": (architecture["embed_dim"], config.model.embed_dim),
        "experiment.text_length": (text.context_length, config.experiment.text_length),
    }
    if config.model.clip_pretrained is None:
        own_vision, own_text = _shapes_from_scratch(config)
        own_text = replace(own_text, vocab_size=text.vocab_size)  # the weights' own
        wanted |= {"model.vision": (vision, own_vision), "model.text": (text, own_text)}
    for key, (held, asked) in wanted.items():
        if held != asked:
            raise InputError(
                f"the checkpoint is of another architecture: {key} is {held} in it and {asked} in "
                "the configuration; give what it has, or evaluate without --config for the one "
                "saved with it"
            )
    return CLIP(
        vision,
        text,
        architecture["embed_dim"],
        architecture["activation"],
        config.model.gradient_checkpointing,
    )


BACKBONES: dict[str, Callable[[Config], CLIP]] = {"clip": _build_clip}
