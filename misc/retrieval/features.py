"""Features of a split in a file, with the hash of the model that encoded them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from errors import InputError
from misc.retrieval.parts import Parts
from misc.runtime.atomic import atomic_write

TENSORS = ("image", "text", "image_ids", "text_ids")
METADATA = "features"  # one entry only: safetensors does not keep the order of several


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of a split's N pictures and M captions; M is 0 in re-identification."""

    image: Tensor  # (N, D), L2-normalised; or (N, W) of `parts`
    text: Tensor  # (M, D), L2-normalised
    image_ids: Tensor  # (N,), int64, identities
    text_ids: Tensor  # (M,), int64, identities
    image_paths: tuple[str, ...]  # N
    captions: tuple[str, ...]  # M
    model_hash: str  # `encoder_hash` of the model
    parts: Parts | None = None  # of pictures with two embeddings

    def __post_init__(self) -> None:
        if len({len(self.image), len(self.image_ids), len(self.image_paths)}) > 1:
            raise ValueError("picture features, identities and paths differ in number")
        if len({len(self.text), len(self.text_ids), len(self.captions)}) > 1:
            raise ValueError("caption features, identities and captions differ in number")


def save_features(file: Path, features: Features) -> None:
    """Write a file that `load_features` reads, atomically.

    Raises:
        InputError: it cannot be written.
    """
    description = {
        "model_hash": features.model_hash,
        "parts": features.parts and asdict(features.parts),
        "image_paths": features.image_paths,
        "captions": features.captions,
    }
    tensors = {name: getattr(features, name).detach().cpu().contiguous() for name in TENSORS}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial:
            save_file(tensors, partial, metadata={METADATA: json.dumps(description)})
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write {file} ({error}); choose another file") from error


def load_features(file: str | Path, model_hash: str | None = None) -> Features:
    """Read a file of features, on the CPU.

    It is a safetensors file with four tensors: `image` (N, D) and `text` (M, D), float32 and
    L2-normalised, `image_ids` (N,) and `text_ids` (M,), int64. Its metadata has one entry,
    `features`, a JSON object of `image_paths` (a list of N), `captions` (a list of M),
    `model_hash` and, where pictures have two embeddings, `parts`.

    Args:
        model_hash: that of the model that must have encoded them; None: any model.

    Raises:
        InputError: the file does not exist, was not written by `save_features`, or is of another
            model.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(f"{file} does not exist; write it with --save-features")
    try:
        with safe_open(file, framework="pt") as content:
            description = json.loads(content.metadata()[METADATA])
            parts = description.get("parts")
            features = Features(
                **{name: content.get_tensor(name) for name in TENSORS},
                image_paths=tuple(description["image_paths"]),
                captions=tuple(description["captions"]),
                model_hash=description["model_hash"],
                parts=None if parts is None else Parts(**parts),
            )
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"{file} is not a features file or is damaged; write it again with --save-features"
        ) from error
    if model_hash is not None and features.model_hash != model_hash:
        raise InputError(
            f"{file} has the features of another checkpoint; write it again with --save-features"
        )
    return features
