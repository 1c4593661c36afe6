"""LoRA on the towers (Hu et al. 2021, arXiv 2106.09685), by the library peft.

It wraps a linear layer: `q_proj.weight` is then called `q_proj.base_layer.weight`, and beside it
are `q_proj.lora_A.default.weight` (rank, width) and `q_proj.lora_B.default.weight` (width, rank).
"""

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, get_args

from torch import Tensor, nn

from errors import InputError
from model.clip import DualEncoder
from model.resnet import ModifiedResNet
from model.tuning.description import LoraTarget, LoraTuning, Tower
from model.weights.sources import State

TOWERS: dict[Tower, str] = {"image": "visual", "text": "text"}
NAME = "default"  # of the one set of matrices in a layer
_WRAPPED = ".base_layer."


def add_lora(
    clip: DualEncoder,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    dropout: float = 0.0,
    targets: Sequence[LoraTarget] = ("attention",),
    towers: Sequence[Tower] = ("image", "text"),
) -> None:
    """Wrap linear layers of the blocks: W x becomes W x + alpha / rank B A dropout(x), B from 0.

    Args:
        targets: the kinds of layers in a block.

    Raises:
        InputError: the image tower is a ResNet, or a layer is narrower than the rank.
    """
    if "image" in towers and isinstance(clip.visual, ModifiedResNet):
        raise InputError(
            "LoRA changes the blocks of a ViT, and this image tower is a ResNet: give a ViT, or "
            "set lora.towers to text alone"
        )
    pattern = _pattern(clip, targets, towers)
    layers = {n for n, _ in clip.named_modules() if re.fullmatch(pattern, n)}
    if not layers:
        raise InputError(
            "LoRA changes linear layers, and these towers have none of lora.targets: give other "
            "targets or towers"
        )
    width = min(min(clip.get_parameter(f"{name}.weight").shape) for name in layers)
    if rank > width:
        raise InputError(f"lora.rank is {rank}: give at most {width}, the width of the layers")
    # Here, because peft takes seconds to import.
    from peft import LoraConfig, inject_adapter_in_model

    trained = [parameter for parameter in clip.parameters() if parameter.requires_grad]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # it divides it by the rank
        lora_dropout=dropout,
        target_modules=pattern,
    )
    inject_adapter_in_model(config, clip, NAME)  # which freezes all else
    for parameter in trained:
        parameter.requires_grad_()


def _pattern(clip: DualEncoder, targets: Sequence[LoraTarget], towers: Sequence[Tower]) -> str:
    """A regular expression for the names of the layers that are wrapped."""
    layers = [
        rf"{TOWERS[tower]}\.{clip.lora_layers[tower][target]}"
        for tower, target in product(towers, targets)
    ]
    return "|".join(f"({layer})" for layer in layers)


def describe_lora(clip: DualEncoder) -> LoraTuning | None:
    """The arguments of `add_lora`, None if it was not called."""
    names = [name for name, _ in clip.named_modules() if name.endswith(".lora_A")]
    if not names:
        return None
    layers = [name.removesuffix(".lora_A") for name in names]
    one: Any = clip.get_submodule(layers[0])  # a layer of peft's, whose attributes are untyped

    def fits(targets: Sequence[LoraTarget], towers: Sequence[Tower]) -> bool:
        pattern = re.compile(_pattern(clip, targets, towers))
        return any(pattern.fullmatch(layer) for layer in layers)

    targets, towers = get_args(LoraTarget), get_args(Tower)
    return LoraTuning(
        rank=one.r[NAME],
        alpha=one.lora_alpha[NAME],
        dropout=getattr(one.lora_dropout[NAME], "p", 0.0),
        targets=tuple(target for target in targets if fits([target], towers)),
        towers=tuple(tower for tower in towers if fits(targets, [tower])),
    )


def merge_lora(clip: nn.Module) -> None:
    """Add the products to the weights that they stand beside: a plain CLIP again, in place."""
    for name, layer in list(clip.named_modules()):
        if hasattr(layer, "lora_A"):
            layer.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(clip.get_submodule(parent), child, layer.base_layer)


def base_names(state: Mapping[str, Tensor]) -> State:
    """The weights without LoRA's, in the names of a model without it."""
    return {
        name.replace(_WRAPPED, "."): tensor
        for name, tensor in state.items()
        if ".lora_" not in name
    }
