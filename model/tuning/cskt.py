"""CSKT: prompts and adapters that tune a frozen CLIP, a few percent of its parameters.

Liu et al., CLIP-based Synergistic Knowledge Transfer for Text-based Person Retrieval, ICASSP 2024,
arXiv 2309.09496.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from errors import InputError
from model.clip import DualEncoder, TextShape, TextTransformer
from model.tuning.adapters import Adapter
from model.tuning.bidirectional_prompts import BidirectionalPrompts, Direction, TowerPrompts
from model.tuning.lora import add_lora, describe_lora
from model.vit import VisionShape, VisionTransformer
from text_utils.tokenizer import Tokenizer

IMAGE_SCALE, TEXT_SCALE = 0.1, 4.0  # of the published adapters
TEMPERATURE = 0.02  # as published; it does not train
_ADDED = re.compile(r"(^|\.)(prompts|adapter|lora_[A-Za-z_]+)\.")


def add_prompts(
    clip: DualEncoder, n_ctx: int = 4, depth: int = 12, direction: Direction = "both"
) -> BidirectionalPrompts:
    """Fill the prompt slots of both towers; of AltCLIP, whose text tower has none, the image's.

    Args:
        n_ctx: vectors of a kind in each block.
        depth: blocks that get new ones, from the first on.

    Raises:
        InputError: the towers have no place for them.
    """
    visual, text = clip.visual, clip.text
    if not isinstance(visual, VisionTransformer):
        raise InputError(
            "prompts go through the blocks of a ViT, and this image tower is a ResNet: give a ViT, "
            "such as ViT-B-16.pt"
        )
    towers: list[VisionTransformer | TextTransformer] = [visual]
    if isinstance(text, TextTransformer):
        towers.append(text)
    elif direction != "independent":
        raise InputError(
            f"prompts.direction is {direction}, and this text tower takes no prompts: set "
            "prompts.direction=independent"
        )
    layers = min(tower.shape.layers for tower in towers)
    if not 1 <= depth <= layers:
        raise InputError(f"prompts.depth is {depth}: give 1 to {layers}, the blocks of the towers")
    text_width = text.shape.width if isinstance(text, TextTransformer) else None
    prompts = BidirectionalPrompts(visual.shape.width, text_width, n_ctx, depth, direction)
    clip.prompts = prompts.to(clip.logit_scale.device)
    patches = math.prod(visual.shape.grid)
    visual.transformer.prompts = TowerPrompts(prompts, "image", first=1 + patches)
    if isinstance(text, TextTransformer):
        text.transformer.prompts = TowerPrompts(prompts, "text", first=1)
        if text.room < 3:
            raise InputError(
                f"prompts.n_ctx={n_ctx} leaves {text.room} of {text.shape.context_length} tokens "
                "to a caption: give fewer, or a larger experiment.text_length"
            )
    return prompts


def start_from_words(clip: DualEncoder, tokenizer: Tokenizer, words: str) -> None:
    """Let the text prompts begin as words, such as "a photo of a", in the first block.

    Raises:
        InputError: there are no text prompts, or they are not as many as the words' tokens.
    """
    prompts, text = clip.prompts, clip.text
    if not isinstance(prompts, BidirectionalPrompts) or prompts.text is None:
        raise InputError("prompts.init=words is for text vectors, and prompts.direction gives none")
    assert isinstance(text, TextTransformer), "only its prompts have text vectors"
    tokens = tokenizer([words], text.shape.context_length)
    inner = tokens[0, 1 : int(tokenizer.lengths(tokens)[0]) - 1]
    if len(inner) != prompts.n_ctx:
        raise InputError(
            f'"{words}" are {len(inner)} tokens and prompts.n_ctx is {prompts.n_ctx}: make them '
            "equal"
        )
    prompts.start_from(text.token_embedding.weight[inner.to(text.token_embedding.weight.device)])


def add_adapters(
    tower: nn.Module, reduction: int = 8, scale: float = 1.0, blocks: Sequence[int] | None = None
) -> None:
    """Fill the adapter slots of a tower.

    Args:
        blocks: numbers of those that get one, from 0; None: all.

    Raises:
        InputError: the tower has no such blocks, or is narrower than `reduction`.
    """
    slots = _adapter_slots(tower)
    blocks = range(len(slots)) if blocks is None else blocks
    absent = [i for i in blocks if not 0 <= i < len(slots)]
    if absent or not slots:
        raise InputError(
            f"adapters cannot sit in {f'block {absent[0]}' if absent else 'a ResNet'}: the tower "
            f"has {len(slots)} blocks for them, from 0"
        )
    width = cast(VisionShape | TextShape, tower.shape).width
    if not 1 <= reduction <= width:
        raise InputError(f"adapters.reduction is {reduction}: give 1 to {width}, the tower's width")
    device = next(tower.parameters()).device
    for i in blocks:
        slots[i].adapter = Adapter(width, reduction, scale).to(device)


def _adapter_slots(tower: nn.Module) -> list[nn.Module]:
    """The modules of a tower that have a place for an adapter, one in each block."""
    return [module for module in tower.modules() if hasattr(module, "adapter")]


@torch.no_grad()
def set_temperature(clip: DualEncoder, temperature: float = TEMPERATURE) -> None:
    """Scale the similarities by 1 / temperature."""
    clip.logit_scale.fill_(math.log(1 / temperature))


def is_added(name: str) -> bool:
    """Whether a parameter is of prompts, adapters or LoRA, as far as its name tells."""
    return _ADDED.search(name) is not None


def frozen(model: nn.Module, learns_scale: bool = False) -> tuple[str, ...]:
    """Names of the parameters that stay as they are: those of `model.clip` that were not added.

    Args:
        learns_scale: train the logit scale, too.
    """
    return tuple(
        name
        for name, _ in model.named_parameters()
        if name.startswith("clip.")
        and not is_added(name)
        and not (learns_scale and name == "clip.logit_scale")
    )


def describe_tuning(clip: DualEncoder) -> dict[str, Any]:
    """What was added, in plain types; `tune` makes the like of it. Empty if nothing was."""
    told: dict[str, Any] = {}
    if isinstance(clip.prompts, BidirectionalPrompts):
        told["prompts"] = {
            key: getattr(clip.prompts, key) for key in ("n_ctx", "depth", "direction")
        }
    for key, tower in (("image_adapters", clip.visual), ("text_adapters", clip.text)):
        assert isinstance(tower, nn.Module)
        adapters = {
            i: slot.adapter
            for i, slot in enumerate(_adapter_slots(tower))
            if isinstance(slot.adapter, Adapter)
        }
        if adapters:
            one = next(iter(adapters.values()))
            told[key] = {
                "reduction": one.down.in_features // one.down.out_features,
                "scale": one.scale,
                "blocks": list(adapters),
            }
    if lora := describe_lora(clip):
        told["lora"] = lora
    return told


def tune(clip: DualEncoder, tuning: Mapping[str, Any]) -> None:
    """Give a backbone what `describe_tuning` tells of.

    Raises:
        InputError: it has no place for them.
    """
    if "prompts" in tuning:
        add_prompts(clip, **tuning["prompts"])
    for key, tower in (("image_adapters", clip.visual), ("text_adapters", clip.text)):
        if key in tuning:
            assert isinstance(tower, nn.Module)
            add_adapters(tower, **tuning[key])
    if "lora" in tuning:
        add_lora(clip, **tuning["lora"])
