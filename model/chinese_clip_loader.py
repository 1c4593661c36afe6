"""Chinese-CLIP in the registry of backbones."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL.Image import Resampling

from errors import InputError
from model.architecture import TextArchitecture
from model.backbone_loader import Preprocessing
from model.chinese_clip import BertShape, ChineseCLIP
from model.clip import PIXEL_MEAN, PIXEL_STD, TextShape
from model.folder_loader import FolderLoader, square
from model.trees import Tree
from model.vit import VisionShape
from model.weights.key_maps import HUGGINGFACE, Names
from model.weights.shapes import unless_usual
from model.weights.sources import State, read_activation
from text_utils.tokenizer import BertTokenizer

NAMES: Names = (
    *(pair for pair in HUGGINGFACE if not pair[0].startswith("text.")),
    ("text.projection.", "text_projection."),
    ("text.", "text_model."),
)


class ChineseCLIPLoader(FolderLoader):
    """Chinese-CLIP with a ViT, as transformers has it."""

    title = "Chinese-CLIP with a ViT"
    model_types = ("chinese_clip",)
    names = NAMES
    published = Preprocessing(PIXEL_MEAN, PIXEL_STD, Resampling.BICUBIC)
    position_mode: ClassVar[Literal["bilinear", "bicubic"]] = "bicubic"  # as transformers does

    def describe(self, folder: Path, config: Any) -> TextArchitecture:
        vision, text = config.vision_config, config.text_config
        if text.hidden_act != "gelu":
            raise InputError(
                f"{folder / 'config.json'} asks for a text tower with {text.hidden_act}: only gelu "
                "is supported"
            )
        return TextArchitecture(
            backbone="chinese-clip",
            vision=VisionShape(
                vision.hidden_size,
                vision.num_hidden_layers,
                vision.num_attention_heads,
                vision.patch_size,
                vision.patch_size,
                square(vision.image_size),
                unless_usual(vision.intermediate_size, vision.hidden_size),
            ),
            text=BertShape(
                text.hidden_size,
                text.num_hidden_layers,
                text.num_attention_heads,
                text.max_position_embeddings,
                text.vocab_size,
                mlp_width=unless_usual(text.intermediate_size, text.hidden_size),
                pad_id=text.pad_token_id,
                eps=text.layer_norm_eps,
            ),
            embed_dim=config.projection_dim,
            activation=read_activation(folder, vision),
            num_identities=0,
        )

    def build(self, architecture: TextArchitecture, gradient_checkpointing: bool) -> ChineseCLIP:
        vision, text = architecture.vision, architecture.text
        assert isinstance(vision, VisionShape)
        assert isinstance(text, BertShape)
        return ChineseCLIP(
            vision, text, architecture.embed_dim, architecture.activation, gradient_checkpointing
        )

    def normalise(self, state: State, architecture: TextArchitecture) -> State:
        # The pooler, in the first files, has no use.
        return {k: v for k, v in state.items() if not k.startswith("text_model.pooler.")}

    def read_text_shape(self, tree: Tree) -> TextShape:
        return BertShape(**tree)

    def build_tokenizer(self, source: str | None, cache_dir: str | None) -> BertTokenizer:
        return BertTokenizer(str(source), cache_dir)


BACKBONE = ChineseCLIPLoader()
