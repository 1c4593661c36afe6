"""The model of text-to-image retrieval, with the weights that a training or an evaluation begins
with.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from errors import InputError
from misc.runtime.checkpoint import (
    BEST,
    LAST,
    Start,
    find_checkpoint,
    load_weights,
    read_checkpoint,
)
from misc.tasks.text.build import (
    Architecture,
    adapt_weights,
    add_tuning,
    build_model,
    describe_architecture,
    kept_frozen,
)
from model.tbps_clip import TBPSCLIP
from model.tuning.cskt import set_temperature
from model.tuning.tuned_weights import load_trained
from model.weights.published import Published, is_published, read_published
from model.weights.published_reid import is_published_reid
from options import Config

log = logging.getLogger(__name__)

FROZEN = "frozen"  # of a checkpoint that holds only what was trained: the hash of the rest


def is_of_text(start: Start) -> bool:
    """Whether a checkpoint is of this task, of this project or another, as far as its names tell.

    Raises:
        InputError: it is no checkpoint.
    """
    if start.content is None and is_published_reid(start.file):
        return False
    if start.content is None and is_published(start.file):
        return True
    content = start.content or read_checkpoint(start.file)
    return any(name.startswith("clip.") for name in content["model"])


def new_model(config: Config, identities: int = 0, with_heads: bool = True) -> TBPSCLIP:
    """The model that a training begins with: pretrained weights, those of `model.init_from`, or
    random ones; and what is tuned beside them.

    Args:
        identities: in the training set, for the classifier.
    """
    if not config.model.init_from:
        model = build_model(config, identities, with_heads=with_heads)
    else:
        start = Start(find_checkpoint(Path(config.model.init_from), BEST, LAST), None)
        state, architecture = _read_weights(config, start, any_size=True)
        state, architecture = adapt_weights(config, state, architecture, identities)
        model = build_model(config, identities, architecture, with_heads)
        _load_towers(model, state, start.file)
        model.constrain()  # the log scale of others may have drifted
    if config.tunes:
        if "tuning" in describe_architecture(model):
            raise InputError(
                f"model.init_from: {config.model.init_from} is tuned already: give the model that "
                "it was tuned from"
            )
        add_tuning(config, model.clip)
        if config.model.clip_pretrained is None and not config.model.init_from:
            log.warning(
                "the frozen weights are random: give model.clip_pretrained, or model.init_from"
            )
    _set_scale(config, model)
    return model


def _set_scale(config: Config, model: TBPSCLIP) -> None:
    """The temperature that the configuration fixes, if it does."""
    if config.model.temperature is not None:
        set_temperature(model.clip, config.model.temperature)


def restored_model(
    config: Config, start: Start, identities: int = 0, with_heads: bool = True
) -> TBPSCLIP:
    """The model of a checkpoint.

    Args:
        with_heads: go on training; otherwise its towers are all that is read.
    """
    content = start.content
    if content is not None and FROZEN in content:
        try:
            model = new_model(config, identities, with_heads)
        except InputError as error:
            raise InputError(
                f"{start.file} holds only what was tuned, and the weights beside it "
                f"(model.init_from, model.clip_pretrained or altclip_pretrained) are not there: "
                f"{error}"
            ) from None
        _refuse_another(start.file, content["architecture"], describe_architecture(model))
        trained = {k: v for k, v in content["model"].items() if with_heads or k.startswith("clip.")}
        load_trained(model, trained, kept_frozen(config, model), content[FROZEN], start.file)
        return model
    state, architecture = _read_weights(config, start)
    model = build_model(config, identities, architecture, with_heads)
    if with_heads:
        load_weights(model, state, start.file)
    else:
        _load_towers(model, state, start.file)
    model.constrain()
    _set_scale(config, model)
    return model


def _refuse_another(file: Path, held: Architecture, asked: Architecture) -> None:
    """See that tuned weights are of such a model, whatever its dropout.

    Raises:
        InputError: they are not.
    """
    held, asked = (json.loads(json.dumps(each)) for each in (held, asked))
    for key in ("backbone", "vision", "text", "embed_dim", "activation", "tuning"):
        for side in (held, asked):
            for part in (side["text"], side.get("tuning", {}).get("lora", {})):
                part.pop("dropout", None)
        if held.get(key) != asked.get(key):
            raise InputError(
                f"{file} was tuned in another model: its {key} is {held.get(key)}, and that of the "
                f"configuration {asked.get(key)}; give what it was trained with"
            )


def _load_towers(model: TBPSCLIP, state: Mapping[str, Tensor], file: Path) -> None:
    parts = ((name.partition("."), tensor) for name, tensor in state.items())
    towers = {rest: tensor for (part, _, rest), tensor in parts if part == "clip"}
    load_weights(model.clip, towers, file)


def _read_weights(
    config: Config, start: Start, any_size: bool = False
) -> tuple[dict[str, Tensor], Architecture]:
    """Weights in our names, and what they are of, from a checkpoint of ours or another's.

    Args:
        any_size: take another's of another image size than the configuration's.
    """
    if not is_of_text(start):
        raise InputError(
            f"{start.file} is of task image_to_image, which reads no sentences: give a "
            "checkpoint of task text_to_image, or a recipe such as config/clipreid_vit.yaml"
        )
    if start.content is None and is_published(start.file):
        published = _read_published(config, start.file, any_size)
        return published.state, published.architecture
    checkpoint = start.content or read_checkpoint(start.file)
    if FROZEN in checkpoint:
        raise InputError(
            f"{start.file} holds only what was tuned: give the whole model that it was tuned from"
        )
    return checkpoint["model"], checkpoint["architecture"]


def _read_published(config: Config, file: Path, any_size: bool) -> Published:
    data, model = config.data, config.model
    scratch = model.clip_pretrained is None
    heads = (model.vision.heads, model.text.heads) if scratch else None
    try:
        return read_published(file, data.image_size, model.stride, heads)
    except InputError:
        if not any_size:
            raise
        return read_published(file, None, model.stride, heads)  # of another size: a square
