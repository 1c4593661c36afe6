"""The text-to-image model that a training or an evaluation begins with."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from errors import InputError
from misc.runtime.checkpoint import Checkpoint, load_weights
from misc.settings.sections import Config
from misc.tasks.starting_weights import (
    build_backbone,
    build_tokenizer,
    fit_class_tokens,
    open_init_from,
    refuse_differences,
    restore_backbone,
)
from model.architecture import TextArchitecture
from model.backbones import find_kind
from model.clip import DualEncoder
from model.heads import Classifier, MaskedLanguageDecoder, ProjectionHead, SelectionShape
from model.tbps_clip import ENCODERS, TBPSCLIP, build_selectors
from model.tuning.description import AdapterTuning, LoraTuning, PromptTuning, Tuning
from model.tuning.prompts import start_from_words
from model.tuning.trained_weights import load_trained
from model.tuning.tune import describe_tuning, frozen_names, tune
from model.tuning.ways import build_way
from model.weights.shapes import set_stride
from model.weights.sources import State

log = logging.getLogger(__name__)


def new_model(
    config: Config,
    init_from: Checkpoint | None,
    *,
    num_identities: int = 0,
    with_heads: bool = True,
) -> TBPSCLIP:
    """The model that a training begins with: pretrained weights, those of a checkpoint, or random
    ones, and what is tuned beside them.

    Args:
        init_from: the checkpoint that `model.init_from` names.
        num_identities: in the training set, for the classifier.

    Raises:
        InputError: weights or checkpoint do not fit the configuration.
    """
    if init_from is None:
        clip = build_backbone(config)
        model = build_tbps_clip(config, clip, num_identities, with_heads=with_heads)
    else:
        state, architecture = _adapt(config, init_from)
        architecture = replace(
            architecture, num_identities=num_identities, selection=selection_of(config)
        )
        model = build_from_architecture(config, architecture, with_heads=with_heads)
        _load_towers(model, state, init_from.file)
        _load_heads(model, state, init_from)
        model.constrain()  # the log scale of others may have drifted
    if config.tunes:
        if describe(config, model).tuning.names:
            raise InputError(
                f"model.init_from: {config.model.init_from} is tuned already: give the model that "
                "it was tuned from"
            )
        add_tuning(config, model.clip)
        if init_from is None and config.model.from_scratch:
            log.warning(
                "the frozen weights are random: give model.clip_pretrained, or model.init_from"
            )
    fix_temperature(config, model)
    return model


def restored_model(
    config: Config, checkpoint: Checkpoint, *, num_identities: int = 0, with_heads: bool = True
) -> TBPSCLIP:
    """The model of a checkpoint.

    Args:
        num_identities: in the training set, for the classifier of a tuned model.
        with_heads: to resume a training; otherwise the towers are all that is read.

    Raises:
        InputError: the checkpoint does not fit the configuration.
    """
    if checkpoint.frozen_hash is not None:
        return _restore_tuned(config, checkpoint, num_identities, with_heads)
    model = build_from_architecture(config, text_architecture(checkpoint), with_heads=with_heads)
    state = checkpoint.state
    if not with_heads:
        state = {name: state[name] for name in state if name.startswith(ENCODERS)}
    load_weights(model, state, checkpoint.file)
    model.constrain()
    fix_temperature(config, model)
    return model


def text_architecture(checkpoint: Checkpoint) -> TextArchitecture:
    """The architecture of a checkpoint of this task.

    Raises:
        InputError: it is of another task.
    """
    if not isinstance(checkpoint.architecture, TextArchitecture):
        raise InputError(
            f"{checkpoint.file} is a re-identification model and cannot search by text: give a "
            "checkpoint of task text_to_image, or a recipe such as config/clipreid_vit.yaml"
        )
    return checkpoint.architecture


def build_from_architecture(
    config: Config, architecture: TextArchitecture, *, with_heads: bool
) -> TBPSCLIP:
    """A model with random weights, to be filled with those of a checkpoint.

    Raises:
        InputError: the configuration describes another one.
    """
    clip = restore_backbone(config, architecture)
    tune(clip, architecture.tuning)
    selections = (architecture.selection, selection_of(config))
    refuse_differences({"model.token_selection": selections})
    return build_tbps_clip(config, clip, architecture.num_identities, with_heads=with_heads)


def _restore_tuned(
    config: Config, checkpoint: Checkpoint, num_identities: int, with_heads: bool
) -> TBPSCLIP:
    """The frozen weights of the configuration with the trained ones of a checkpoint."""
    assert checkpoint.frozen_hash is not None
    try:
        model = new_model(
            config, open_init_from(config), num_identities=num_identities, with_heads=with_heads
        )
    except InputError as error:
        raise InputError(
            f"{checkpoint.file} holds only the tuned weights, and the frozen ones "
            "(model.init_from, model.clip_pretrained or altclip_pretrained) cannot be loaded: "
            f"{error}"
        ) from None
    _refuse_other_model(checkpoint.file, text_architecture(checkpoint), describe(config, model))
    trained = {k: v for k, v in checkpoint.state.items() if with_heads or k.startswith(ENCODERS)}
    frozen = always_frozen(config, model)
    load_trained(model, trained, frozen, checkpoint.frozen_hash, checkpoint.file)
    return model


def _refuse_other_model(file: Path, held: TextArchitecture, asked: TextArchitecture) -> None:
    """Check that tuned weights are of such a model, whatever its dropout."""
    held, asked = (_without_dropout(architecture) for architecture in (held, asked))
    for key in ("backbone", "vision", "text", "embed_dim", "activation", "tuning", "selection"):
        if getattr(held, key) != getattr(asked, key):
            raise InputError(
                f"{file} was tuned in another model: its {key} is {getattr(held, key)}, and that "
                f"of the configuration {getattr(asked, key)}; give what it was trained with"
            )


def _without_dropout(architecture: TextArchitecture) -> TextArchitecture:
    tuning = architecture.tuning
    if tuning.lora is not None:
        tuning = replace(tuning, lora=replace(tuning.lora, dropout=0.0))
    return replace(architecture, text=replace(architecture.text, dropout=0.0), tuning=tuning)


def _load_towers(model: TBPSCLIP, state: Mapping[str, Tensor], file: Path) -> None:
    load_weights(model.clip, split_towers(state)[0], file)


def split_towers(state: Mapping[str, Tensor]) -> tuple[State, State]:
    """The weights of the backbone in its own names, and those of the heads."""
    towers = {k.removeprefix("clip."): v for k, v in state.items() if k.startswith("clip.")}
    return towers, {k: v for k, v in state.items() if not k.startswith("clip.")}


def _load_heads(model: TBPSCLIP, state: Mapping[str, Tensor], init_from: Checkpoint) -> None:
    """Load the heads that a checkpoint has in the model's shapes; the others begin anew, as all do
    that only losses read if it is one of this project.
    """
    file = init_from.file
    for head, module in model.named_children():
        own = {k.removeprefix(f"{head}."): v for k, v in state.items() if k.startswith(f"{head}.")}
        is_wanted = init_from.published is not None or f"{head}." in ENCODERS
        if head == "clip" or not own or not is_wanted:
            continue
        shapes = {name: tensor.shape for name, tensor in own.items()}
        if shapes == {name: tensor.shape for name, tensor in module.state_dict().items()}:
            load_weights(module, own, file)
        else:
            log.info("%s has a %s of other sizes: it begins anew", file, head)


def fix_temperature(config: Config, model: TBPSCLIP) -> None:
    """Give the similarities the temperature of the configuration, if it has one."""
    if config.model.temperature is not None:
        model.clip.set_temperature(config.model.temperature)


def _adapt(config: Config, init_from: Checkpoint) -> tuple[State, TextArchitecture]:
    """A checkpoint's weights for a training of another image size, stride or caption length.

    The position embeddings are interpolated as those of pretrained weights are.

    Raises:
        InputError: the configuration has a stride that the image tower does not have.
    """
    architecture = text_architecture(init_from)
    if init_from.frozen_hash is not None:
        raise InputError(
            f"{init_from.file} holds only the tuned weights: give the whole model that it was "
            "tuned from"
        )
    kind, text = find_kind(architecture.backbone), architecture.text
    source = str(config.model.init_from)
    vision = set_stride(source, architecture.vision, config.model.stride, config.model.last_stride)
    if kind.resizes_text:
        text = replace(text, context_length=config.experiment.text_length)
    vision = replace(vision, image_size=config.data.image_size)
    asked = replace(architecture, vision=vision, text=text)
    towers, heads = split_towers(init_from.state)
    resized = kind.loader().resize_positions(towers, architecture, asked)
    asked = replace(asked, vision=fit_class_tokens(config, resized, vision))
    return {**heads, **{f"clip.{name}": tensor for name, tensor in resized.items()}}, asked


def build_tbps_clip(
    config: Config, clip: DualEncoder, num_identities: int, *, with_heads: bool = True
) -> TBPSCLIP:
    """A backbone with those of a second embedding, and the heads that the losses need.

    Args:
        num_identities: of the classifier.
        with_heads: whether the latter are built.

    Raises:
        InputError: a tower does not have what the second embedding or a loss reads.
    """
    selectors = build_selectors(clip, selection_of(config))
    if not with_heads:
        return TBPSCLIP(clip, selectors=selectors)
    experiment, width = config.experiment, clip.embed_dim
    if experiment.sigmoid and clip.logit_bias is None:
        raise InputError(
            f"experiment.sigmoid needs a logit bias, which {config.model.source} does not have: "
            "give weights of SigLIP, or set sigmoid to false"
        )
    simclr_mlp = classifier = mlm_decoder = None
    if experiment.ss:
        simclr_mlp = ProjectionHead(*experiment.simclr_mlp)
    if experiment.id:
        classifier = Classifier(width, num_identities)
    if experiment.mlm:
        clip.check_tokens()
        vocab_size = clip.text.shape.vocab_size
        heads = max(1, width // 64)
        mlm_decoder = MaskedLanguageDecoder(width, experiment.cmt_depth, heads, vocab_size)
    return TBPSCLIP(
        clip,
        simclr_mlp=simclr_mlp,
        classifier=classifier,
        mlm_decoder=mlm_decoder,
        selectors=selectors,
        fresh_soft_pass=experiment.soft_pass == "fresh",  # nosec B105  # no password
    )


def selection_of(config: Config) -> SelectionShape | None:
    """The sizes of the second embedding that the configuration asks for."""
    selection = config.model.token_selection
    return None if selection is None else SelectionShape(selection.embed_dim, selection.ratio)


def tuning_of(config: Config) -> Tuning:
    """The prompts, adapters, LoRA and registered ways that the configuration asks for."""
    prompts, adapters, lora = config.prompts, config.adapters, config.lora
    scales = {"image": adapters.scale.image, "text": adapters.scale.text}
    by_tower = {
        tower: AdapterTuning(
            reduction=adapters.reduction, scale=scales[tower], blocks=adapters.blocks
        )
        for tower in adapters.towers
    }
    return Tuning(
        prompts=PromptTuning(n_ctx=prompts.n_ctx, depth=prompts.depth, direction=prompts.direction)
        if prompts.n_ctx
        else None,
        image_adapters=by_tower.get("image"),
        text_adapters=by_tower.get("text"),
        lora=LoraTuning(
            rank=lora.rank,
            alpha=lora.alpha,
            dropout=lora.dropout,
            targets=lora.targets,
            towers=lora.towers,
        )
        if lora.rank
        else None,
        further={name: build_way(name, settings) for name, settings in config.tuning.items()},
    )


def add_tuning(config: Config, clip: DualEncoder) -> None:
    """Add the prompts, adapters and LoRA that the configuration asks for.

    Raises:
        InputError: the backbone has no place for them.
    """
    tune(clip, tuning_of(config))
    if config.prompts.n_ctx and config.prompts.init == "words":
        start_from_words(clip, build_tokenizer(config), config.prompts.words)


def always_frozen(config: Config, model: TBPSCLIP) -> tuple[str, ...]:
    """Names of the parameters that do not train whatever `model.freeze` says: those of a tuned
    backbone but for what was added, and a temperature that is given.
    """
    learns_scale = config.model.temperature is None
    if config.tunes:
        return frozen_names(model, learns_scale=learns_scale)
    return () if learns_scale else ("clip.logit_scale",)


def describe(config: Config, model: TBPSCLIP) -> TextArchitecture:
    """The architecture of a model."""
    clip = model.clip
    return TextArchitecture(
        backbone=config.model.backbone,
        vision=clip.visual.shape,
        text=clip.text.shape,
        embed_dim=clip.embed_dim,
        activation=clip.activation,
        num_identities=0 if model.classifier is None else model.classifier.out_features,
        tuning=describe_tuning(clip),
        selection=None if model.image_selector is None else model.image_selector.shape,
    )
