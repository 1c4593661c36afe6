"""The registry of backbones: adding one is a file that implements `BackboneLoader`, and an entry.

Nothing heavy is imported, so that a configuration is checked without torch.
"""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from errors import InputError
from model.recognition import has_clip_words, is_of_open_clip, read_model_type
from text_utils.hub import is_repository

if TYPE_CHECKING:
    from model.backbone_loader import BackboneLoader
    from model.clip import DualEncoder
    from text_utils.tokenizer import Tokenizer

TaskName = Literal["text_to_image", "image_to_image", "both"]


@dataclass(frozen=True)
class BackboneKind:
    """One kind of backbone, as far as a configuration has to know it.

    Args:
        name: the value of `model.backbone`.
        module: the file that implements it.
        implementation: the name of the `BackboneLoader` in it.
        source_key: the key of `model` that names its weights.
        recipe: the file in `config/` that is laid over a recipe that turns to this backbone.
        tasks: that it can be trained for.
        random_init: whether it starts from random weights where no others are named.
        masks_words: whether its vocabulary is CLIP's, which masked-word prediction needs.
        words_by_source: whether that depends on the weights.
        shows_attention: whether its towers give the attention that `model.token_selection` needs;
            a ResNet gives none.
        processor: whether it has a processor of its own (`experiment.use_altclip_processor`).
        resizes_text: whether its text positions are interpolated to `experiment.text_length`.
        longest_text: the most that they are interpolated to, in tokens.
        has_resnets: whether its image tower may be a ResNet (`model.last_stride`).
        model_types: the values of `model_type` in config.json that it is recognised by.
        hub_word: a part of the names of its repositories on the hub, in lower case.
    """

    name: str
    module: str
    implementation: str = "BACKBONE"
    source_key: str = "clip_pretrained"
    recipe: str | None = None
    tasks: tuple[TaskName, ...] = ("text_to_image",)
    random_init: bool = False
    masks_words: bool = False
    words_by_source: bool = False
    shows_attention: bool = False
    processor: bool = False
    resizes_text: bool = False
    longest_text: int = 512
    has_resnets: bool = False
    model_types: tuple[str, ...] = ()
    hub_word: str | None = None

    def loader(self) -> "BackboneLoader":
        """The implementation, imported when it is asked for."""
        loader: BackboneLoader = getattr(import_module(self.module), self.implementation)
        return loader

    def reads_clip_words(self, source: str | None) -> bool:
        """Whether weights of this kind have CLIP's vocabulary."""
        return self.masks_words or (self.words_by_source and has_clip_words(str(source)))


KINDS: dict[str, BackboneKind] = {}


def register(kind: BackboneKind) -> None:
    """Make a backbone known by its name."""
    KINDS[kind.name] = kind


def find_kind(name: str) -> BackboneKind:
    """The backbone of a name.

    Raises:
        InputError: there is none; all names are given, and the one that is much like it.
    """
    if name not in KINDS:
        near, known = get_close_matches(name[:80], KINDS, n=1), ", ".join(KINDS)
        hint = f"did you mean {near[0]}? ({known})" if near else f"choose one of {known}"
        raise InputError(f"unknown backbone {name[:80]!r}: {hint}")
    return KINDS[name]


def recognise(source: str) -> BackboneKind | None:
    """The kind of a source of weights, by its config.json or else by its name on the hub.

    None where nothing tells it: CLIP's formats are many.
    """
    if is_of_open_clip(source):
        return KINDS["open_clip"]
    model_type = read_model_type(source)
    is_on_hub = is_repository(source) and not os.path.exists(source)
    for kind in KINDS.values():
        if model_type in kind.model_types:
            return kind
        is_named = kind.hub_word is not None and kind.hub_word in source.lower()
        if model_type is None and is_named and is_on_hub:
            return kind
    return None


register(
    BackboneKind(
        "clip",
        "model.clip_loader",
        tasks=("text_to_image", "image_to_image", "both"),
        random_init=True,
        masks_words=True,
        shows_attention=True,
        resizes_text=True,
        longest_text=248,  # as Long-CLIP (Zhang et al., 2024)
        has_resnets=True,
        model_types=("clip",),
    )
)
register(
    BackboneKind(
        "altclip",
        "model.altclip_loader",
        source_key="altclip_pretrained",
        recipe="altclip.yaml",
        tasks=("text_to_image", "both"),
        processor=True,
        model_types=("altclip",),
        hub_word="altclip",
    )
)
register(
    BackboneKind(
        "chinese-clip",
        "model.chinese_clip_loader",
        recipe="chinese_clip.yaml",
        tasks=("text_to_image", "both"),
        model_types=("chinese_clip",),
        hub_word="chinese-clip",
    )
)
register(
    BackboneKind(
        "open_clip", "model.open_clip_loader", recipe="open_clip.yaml", words_by_source=True
    )
)
register(
    BackboneKind(
        "siglip2-naflex",
        "model.siglip_loader",
        implementation="NAFLEX",
        recipe="siglip.yaml",
        model_types=("siglip2",),
        hub_word="naflex",
    )
)
register(
    BackboneKind(
        "siglip",
        "model.siglip_loader",
        recipe="siglip.yaml",
        model_types=("siglip",),
        hub_word="siglip",
    )
)


@dataclass(frozen=True)
class Backbone:
    """A pretrained backbone with everything that its inputs are prepared by.

    Args:
        model: in evaluation mode.
        tokenizer: sentences and a length L -> ids, int64 (N, L).
        mean, std: of the channels of a picture in [0, 1].
        image_size: (rows, columns) in pixels.
    """

    model: "DualEncoder"
    tokenizer: "Tokenizer"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_size: tuple[int, int]


def load_backbone(
    source: str | Path,
    image_size: int | tuple[int, int] | None = None,
    context_length: int | None = None,
) -> Backbone:
    """Load any backbone; its kind is detected from the source.

    Args:
        source: what `model.clip_pretrained` takes: a file, a folder, the root of a Hugging Face
            cache, `hf:ORG/NAME`, `open_clip:ARCH/TAG`.
        image_size: (rows, columns) in pixels, or the side of a square; None: that of the weights.
        context_length: tokens of the longest caption; None: that of the weights.

    Raises:
        InputError: there is no such source, or no kind of backbone recognises it.
    """
    from model.backbone_loader import TowerOptions

    loader = (recognise(str(source)) or KINDS["clip"]).loader()
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    model = loader.load(str(source), TowerOptions(size, context_length=context_length)).eval()
    preprocessing = loader.read_preprocessing(str(source), None)
    return Backbone(
        model,
        loader.build_tokenizer(str(source), None),
        preprocessing.mean,
        preprocessing.std,
        model.visual.shape.image_size,
    )
