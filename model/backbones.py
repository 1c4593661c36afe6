"""The registry of backbones. Adding one is a file that implements `BackboneLoader`, and a line here.

Nothing heavy is imported, so that a configuration can be checked without torch.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from errors import InputError

TaskName = Literal["text_to_image", "image_to_image"]


@dataclass(frozen=True)
class BackboneKind:
    """One kind of backbone, as far as a configuration has to know it.

    Args:
        name: the value of `model.backbone`.
        module: the file that implements it; its `BACKBONE` is a `model.backbone_loader.BackboneLoader`.
        source_key: the key of `model` that names its weights.
        recipe: the file in `config/` that is laid over a recipe which turns to it, if any.
        tasks: that it can be trained for.
        from_scratch: whether it is drawn at random where no weights are named.
        masks_words: whether its vocabulary is CLIP's, which masked-word prediction needs.
        processor: whether pictures can be prepared by its own processor
            (`experiment.use_altclip_processor`).
        resizes_text: whether its text positions are interpolated to `experiment.text_length`.
        has_resnets: whether its image tower may be a ResNet (`model.last_stride`).
    """

    name: str
    module: str
    source_key: str = "clip_pretrained"
    recipe: str | None = None
    tasks: tuple[TaskName, ...] = ("text_to_image",)
    from_scratch: bool = False
    masks_words: bool = False
    processor: bool = False
    resizes_text: bool = False
    has_resnets: bool = False


KINDS: dict[str, BackboneKind] = {}


def register(kind: BackboneKind) -> None:
    """Make a backbone known by its name."""
    KINDS[kind.name] = kind


def find_kind(name: str) -> BackboneKind:
    """The backbone of a name.

    Raises:
        InputError: there is none; the nearest name is given.
    """
    if name not in KINDS:
        near = get_close_matches(name, KINDS, n=1, cutoff=0.0)[0]
        raise InputError(f"unknown backbone {name!r}: did you mean {near}? ({', '.join(KINDS)})")
    return KINDS[name]


register(
    BackboneKind(
        "clip",
        "model.clip_loader",
        tasks=("text_to_image", "image_to_image"),
        from_scratch=True,
        masks_words=True,
        resizes_text=True,
        has_resnets=True,
    )
)
register(
    BackboneKind(
        "altclip",
        "model.altclip_loader",
        source_key="altclip_pretrained",
        recipe="altclip.yaml",
        processor=True,
    )
)
