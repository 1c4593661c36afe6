"""AltCLIP in the registry of backbones; transformers is imported only where it is needed."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from PIL.Image import Resampling

from errors import InputError
from model.architecture import TextArchitecture
from model.backbone_loader import BackboneLoader, Preprocessing, TowerOptions
from model.clip import TextShape
from model.trees import Tree
from model.vit import VisionShape
from text_utils.tokenizer import AltCLIPTokenizer

if TYPE_CHECKING:
    from model.altclip import AltCLIP


class AltCLIPLoader(BackboneLoader):
    """AltCLIP from `BAAI/AltCLIP`, a folder in the hub's layout, or the root of a cache."""

    position_mode: ClassVar[Literal["bilinear", "bicubic"]] = "bicubic"  # as transformers does

    def load(self, source: str, options: TowerOptions) -> "AltCLIP":
        from model.altclip_adapter import load_altclip

        if options.last_stride != 2:
            raise InputError(f"{source} has a ViT image tower: leave model.last_stride 2")
        clip = load_altclip(
            source,
            options.cache_dir,
            options.image_size,
            options.stride,
            dropout=options.dropout,
            gradient_checkpointing=options.gradient_checkpointing,
        )
        longest, asked = clip.text.shape.context_length, options.context_length
        if asked is not None and asked > longest:
            raise InputError(
                f"experiment.text_length is {asked}, but {source} has positions for {longest} "
                f"tokens: give at most {longest}"
            )
        return clip

    def restore(self, architecture: TextArchitecture, options: TowerOptions) -> "AltCLIP":
        from model.altclip import AltCLIP, AltTextShape

        vision, text = architecture.vision, architecture.text
        assert isinstance(vision, VisionShape)
        assert isinstance(text, AltTextShape)
        return AltCLIP(
            vision,
            text,
            architecture.embed_dim,
            architecture.activation,
            options.gradient_checkpointing,
        )

    def read_text_shape(self, tree: Tree) -> TextShape:
        from model.altclip import AltTextShape

        return AltTextShape(**tree)

    def build_tokenizer(self, source: str | None, cache_dir: str | None) -> AltCLIPTokenizer:
        return AltCLIPTokenizer(str(source), cache_dir)

    def read_preprocessing(self, source: str, cache_dir: str | None) -> Preprocessing:
        return _read_preprocessing(source, cache_dir)


@cache
def _read_preprocessing(source: str, cache_dir: str | None) -> Preprocessing:
    from model.altclip_adapter import load_image_processor

    settings = load_image_processor(source, cache_dir)
    try:
        mean, std = _channels(settings.image_mean), _channels(settings.image_std)
        resampling = Resampling(settings.resample)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the image settings of {source} (image_mean, image_std, resample) are not those of "
            "pictures: download its preprocessor_config.json again"
        ) from error
    return Preprocessing(mean, std, resampling)


def _channels(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


BACKBONE = AltCLIPLoader()
