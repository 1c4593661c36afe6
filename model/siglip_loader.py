"""SigLIP and SigLIP 2 in the registry of backbones."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL.Image import Resampling

from errors import InputError
from model.architecture import TextArchitecture
from model.backbone_loader import Preprocessing
from model.clip import TextShape
from model.folder_loader import FolderLoader, square
from model.siglip import SigLIP
from model.transformer import Activation
from model.vit import VisionShape
from model.weights.key_maps import HUGGINGFACE, Names
from model.weights.shapes import unless_usual
from model.weights.sources import State
from text_utils.tokenizer import SiglipTokenizer

# The text tower has a head, and the image tower another one, instead of the two projections.
NAMES: Names = (
    *(pair for pair in HUGGINGFACE if pair[0] not in ("visual.proj", "text.projection")),
    ("visual.head.", "vision_model.head."),
    ("text.head.", "text_model.head."),
)
ACTIVATIONS: dict[str, Activation] = {"gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}
PATCHES = "vision_model.embeddings.patch_embedding.weight"


class SigLIPLoader(FolderLoader):
    """SigLIP, and SigLIP 2 of a fixed resolution."""

    title = "SigLIP"
    model_types = ("siglip",)
    names = NAMES
    published = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), Resampling.BICUBIC)
    position_mode: ClassVar[Literal["bilinear", "bicubic"]] = "bicubic"  # as transformers does
    num_class_rows = 0

    def describe(self, folder: Path, config: Any) -> TextArchitecture:
        vision, text = config.vision_config, config.text_config
        towers = {(t.hidden_act, t.layer_norm_eps) for t in (vision, text)}
        if towers not in [{(name, 1e-6)} for name in ACTIVATIONS]:
            raise InputError(
                f"{folder / 'config.json'} asks for (hidden_act, layer_norm_eps) {sorted(towers)}: "
                f"one of {' and '.join(ACTIVATIONS)}, with 1e-06, is supported"
            )
        if (text.projection_size or text.hidden_size) != vision.hidden_size:
            raise InputError(
                f"{folder / 'config.json'} describes towers of unlike output "
                f"({text.projection_size}, {vision.hidden_size}): download it again"
            )
        return TextArchitecture(
            backbone="siglip",
            vision=VisionShape(
                vision.hidden_size,
                vision.num_hidden_layers,
                vision.num_attention_heads,
                vision.patch_size,
                vision.patch_size,
                self.read_image_size(vision),
                unless_usual(vision.intermediate_size, vision.hidden_size),
            ),
            text=TextShape(
                text.hidden_size,
                text.num_hidden_layers,
                text.num_attention_heads,
                text.max_position_embeddings,
                text.vocab_size,
                mlp_width=unless_usual(text.intermediate_size, text.hidden_size),
            ),
            embed_dim=vision.hidden_size,
            activation=ACTIVATIONS[vision.hidden_act],
            num_identities=0,
        )

    def read_image_size(self, vision: Any) -> tuple[int, int]:
        """Rows and columns in pixels, from the settings of the image tower."""
        return square(vision.image_size)

    def build(self, architecture: TextArchitecture, gradient_checkpointing: bool) -> SigLIP:
        vision, text = architecture.vision, architecture.text
        assert isinstance(vision, VisionShape)
        return SigLIP(vision, text, architecture.activation, gradient_checkpointing)

    def build_tokenizer(self, source: str | None, cache_dir: str | None) -> SiglipTokenizer:
        return SiglipTokenizer(str(source), cache_dir)


class NaFlexLoader(SigLIPLoader):
    """SigLIP 2 for pictures of any shape (NaFlex), read at one size.

    Its patches are rows, columns and channels of pixels, and linear.
    """

    model_types = ("siglip2",)
    position_mode: ClassVar[Literal["bilinear", "bicubic"]] = "bilinear"
    antialias = True

    def describe(self, folder: Path, config: Any) -> TextArchitecture:
        return replace(super().describe(folder, config), backbone="siglip2-naflex")

    def read_image_size(self, vision: Any) -> tuple[int, int]:
        side = round(vision.num_patches**0.5) * vision.patch_size
        return side, side

    def normalise(self, state: State, architecture: TextArchitecture) -> State:
        patches, vision = state.get(PATCHES), architecture.vision
        assert isinstance(vision, VisionShape)
        size = vision.patch_size
        if patches is None or patches.shape != (vision.width, 3 * size * size):
            return state
        as_convolution = patches.reshape(-1, size, size, 3).permute(0, 3, 1, 2)
        return {**state, PATCHES: as_convolution}


BACKBONE = SigLIPLoader()
NAFLEX = NaFlexLoader()
