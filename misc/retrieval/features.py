"""Features of a split, kept on the disk: what encoding gave, and of which checkpoint."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from errors import InputError

TENSORS = ("image", "text", "image_ids", "text_ids")
METADATA = "features"  # the one entry of the file's metadata: safetensors keeps no order of several


@dataclass(frozen=True)
class Features:
    """A split's pictures and captions, encoded.

    `image` (N, D) and `text` (M, D) are L2-normalised, `image_ids` (N,) and `text_ids` (M,) whom
    they show, `image_paths` and `captions` what was encoded. `model_hash` is `hash_weights` of the
    model that did.
    """

    image: Tensor
    text: Tensor
    image_ids: Tensor
    text_ids: Tensor
    image_paths: tuple[str, ...]
    captions: tuple[str, ...]
    model_hash: str

    def __post_init__(self) -> None:
        if len({len(self.image), len(self.image_ids), len(self.image_paths)}) > 1:
            raise ValueError("as many picture features as identities and paths are needed")
        if len({len(self.text), len(self.text_ids), len(self.captions)}) > 1:
            raise ValueError("as many caption features as identities and captions are needed")


def save_features(file: Path, features: Features) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    told = {
        "model_hash": features.model_hash,
        "image_paths": features.image_paths,
        "captions": features.captions,
    }
    tensors = {name: getattr(features, name).detach().cpu().contiguous() for name in TENSORS}
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, metadata={METADATA: json.dumps(told)})
        os.replace(partial, file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write {file} ({error}): name another file") from error


def load_features(file: Path, model_hash: str | None = None) -> Features:
    """The features of a file, on the CPU.

    Args:
        model_hash: of the model that they must be of; None: of any.

    Raises:
        InputError: there is no such file, `save_features` did not write it, or it is of another
            model.
    """
    if not file.is_file():
        raise InputError(f"there are no features {file}")
    try:
        with safe_open(file, framework="pt") as content:
            told = json.loads(content.metadata()[METADATA])
            features = Features(
                **{name: content.get_tensor(name) for name in TENSORS},
                image_paths=tuple(told["image_paths"]),
                captions=tuple(told["captions"]),
                model_hash=told["model_hash"],
            )
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"{file} is not a file of features, or is damaged: write it again with --save-features"
        ) from error
    if model_hash is not None and features.model_hash != model_hash:
        raise InputError(
            f"the features in {file} are of another checkpoint: write them again with "
            "--save-features"
        )
    return features
