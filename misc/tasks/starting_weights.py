"""Weights that a model starts from: pretrained, random, or a checkpoint's, from a configuration."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from errors import InputError
from misc.data.transforms import STATISTICS, statistics
from misc.runtime.checkpoint import BEST, LAST, Checkpoint, open_checkpoint
from misc.settings.sections import Config
from model.architecture import Architecture, ImageShape, TextArchitecture
from model.backbone_loader import TowerOptions
from model.clip import PIXEL_MEAN, PIXEL_STD, DualEncoder, TextShape
from model.resnet import ResNetShape
from model.vit import VisionShape, VisionTransformer
from model.weights.published.format import Geometry
from model.weights.sources import State
from text_utils.tokenizer import Tokenizer


def build_tokenizer(config: Config) -> Tokenizer:
    """The tokenizer that the backbone was trained with."""
    model = config.model
    return model.kind.loader().build_tokenizer(model.source, model.tokenizer_cache_dir)


def build_backbone(config: Config) -> DualEncoder:
    """The backbone with pretrained weights, or random ones where none are named.

    Raises:
        InputError: the weights do not fit the configuration.
    """
    loader, source = config.model.kind.loader(), config.model.source
    if source is None:
        return loader.restore(random_architecture(config), tower_options(config))
    clip = loader.load(source, tower_options(config))
    if clip.embed_dim != config.model.embed_dim:
        raise InputError(
            f"model.embed_dim is {config.model.embed_dim}, but the joint space of {source} has "
            f"{clip.embed_dim} dimensions: set model.embed_dim={clip.embed_dim}"
        )
    if config.class_tokens == 2:
        if not isinstance(clip.visual, VisionTransformer):
            raise InputError(_no_class_token(source))
        clip.visual.add_class_token()
    return clip


def compare_statistics(config: Config) -> str:
    """A sentence if pictures are not normalised as those that the pretrained weights were trained
    on, else an empty one.

    Methods are published that train CLIP with the statistics of others on purpose, as TBPS-CLIP and
    CLIP-ReID do: weights with those of CLIP are not compared.
    """
    model, name = config.model, config.data.normalize
    if model.source is None or model.init_from or config.experiment.use_altclip_processor:
        return ""
    read = model.kind.loader().read_preprocessing(model.source, model.tokenizer_cache_dir)
    own = read.mean, read.std
    is_clip = model.backbone == "clip" and own == (PIXEL_MEAN, PIXEL_STD)
    if is_clip or own == statistics(name):
        return ""
    advice = next((f"set it to {key}" for key, each in STATISTICS.items() if each == own), None)
    return (
        f"data.normalize is {name}, but {model.source} was trained on pictures with the mean "
        f"{list(own[0])} and the deviation {list(own[1])}: {advice or 'no value of it has these'}"
    )


def _no_class_token(source: str) -> str:
    """The fault of weights whose image tower cannot have a second class token."""
    return (
        f"model.class_tokens is routed, but the image tower of {source} has no class token: set it "
        "to shared, or give weights with a ViT"
    )


def fit_class_tokens(config: Config, towers: State, vision: ImageShape) -> ImageShape:
    """Give the weights of a checkpoint's image tower the class tokens of the configuration.

    Of two, the first is kept, or the second, without the first's position embedding, for a model
    that compares pictures alone.

    Returns:
        The tower's shape with them.

    Raises:
        InputError: it has none, and two are asked for.
    """
    if not isinstance(vision, VisionShape):
        if config.class_tokens == 2:
            raise InputError(_no_class_token(str(config.model.init_from)))
        return vision
    if config.class_tokens < vision.class_tokens:
        second = towers.pop("visual.second_class")
        if config.task == "image_to_image":
            position = towers["visual.positional_embedding"][0]
            towers["visual.class_embedding"] = second - position
    elif config.class_tokens > vision.class_tokens:
        first = towers["visual.class_embedding"] + towers["visual.positional_embedding"][0]
        towers["visual.second_class"] = first
    return replace(vision, class_tokens=config.class_tokens)


def tower_options(config: Config) -> TowerOptions:
    """The options of the towers that the configuration gives."""
    model = config.model
    return TowerOptions(
        image_size=config.data.image_size,
        stride=model.stride,
        last_stride=model.last_stride,
        context_length=config.experiment.text_length,
        activation=model.activation,
        dropout=config.experiment.dropout,
        gradient_checkpointing=model.gradient_checkpointing,
        cache_dir=model.tokenizer_cache_dir,
    )


def random_architecture(config: Config) -> TextArchitecture:
    """The architecture of a backbone without pretrained weights."""
    model, text = config.model, config.model.text
    return TextArchitecture(
        backbone=model.backbone,
        vision=_random_vision_shape(config),
        text=TextShape(
            width=text.width,
            layers=text.layers,
            heads=text.heads,
            context_length=config.experiment.text_length,
            vocab_size=build_tokenizer(config).vocab_size,
            dropout=config.experiment.dropout,
        ),
        embed_dim=model.embed_dim,
        activation="quickgelu" if model.activation == "auto" else model.activation,
        num_identities=0,
    )


def _random_vision_shape(config: Config) -> ImageShape:
    model, image_size = config.model, config.data.image_size
    width, layers, heads = model.vision.width, model.vision.layers, model.vision.heads
    if isinstance(layers, tuple):
        return ResNetShape(width, layers, heads, image_size, model.last_stride)
    patch_size = model.vision.patch_size
    assert patch_size is not None
    return VisionShape(
        width,
        layers,
        heads,
        patch_size,
        model.stride or patch_size,
        image_size,
        class_tokens=config.class_tokens,
    )


def restore_backbone(config: Config, architecture: TextArchitecture) -> DualEncoder:
    """The backbone of a checkpoint, to be filled with its weights.

    Raises:
        InputError: the configuration describes another one.
    """
    kind, text = config.model.kind, architecture.text
    compared: dict[str, tuple[object, object]] = {
        "model.backbone": (architecture.backbone, kind.name),
        **compare_image_towers(config, architecture),
    }
    if kind.resizes_text:
        asked_length = config.experiment.text_length
        compared["experiment.text_length"] = (text.context_length, asked_length)
    refuse_differences(compared)
    if config.model.from_scratch:
        asked = random_architecture(config)
        asked_text = replace(asked.text, vocab_size=text.vocab_size, dropout=text.dropout)
        refuse_differences(
            {
                "model.vision": (architecture.vision, asked.vision),
                "model.text": (text, asked_text),
            }
        )
    with_dropout = replace(text, dropout=config.experiment.dropout)
    return kind.loader().restore(replace(architecture, text=with_dropout), tower_options(config))


def compare_image_towers(
    config: Config, architecture: Architecture
) -> dict[str, tuple[object, object]]:
    """By key: the value of an architecture's image tower, and that of the configuration."""
    vision, stride = architecture.vision, config.model.stride
    strides: tuple[int | None, int | None] = (None, stride)
    last_stride = 2
    if isinstance(vision, ResNetShape):
        last_stride = vision.last_stride
    else:
        strides = (vision.stride, stride or vision.patch_size)
    return {
        "data.image_size": (vision.image_size, config.data.image_size),
        "model.stride": strides,
        "model.last_stride": (last_stride, config.model.last_stride),
        "model.embed_dim": (architecture.embed_dim, config.model.embed_dim),
    }


def refuse_differences(compared: Mapping[str, tuple[object, object]]) -> None:
    """Compare a checkpoint with what is asked for.

    Args:
        compared: by key, the checkpoint's value and the configuration's.

    Raises:
        InputError: they differ.
    """
    for key, (held, asked) in compared.items():
        if held != asked:
            raise InputError(
                f"the checkpoint has another architecture: {key} is {held} in it and {asked} in "
                "the configuration; set it to the checkpoint's"
            )


def open_init_from(config: Config) -> Checkpoint | None:
    """The checkpoint that a training starts from, if the configuration names one.

    Raises:
        InputError: as `open_checkpoint` does.
    """
    if config.model.init_from is None:
        return None
    path = Path(config.model.init_from)
    return open_checkpoint(path, BEST, LAST, geometry=lambda _: geometry(config), any_size=True)


def geometry(config: Config) -> Geometry:
    """The sizes in the configuration that a published file's weights do not tell."""
    model, heads = config.model, None
    if model.from_scratch:
        heads = (model.vision.heads, model.text.heads)
    return Geometry(config.data.image_size, model.stride, heads)
