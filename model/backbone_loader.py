"""The interface of a kind of backbone: how it is recognised, loaded and restored."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from model.architecture import ImageShape, TextArchitecture
from model.clip import DualEncoder, TextShape
from model.resnet import ResNetShape
from model.transformer import Activation
from model.trees import Tree
from model.vit import VisionShape
from model.weights import resize_position_embedding, resize_text_positions
from model.weights.shapes import position_names
from model.weights.sources import State
from text_utils.tokenizer import Tokenizer


@dataclass(frozen=True)
class TowerOptions:
    """Sizes and settings of a backbone's towers; None keeps those of the weights.

    Args:
        image_size: (rows, columns) in pixels.
        stride: of a ViT, pixels from patch to patch; None: the patch size.
        last_stride: of a ResNet's layer4.
        context_length: tokens of the longest caption.
        activation: "auto" reads it from the weights.
        dropout: of the text tower's attention weights, in training only.
        cache_dir: where weights are looked for and kept, beside the hub's own cache.
    """

    image_size: tuple[int, int] | None = None
    stride: int | None = None
    last_stride: int = 2
    context_length: int | None = None
    activation: Activation | Literal["auto"] = "auto"
    dropout: float = 0.0
    gradient_checkpointing: bool = False
    cache_dir: str | None = None


@dataclass(frozen=True)
class Preprocessing:
    """Preparation of pictures as a backbone was trained with: the mean and deviation of the
    channels, and Pillow's number of the resampling filter.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resampling: int


class BackboneLoader(ABC):
    """One kind of backbone."""

    # How its image positions are interpolated, and their rows before the patches'.
    position_mode: ClassVar[Literal["bilinear", "bicubic"]] = "bilinear"
    antialias: ClassVar[bool] = False
    num_class_rows: ClassVar[int] = 1

    @abstractmethod
    def load(self, source: str, options: TowerOptions) -> DualEncoder:
        """The backbone with the weights of `source`, in float32.

        Raises:
            InputError: there is no such source, it cannot be read, or does not fit the options.
        """

    @abstractmethod
    def restore(self, architecture: TextArchitecture, options: TowerOptions) -> DualEncoder:
        """The backbone of a checkpoint with random weights, to be filled with the checkpoint's.

        Of the options only gradient checkpointing counts; sizes and dropout are the architecture's.
        """

    def resize_positions(
        self, state: State, own: TextArchitecture, asked: TextArchitecture
    ) -> State:
        """The backbone's weights with position embeddings for other sizes than their own.

        Raises:
            InputError: they cannot be resized.
        """
        image, text = position_names(state)
        resized = {
            image: resize_position_embedding(
                state[image].float(),
                asked.vision.grid,
                self.position_mode,
                own_grid=own.vision.grid,
                num_class_rows=self.num_class_rows,
                antialias=self.antialias,
            )
        }
        if own.text.context_length != asked.text.context_length:
            resized[text] = resize_text_positions(state[text].float(), asked.text.context_length)
        return {**state, **resized}

    def read_vision_shape(self, tree: Tree) -> ImageShape:
        """The shape of the image tower from the plain types of a checkpoint."""
        sizes: Tree = {k: tuple(v) if isinstance(v, list) else v for k, v in tree.items()}
        return VisionShape(**sizes) if "patch_size" in sizes else ResNetShape(**sizes)

    @abstractmethod
    def read_text_shape(self, tree: Tree) -> TextShape:
        """The shape of the text tower from the plain types of a checkpoint."""

    @abstractmethod
    def build_tokenizer(self, source: str | None, cache_dir: str | None) -> Tokenizer:
        """The tokenizer that the text tower was trained with."""

    @abstractmethod
    def read_preprocessing(self, source: str, cache_dir: str | None) -> Preprocessing:
        """The preparation of pictures that the image tower was trained with."""
