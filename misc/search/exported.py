"""The description of an exported model, `preprocessing.json`: all that its inputs depend on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from errors import InputError
from misc.retrieval.parts import Parts
from misc.runtime.atomic import atomic_write
from model.field_types import find_mistyped
from model.recognition import read_json
from model.trees import Tree

FILE = "preprocessing.json"
FORMAT = 1  # to be raised when a version could not read the files of the next


@dataclass(frozen=True)
class ImageInput:
    """The preparation of a picture for `image`: float32 (B, 3, rows, columns).

    Its values in [0, 1] are resized, then `mean` is subtracted and `std` divided by.

    Args:
        size: rows, columns.
        resize: `squash` to the size whatever the shape, or `crop`: cover it, and cut the middle.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize: str


@dataclass(frozen=True)
class TextInput:
    """The preparation of a sentence for `text`: int64 (B, length), padded with `pad_id`.

    Args:
        cleans: pass sentences through `text_utils.captions.clean_caption` first.
        tokenizer: a file of the library tokenizers beside this one.
    """

    length: int
    pad_id: int
    cleans: bool
    tokenizer: str


@dataclass(frozen=True)
class Exported:
    """The description of an exported model.

    Args:
        task: `text_to_image`, `image_to_image` or `both`.
        width: W, of the features (B, W) that the image tower gives.
        precision: of the weights, `fp32`, `fp16` or `int8`.
        model_hash: of the weights that features are compared under.
        preparation: settings by their keys, as an index holds them.
        text: None for a model that reads no sentences.
        parts: None: features (B, D) are L2-normalised, those of pictures and of sentences alike.
            Else those of pictures have two embeddings, as of `Parts`.
    """

    task: str
    width: int
    precision: str
    model_hash: str
    image: ImageInput
    text: TextInput | None
    preparation: Tree
    parts: Parts | None = None
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write the description into a folder."""
        with atomic_write(folder / FILE) as partial:
            tree = asdict(self)
            if self.parts is None:
                del tree["parts"]  # earlier versions know no such key
            partial.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Exported":
        """The description in a folder.

        Raises:
            InputError: there is none, it is damaged, or of a later version.
        """
        tree = read_json(folder / FILE)
        if tree.get("format", FORMAT) != FORMAT:
            raise InputError(f"{folder / FILE} is of another version of this project: export again")
        try:
            image, text = dict(tree["image"]), tree["text"]
            for name in ("size", "mean", "std"):
                image[name] = tuple(image[name])
            given = {"image": ImageInput(**image), "text": text and TextInput(**text)}
            if (parts := tree.get("parts")) is not None:
                given["parts"] = Parts(**parts)
            found = cls(**{**tree, **given})
            mistyped = find_mistyped(found)
        except (KeyError, TypeError, ValueError) as error:
            mistyped = str(error)
        if mistyped is not None:
            raise InputError(f"{folder / FILE} is damaged ({mistyped}): export again")
        return found
