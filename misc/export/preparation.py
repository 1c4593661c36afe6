"""The preparation of pictures and sentences, as files beside an exported model."""

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from torch import Tensor

from misc.data.transforms import CentreCropTransform, EvaluationTransform
from misc.export.tokenizer_files import FILE as TOKENIZER
from misc.export.tokenizer_files import write_tokenizer
from misc.export.trained_model import TrainedModel
from misc.search.exported import ImageInput, TextInput
from misc.settings.recipes import to_tree
from misc.settings.yaml12 import write_yaml
from misc.tasks.starting_weights import build_tokenizer
from model.trees import Tree
from text_utils.hub import is_repository

PATHS = (  # keys, of whatever section
    *("annotation_file", "image_root", "root", "file", "cache_folder"),
    *("tokenizer_cache_dir", "init_from"),
)
SOURCES = ("clip_pretrained", "altclip_pretrained")  # paths, or names on the hub


def describe_images(transform: Callable[[Image.Image], Tensor]) -> ImageInput:
    """The preparation of pictures that an evaluation's transform is."""
    assert isinstance(transform, EvaluationTransform | CentreCropTransform)
    return ImageInput(
        transform.size,
        tuple(transform.mean),
        tuple(transform.std),
        Image.Resampling(transform.resampling).name.lower(),
        "crop" if isinstance(transform, CentreCropTransform) else "squash",
    )


def describe_texts(trained: TrainedModel) -> TextInput | None:
    """The preparation of sentences; None for a re-identification model."""
    sentences, cleans = trained.encoder.sentences, trained.config.experiment.clean_captions
    if sentences is None:
        return None
    pad_id = build_tokenizer(trained.config).pad_id
    return TextInput(sentences.length, pad_id, cleans, TOKENIZER)


def write_preparation(trained: TrainedModel, folder: Path) -> None:
    """Write the tokenizer's files and `preprocessor_config.json` into a folder."""
    image, text = describe_images(trained.encoder.transform), describe_texts(trained)
    _write_json(_image_processor(image), folder / "preprocessor_config.json")
    if text is not None:
        write_tokenizer(build_tokenizer(trained.config), folder, text.length, text.cleans)


def _image_processor(image: ImageInput) -> Tree:
    """The settings of transformers' image processor."""
    rows, columns = image.size
    sides = {"height": rows, "width": columns}
    crops = image.resize == "crop"
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": min(image.size)} if crops else sides,
        "do_center_crop": crops,
        "crop_size": sides,
        "resample": int(Image.Resampling[image.interpolation.upper()]),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(image.mean),
        "image_std": list(image.std),
    }


def public_config(trained: TrainedModel) -> str:
    """The configuration as YAML; of paths the last part alone, the rest is nobody's business."""
    return write_yaml(_without_folders(to_tree(trained.config)))


def _without_folders(tree: Tree) -> Tree:
    return {key: _without_folder(key, value) for key, value in tree.items()}


def _without_folder(key: str, value: object) -> object:
    if isinstance(value, dict):
        return _without_folders(value)
    if isinstance(value, list):
        return [_without_folder(key, item) for item in value]
    if not isinstance(value, str):
        return value
    if key in PATHS or value.startswith(("/", "~")):
        return Path(value).name
    return public_source(value) if key in SOURCES else value


def public_source(source: str) -> str:
    """A source of weights: its name on the hub or in open_clip, or the last part of its path."""
    scheme, colon, name = source.rpartition(":")
    is_local = Path(name).exists() or not is_repository(name)
    return f"{scheme}{colon}{Path(name).name}" if is_local else source


def _write_json(content: Tree, file: Path) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
