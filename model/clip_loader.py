"""CLIP in the registry of backbones."""

from pathlib import Path

from PIL.Image import Resampling

from model.architecture import TextArchitecture
from model.backbone_loader import BackboneLoader, Preprocessing, TowerOptions
from model.backbones import find_kind
from model.clip import CLIP, PIXEL_MEAN, PIXEL_STD, DualEncoder, TextShape
from model.folder_loader import read_image_settings
from model.recognition import find_open_clip_folder
from model.trees import Tree
from model.weights import load_clip
from model.weights.sources import WEIGHT_FILES
from text_utils.hub import find_model, find_snapshot
from text_utils.tokenizer import ClipTokenizer

PUBLISHED = Preprocessing(PIXEL_MEAN, PIXEL_STD, Resampling.BICUBIC)


class CLIPLoader(BackboneLoader):
    """CLIP, with a ViT or a ResNet, in all formats of its weights; see `load_clip`."""

    def load(self, source: str, options: TowerOptions) -> DualEncoder:
        return load_clip(
            source,
            options.image_size,
            options.stride,
            options.context_length,
            last_stride=options.last_stride,
            activation=options.activation,
            dropout=options.dropout,
            gradient_checkpointing=options.gradient_checkpointing,
        )

    def restore(self, architecture: TextArchitecture, options: TowerOptions) -> DualEncoder:
        return CLIP(
            architecture.vision,
            architecture.text,
            architecture.embed_dim,
            architecture.activation,
            options.gradient_checkpointing,
        )

    def read_text_shape(self, tree: Tree) -> TextShape:
        return TextShape(**tree)

    def build_tokenizer(self, source: str | None, cache_dir: str | None) -> ClipTokenizer:
        return ClipTokenizer()

    def read_preprocessing(self, source: str, cache_dir: str | None) -> Preprocessing:
        if source.startswith("open_clip:") or find_open_clip_folder(source) is not None:
            return find_kind("open_clip").loader().read_preprocessing(source, cache_dir)
        if source.startswith("hf:"):
            return read_image_settings(find_model(source, WEIGHT_FILES), PUBLISHED)
        return read_image_settings(find_snapshot(Path(source).expanduser()), PUBLISHED)


BACKBONE = CLIPLoader()
