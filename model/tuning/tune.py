"""Tuning of a frozen backbone: everything that a description names is added, and found again."""

import re

from torch import nn

from model.clip import DualEncoder
from model.tuning.adapters import add_adapters, describe_adapters
from model.tuning.description import Tuning
from model.tuning.lora import add_lora, describe_lora
from model.tuning.prompts import add_prompts, describe_prompts

_ADDED = re.compile(r"(^|\.)(prompts|adapter|lora_[A-Za-z_]+)\.")


def tune(clip: DualEncoder, tuning: Tuning) -> None:
    """Add prompts, adapters, LoRA and registered ways to a backbone, as they are described.

    Raises:
        InputError: a tower has no place for them.
    """
    if tuning.prompts is not None:
        add_prompts(clip, **vars(tuning.prompts))
    for tower, width, adapters in (
        (clip.visual, clip.visual.shape.width, tuning.image_adapters),
        (clip.text, clip.text.shape.width, tuning.text_adapters),
    ):
        if adapters is not None:
            assert isinstance(tower, nn.Module)
            add_adapters(tower, width, **vars(adapters))
    if tuning.lora is not None:
        add_lora(clip, **vars(tuning.lora))
    for name, way in tuning.further.items():
        way.add(clip)
        clip.ways[name] = way


def describe_tuning(clip: DualEncoder) -> Tuning:
    """The inverse of `tune`."""
    assert isinstance(clip.visual, nn.Module)
    assert isinstance(clip.text, nn.Module)
    return Tuning(
        prompts=describe_prompts(clip),
        image_adapters=describe_adapters(clip.visual),
        text_adapters=describe_adapters(clip.text),
        lora=describe_lora(clip),
        further={**clip.ways},
    )


def is_added(name: str) -> bool:
    """Whether the parameter of this name belongs to prompts, adapters or LoRA."""
    return _ADDED.search(name) is not None


def frozen_names(model: nn.Module, *, learns_scale: bool = False) -> tuple[str, ...]:
    """Names of the parameters of `model.clip` that tuning leaves as they are.

    Args:
        learns_scale: train the logit scale, too.
    """
    clip = model.get_submodule("clip")
    assert isinstance(clip, DualEncoder)
    return tuple(
        f"clip.{name}"
        for name, _ in clip.named_parameters()
        if not is_added(name)
        and not any(way.trains(name) for way in clip.ways.values())
        and not (learns_scale and name == "logit_scale")
    )
