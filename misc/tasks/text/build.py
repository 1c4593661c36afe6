"""From the configuration to a model, its tokenizer and its criterion."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

from errors import InputError
from model.clip import CLIP, DualEncoder, TextShape, vision_shape
from model.criteria.text import TextCriterion, TextLossSettings
from model.heads import Classifier, MaskedLanguageDecoder, ProjectionHead
from model.resnet import ResNetShape
from model.tbps_clip import TBPSCLIP
from model.tuning.cskt import describe_tuning, frozen, start_from_words, tune
from model.vit import VisionShape
from model.weights import (
    State,
    load_clip,
    position_names,
    resize_position_embedding,
    resize_text_positions,
    set_stride,
)
from options import Config
from text_utils.tokenizer import AltCLIPTokenizer, ClipTokenizer, Tokenizer

Architecture = dict[str, Any]


def without_clip_vocabulary(config: Config) -> tuple[Config, str]:
    """The configuration without what needs CLIP's words where the backbone has others, and a
    sentence that names it, or none.

    Raises:
        InputError: no loss is left.
    """
    if config.model.backbone == "clip" or not config.experiment.mlm:
        return config, ""
    told = (
        "experiment.mlm is switched off: its words are of CLIP's vocabulary, and model.backbone is "
        f"{config.model.backbone}"
    )
    experiment = config.experiment.model_copy(update={"mlm": False})
    if not any(experiment.loss_weights().values()):
        raise InputError(
            "experiment.mlm is the only loss, and goes with model.backbone clip alone: set nitc, "
            "ritc or another one to true"
        )
    return config.model_copy(update={"experiment": experiment}), told


def build_tokenizer(config: Config) -> Tokenizer:
    """The tokenizer that the backbone was made for."""
    if config.model.backbone == "clip":
        return ClipTokenizer()
    return AltCLIPTokenizer(str(config.model.altclip_pretrained), config.model.tokenizer_cache_dir)


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
        tune(clip, architecture.get("tuning", {}))
        identities = architecture["identities"]
    if not with_heads:
        return TBPSCLIP(clip)
    width, vocab_size = clip.embed_dim, clip.text.shape.vocab_size
    return TBPSCLIP(
        clip,
        simclr_mlp=ProjectionHead(*experiment.simclr_mlp) if experiment.ss else None,
        classifier=Classifier(width, identities) if experiment.id else None,
        mlm_decoder=MaskedLanguageDecoder(
            width, experiment.cmt_depth, max(1, width // 64), vocab_size
        )
        if experiment.mlm
        else None,
        fresh_soft_pass=experiment.soft_pass == "fresh",
    )


def add_tuning(config: Config, clip: DualEncoder) -> None:
    """Give the backbone the prompts, adapters and LoRA that the configuration asks for.

    Raises:
        InputError: it has no place for them.
    """
    prompts, adapters, lora = config.prompts, config.adapters, config.lora
    tuning: dict[str, Any] = {}
    if prompts.n_ctx:
        tuning["prompts"] = {
            "n_ctx": prompts.n_ctx,
            "depth": prompts.depth,
            "direction": prompts.direction,
        }
    for tower in adapters.towers:
        scale = adapters.scale.image if tower == "image" else adapters.scale.text
        tuning[f"{tower}_adapters"] = {
            "reduction": adapters.reduction,
            "scale": scale,
            "blocks": adapters.blocks,
        }
    if lora.rank:
        tuning["lora"] = {
            "rank": lora.rank,
            "alpha": lora.alpha,
            "dropout": lora.dropout,
            "targets": lora.targets,
            "towers": lora.towers,
        }
    tune(clip, tuning)
    if prompts.n_ctx and prompts.init == "words":
        start_from_words(clip, build_tokenizer(config), prompts.words)


def kept_frozen(config: Config, model: TBPSCLIP) -> tuple[str, ...]:
    """Names of the parameters that stay as they are whatever `model.freeze` says: all of a backbone
    that is tuned but for what was added, and a temperature that is given.
    """
    learns_scale = config.model.temperature is None
    if config.tunes:
        return frozen(model, learns_scale)
    return () if learns_scale else ("clip.logit_scale",)


def describe_architecture(model: TBPSCLIP) -> Architecture:
    """What a checkpoint says of its model, in plain types; `build_model` makes the like of it."""
    clip = model.clip
    tuning = describe_tuning(clip)
    return {
        "backbone": "clip" if isinstance(clip, CLIP) else "altclip",
        "vision": asdict(clip.visual.shape),
        "text": asdict(clip.text.shape),
        "embed_dim": clip.embed_dim,
        "activation": clip.activation,
        "identities": 0 if model.classifier is None else model.classifier.out_features,
        **({"tuning": tuning} if tuning else {}),
    }


def adapt_weights(
    config: Config, state: State, architecture: Architecture, identities: int
) -> tuple[State, Architecture]:
    """Weights of a checkpoint for a training of another image size, stride, length or people.

    The position embeddings are interpolated as those of pretrained weights are.

    Raises:
        InputError: the configuration has a stride that the image tower does not have.
    """
    own, text = vision_shape(architecture["vision"]), architecture["text"]
    source, model = str(config.model.init_from), config.model
    vision = set_stride(source, own, model.stride, model.last_stride)
    vision = replace(vision, image_size=config.data.image_size)
    names = [name.removeprefix("clip.") for name in state]
    image, words = (f"clip.{name}" for name in position_names(names))
    is_clip = architecture.get("backbone", "clip") == "clip"  # older ones do not tell
    mode: Literal["bilinear", "bicubic"] = "bilinear" if is_clip else "bicubic"
    positions = {
        image: resize_position_embedding(state[image].float(), vision.grid, mode, own_grid=own.grid)
    }
    if is_clip:  # AltCLIP's positions are more than a caption needs
        text = {**text, "context_length": config.experiment.text_length}
        positions[words] = resize_text_positions(state[words].float(), text["context_length"])
    adapted = {**architecture, "vision": asdict(vision), "text": text, "identities": identities}
    return {**state, **positions}, adapted


def build_criterion(config: Config) -> TextCriterion:
    """The losses that are switched on, with their weights."""
    experiment = config.experiment
    settings = TextLossSettings(
        softlabel_ratio=config.model.softlabel_ratio,
        ritc_eps=experiment.ritc_eps,
        citc_inmodal=experiment.citc_lambda1,
        citc_crossmodal=experiment.citc_lambda2,
        simclr_temperature=experiment.simclr_temperature,
    )
    return TextCriterion(experiment.loss_weights(), settings)


def _build_clip(config: Config) -> DualEncoder:
    if config.model.clip_pretrained is None:
        return _clip_from_scratch(config)
    clip = load_clip(
        config.model.clip_pretrained,
        config.data.image_size,
        config.model.stride,
        config.experiment.text_length,
        last_stride=config.model.last_stride,
        activation=config.model.activation,
        dropout=config.experiment.dropout,
        gradient_checkpointing=config.model.gradient_checkpointing,
    )
    return _checked(clip, config, config.model.clip_pretrained)


def _build_altclip(config: Config) -> DualEncoder:
    # Here, because transformers takes seconds to import.
    from model.altclip_adapter import load_altclip

    source = str(config.model.altclip_pretrained)
    clip = load_altclip(
        source,
        config.model.tokenizer_cache_dir,
        config.data.image_size,
        config.model.stride,
        dropout=config.experiment.dropout,
        gradient_checkpointing=config.model.gradient_checkpointing,
    )
    longest = clip.text.shape.context_length
    if config.experiment.text_length > longest:
        raise InputError(
            f"experiment.text_length is {config.experiment.text_length}, but {source} has "
            f"positions for {longest} tokens: give at most {longest}"
        )
    return _checked(clip, config, source)


def _checked(clip: DualEncoder, config: Config, source: str) -> DualEncoder:
    """The backbone, if its joint space has the width that the configuration says."""
    if clip.embed_dim != config.model.embed_dim:
        raise InputError(
            f"model.embed_dim is {config.model.embed_dim}, but the joint space of {source} has "
            f"{clip.embed_dim} dimensions: set model.embed_dim={clip.embed_dim}"
        )
    return clip


def _shapes_from_scratch(config: Config) -> tuple[VisionShape | ResNetShape, TextShape]:
    text = config.model.text
    return (
        _vision_shape_from_scratch(config),
        TextShape(
            width=text.width,
            layers=text.layers,
            heads=text.heads,
            context_length=config.experiment.text_length,
            vocab_size=build_tokenizer(config).vocab_size,
            dropout=config.experiment.dropout,
        ),
    )


def _vision_shape_from_scratch(config: Config) -> VisionShape | ResNetShape:
    model, image_size = config.model, config.data.image_size
    width, layers, heads = model.vision.width, model.vision.layers, model.vision.heads
    if isinstance(layers, tuple):
        return ResNetShape(width, layers, heads, image_size, model.last_stride)
    patch_size = model.vision.patch_size
    assert patch_size is not None
    return VisionShape(width, layers, heads, patch_size, model.stride or patch_size, image_size)


def _clip_from_scratch(config: Config) -> CLIP:
    activation = "quickgelu" if config.model.activation == "auto" else config.model.activation
    return CLIP(
        *_shapes_from_scratch(config),
        config.model.embed_dim,
        activation,
        config.model.gradient_checkpointing,
    )


def _clip_of_checkpoint(config: Config, architecture: Architecture) -> DualEncoder:
    backbone = architecture.get("backbone", "clip")  # older ones do not tell
    vision = vision_shape(architecture["vision"])
    text_length = architecture["text"]["context_length"]
    wanted = {
        "model.backbone": (backbone, config.model.backbone),
        **describe_image_tower(config, architecture),
    }
    if backbone == "clip":
        wanted["experiment.text_length"] = (text_length, config.experiment.text_length)
    if backbone == "clip" and config.model.clip_pretrained is None:
        own_vision, own_text = _shapes_from_scratch(config)
        text = TextShape(**architecture["text"])
        own_text = replace(own_text, vocab_size=text.vocab_size, dropout=text.dropout)
        wanted |= {"model.vision": (vision, own_vision), "model.text": (text, own_text)}
    refuse_another(wanted)
    text = architecture["text"] | {"dropout": config.experiment.dropout}
    embed_dim, activation = architecture["embed_dim"], architecture["activation"]
    checkpointing = config.model.gradient_checkpointing
    if backbone == "clip":
        return CLIP(vision, TextShape(**text), embed_dim, activation, checkpointing)
    from model.altclip import AltCLIP, AltTextShape

    assert isinstance(vision, VisionShape)
    return AltCLIP(vision, AltTextShape(**text), embed_dim, activation, checkpointing)


def describe_image_tower(config: Config, architecture: Architecture) -> dict[str, tuple[Any, Any]]:
    """By key: what the image tower of an architecture has, and what the configuration asks for."""
    vision, stride = vision_shape(architecture["vision"]), config.model.stride
    held: int | None = None
    asked, last_stride = stride, 2
    if isinstance(vision, ResNetShape):
        last_stride = vision.last_stride
    else:
        held, asked = vision.stride, stride or vision.patch_size
    return {
        "data.image_size": (vision.image_size, config.data.image_size),
        "model.stride": (held, asked),
        "model.last_stride": (last_stride, config.model.last_stride),
        "model.embed_dim": (architecture["embed_dim"], config.model.embed_dim),
    }


def refuse_another(wanted: Mapping[str, tuple[Any, Any]]) -> None:
    """See that a checkpoint has what is asked for.

    Args:
        wanted: by key, what it has and what is asked.

    Raises:
        InputError: they differ.
    """
    for key, (held, asked) in wanted.items():
        if held != asked:
            raise InputError(
                f"the checkpoint is of another architecture: {key} is {held} in it and {asked} in "
                "the configuration; give what it has, or evaluate without --config for the one "
                "saved with it"
            )


BACKBONES: dict[str, Callable[[Config], DualEncoder]] = {
    "clip": _build_clip,
    "altclip": _build_altclip,
}
