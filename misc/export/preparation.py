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
    if trained.is_reid:
        return None
    experiment = trained.config.experiment
    pad_id = build_tokenizer(trained.config).pad_id
    return TextInput(experiment.text_length, pad_id, experiment.clean_captions, TOKENIZER)


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
    """The configuration as YAML; of absolute paths the last part alone, the rest is nobody's
    business.
    """
    return write_yaml(_without_folders(to_tree(trained.config)))


def _without_folders(value: Tree) -> Tree:
    def shorten(item: object) -> object:
        if isinstance(item, dict):
            return _without_folders(item)
        if isinstance(item, list | tuple):
            return [shorten(each) for each in item]
        return Path(item).name if isinstance(item, str) and item.startswith(("/", "~")) else item

    return {key: shorten(item) for key, item in value.items()}


def _write_json(content: Tree, file: Path) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
