"""The sections of a configuration that describe the model."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from misc.settings.base import (
    BelowOne,
    Count,
    Depth,
    Natural,
    Pixels,
    Positive,
    Probability,
    Section,
    Text,
    Towers,
    Width,
)
from model.backbones import BackboneKind, find_kind


class TextTowerSettings(Section):
    """A transformer over tokens."""

    width: Width
    layers: Depth
    heads: Count

    @model_validator(mode="after")
    def _divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads")
        return self


class VisionTowerSettings(Section):
    """A ViT, or a ResNet, for which `layers` counts the blocks of each of its four stages."""

    width: Width
    layers: Depth | tuple[Depth, Depth, Depth, Depth]
    heads: Count
    patch_size: Pixels | None

    @field_validator("layers", mode="wrap")
    @classmethod
    def _complain_once(cls, layers: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(tuple(layers) if isinstance(layers, list) else layers)
        except ValidationError:  # one for each member of the union
            raise ValueError(
                f"{json.dumps(layers)} is neither a ViT's number of blocks nor a list of the "
                "blocks of a ResNet's four stages"
            ) from None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        is_resnet = isinstance(self.layers, tuple)
        if is_resnet != (self.patch_size is None):
            raise ValueError(
                f"layers {json.dumps(self.layers)} and patch_size {json.dumps(self.patch_size)} do "
                "not go together: a ViT has a number of each, a ResNet has a list of four layers "
                "and patch_size null"
            )
        width = 32 * self.width if is_resnet else self.width
        if width % self.heads:
            raise ValueError(f"width {width} cannot be divided among {self.heads} heads")
        return self


class TokenSelectionSettings(Section):
    """A second embedding, of the tokens that draw the most attention."""

    embed_dim: Annotated[Width, Field(ge=2)]
    ratio: Annotated[float, Field(gt=0, le=1)]


def _registered(backbone: str) -> str:
    return find_kind(backbone).name


class ModelSettings(Section):
    """The backbone, its weights, and how it is fine-tuned."""

    backbone: Annotated[str, AfterValidator(_registered)]
    clip_pretrained: Text | None
    altclip_pretrained: Text | None
    init_from: Text | None
    activation: Literal["auto", "quickgelu", "gelu"]
    embed_dim: Width
    projection_dim: Width | None
    tokenizer_type: Text
    tokenizer_cache_dir: Text | None
    stride: Count | None
    last_stride: Literal[1, 2]
    gradient_checkpointing: bool
    # absent from older runs' config.yaml
    compile: Literal[False, "default", "max-autotune"] = False
    cuda_graphs: bool = False  # likewise
    freeze: tuple[Text, ...]
    use_gather: bool
    softlabel_ratio: Probability
    temperature: Annotated[float, Field(ge=0.01)] | None  # the scale is 100 at most
    token_selection: TokenSelectionSettings | None = None  # absent from older runs' config.yaml
    class_tokens: Literal["shared", "routed"] = "routed"  # likewise
    vision: VisionTowerSettings
    text: TextTowerSettings

    @property
    def kind(self) -> BackboneKind:
        """The registered kind of backbone."""
        return find_kind(self.backbone)

    @property
    def source(self) -> str | None:
        """The pretrained weights of the backbone, if any are named."""
        source: str | None = getattr(self, self.kind.source_key)
        return source

    @property
    def reads_clip_words(self) -> bool:
        """Whether the weights have CLIP's vocabulary, which masked and changed words need."""
        return self.kind.reads_clip_words(self.source)

    @property
    def from_scratch(self) -> bool:
        """Whether the backbone is initialised at random, with the towers described here."""
        return self.source is None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.tokenizer_type not in ("auto", self.backbone):
            raise ValueError(
                f"tokenizer_type is {self.tokenizer_type}, but backbone is {self.backbone}, which "
                "cannot read its tokens; set tokenizer_type to auto"
            )
        if self.projection_dim not in (None, self.embed_dim):
            raise ValueError(
                f"projection_dim is {self.projection_dim}, but embed_dim is {self.embed_dim}: both "
                "are the width of the joint space, give the same"
            )
        if self.from_scratch and not self.kind.random_init:
            raise ValueError(
                f"{self.kind.source_key} is not set, but backbone {self.backbone} needs pretrained "
                "weights: name them there"
            )
        is_resnet = self.from_scratch and self.vision.patch_size is None
        if is_resnet and self.stride is not None:
            raise ValueError(
                f"stride is {self.stride}, but vision is a ResNet, which has no patches: leave it "
                "null"
            )
        is_vit = not self.kind.has_resnets or (self.from_scratch and not is_resnet)
        if self.last_stride == 1 and is_vit:
            raise ValueError("last_stride is 1, but the image tower is a ViT: leave it 2")
        return self


class PromptSettings(Section):
    """Learned prompts in the blocks of both towers."""

    n_ctx: Annotated[int, Field(ge=0, le=77)]  # tokens of CLIP's texts
    depth: Depth
    direction: Literal["both", "text_to_image", "image_to_text", "independent"]
    init: Literal["random", "words"]
    words: Text

    @model_validator(mode="after")
    def _hold_words(self) -> Self:
        if self.init == "words" and not self.n_ctx:
            raise ValueError(
                "init is words, but n_ctx is 0, so that there are no prompts to initialise: set "
                "n_ctx, or init to random"
            )
        return self


class AdapterScaleSettings(Section):
    """The factor of the adapters' output in each tower."""

    image: float
    text: float


class AdapterSettings(Section):
    """Bottleneck adapters."""

    towers: Towers
    blocks: Annotated[tuple[Natural, ...], Field(min_length=1)] | None
    reduction: Count
    scale: AdapterScaleSettings


class LoraSettings(Section):
    """Low-rank updates of the linear layers."""

    rank: Annotated[int, Field(ge=0, le=2**14)]
    alpha: Positive
    dropout: BelowOne
    targets: Annotated[tuple[Literal["attention", "mlp"], ...], Field(min_length=1)]
    towers: Annotated[Towers, Field(min_length=1)]
