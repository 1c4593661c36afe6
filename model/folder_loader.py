"""Backbones from folders in Hugging Face's layout, whose towers are described by config.json."""

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL.Image import Resampling
from torch import Tensor

from errors import InputError
from model.architecture import TextArchitecture
from model.backbone_loader import BackboneLoader, Preprocessing, TowerOptions
from model.clip import DualEncoder, TextShape
from model.field_types import find_mistyped
from model.recognition import read_json
from model.trees import Tree
from model.vit import VisionShape
from model.weights.key_maps import Names, rename_all, reverse, transpose_projections
from model.weights.misfits import check_fit
from model.weights.shapes import check_sizes
from model.weights.soundness import check_finite
from model.weights.sources import WEIGHT_FILES, State, read_config, read_shards
from text_utils.hub import find_model

POSITIONS = "visual.positional_embedding"
IMAGE_SETTINGS = ("preprocessor_config.json", "processor_config.json")


class FolderLoader(BackboneLoader):
    """A backbone of transformers, filled into towers of our own by a key map.

    Attributes:
        title: its name in sentences.
        model_types: the values of `model_type` in config.json.
        names: (ours, theirs), as in model/weights/key_maps.py.
        published: the preparation of pictures where a folder does not tell it.
    """

    title: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    names: ClassVar[Names]
    published: ClassVar[Preprocessing]

    @abstractmethod
    def describe(self, folder: Path, config: Any) -> TextArchitecture:
        """The architecture in a config.json.

        Raises:
            InputError: there are no such towers.
        """

    @abstractmethod
    def build(self, architecture: TextArchitecture, gradient_checkpointing: bool) -> DualEncoder:
        """The model of an architecture, with random weights."""

    def normalise(self, state: State, architecture: TextArchitecture) -> State:
        """The tensors of a folder, in the names and shapes of the latest transformers."""
        return state

    def load(self, source: str, options: TowerOptions) -> DualEncoder:
        if options.last_stride != 2:
            raise InputError(f"{source} has a ViT image tower: leave model.last_stride 2")
        folder = find_model(source, WEIGHT_FILES, options.cache_dir)
        published = self._describe_checked(folder)
        state = self.normalise(read_shards(folder), published)
        check_finite(folder, state)
        towers = published.vision, published.text, published.embed_dim
        check_sizes(folder, *towers, sum(map(Tensor.numel, state.values())))
        asked = _with_options(source, published, options)
        with torch.device("meta"):  # shapes alone: every value comes from the source
            clip = self.build(asked, options.gradient_checkpointing)
        self._check_fit(folder, state, clip)
        ours = transpose_projections(rename_all(state, reverse(self.names)))
        ours = {k: v.reshape(()) if k.startswith("logit_") else v for k, v in ours.items()}
        clip = clip.to_empty(device="cpu")
        clip.load_state_dict(self.resize_positions(ours, published, asked))  # into float32
        return clip

    def _describe_checked(self, folder: Path) -> TextArchitecture:
        config = read_config(folder, *self.model_types)
        try:
            architecture = self.describe(folder, config)
            mistyped = find_mistyped(architecture)
        except (ArithmeticError, TypeError) as error:
            mistyped = str(error)
        if mistyped is not None:
            raise InputError(
                f"{folder / 'config.json'} has sizes of another type ({mistyped}): download it "
                "again"
            )
        return architecture

    def _check_fit(self, folder: Path, state: State, clip: DualEncoder) -> None:
        expected = rename_all(transpose_projections(clip.state_dict()), self.names)
        for name in rename_all({POSITIONS: torch.empty(0)}, self.names):
            if name in state and state[name].ndim == 2:
                expected[name] = expected[name][:1].expand(len(state[name]), -1)
        scalars = {k: v.reshape(()) for k, v in state.items() if v.numel() == 1}
        check_fit(folder, {**state, **scalars}, expected, self.title)

    def restore(self, architecture: TextArchitecture, options: TowerOptions) -> DualEncoder:
        return self.build(architecture, options.gradient_checkpointing)

    def read_text_shape(self, tree: Tree) -> TextShape:
        return TextShape(**tree)

    def read_preprocessing(self, source: str, cache_dir: str | None) -> Preprocessing:
        folder = find_model(source, (*IMAGE_SETTINGS, "config.json"), cache_dir)
        return read_image_settings(folder, self.published)


def read_image_settings(folder: Path, published: Preprocessing) -> Preprocessing:
    """The preparation of pictures as a folder's files say it.

    Args:
        published: where they do not.

    Raises:
        InputError: the files are not about pictures.
    """
    file = next((folder / n for n in IMAGE_SETTINGS if (folder / n).is_file()), None)
    if file is None:
        return published
    settings = read_json(file)
    settings = settings.get("image_processor", settings)
    try:
        red, green, blue = map(float, settings.get("image_mean", published.mean))
        stds = map(float, settings.get("image_std", published.std))
        red_std, green_std, blue_std = stds
        resampling = Resampling(settings.get("resample", published.resampling))
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} has image settings (image_mean, image_std, resample) that are not those "
            "of pictures: download it again"
        ) from error
    return Preprocessing((red, green, blue), (red_std, green_std, blue_std), resampling)


def _with_options(
    source: str, published: TextArchitecture, options: TowerOptions
) -> TextArchitecture:
    """The architecture with the sizes that are asked for."""
    vision, text = published.vision, published.text
    assert isinstance(vision, VisionShape)
    longest, asked = text.context_length, options.context_length
    if asked is not None and asked > longest:
        raise InputError(
            f"experiment.text_length is {asked}, but {source} has positions for {longest} tokens: "
            f"give at most {longest}"
        )
    vision = replace(
        vision,
        stride=options.stride or vision.patch_size,
        image_size=options.image_size or vision.image_size,
    )
    return replace(published, vision=vision, text=replace(text, dropout=options.dropout))


def square(side: object) -> tuple[int, int]:
    """The sides of config.json's `image_size`: one number, or rows and columns."""
    rows, columns = side if isinstance(side, list | tuple) else (side, side)
    return rows, columns
