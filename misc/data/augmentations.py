"""Registry of training augmentations: adding one is a function, and an entry here.

Entries name their functions as "module:function", and nothing heavy is imported, so that a
configuration is checked without torch.
"""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from misc.data.transforms import Augmentation, Normalize

# By `experiment.image_augment`: functions of the image size and the normalisation that return an
# `Augmentation`.
IMAGE_AUGMENTATIONS: dict[str, str] = {
    "pool": "misc.data.transforms:TrainTransform",
    "erase": "misc.data.transforms:build_erasing",
}


def find_image_augmentation(
    name: str,
) -> "Callable[[tuple[int, int], Normalize], Augmentation]":
    """The function of an entry of `IMAGE_AUGMENTATIONS`."""
    build: Callable[[tuple[int, int], Normalize], Augmentation] = resolve_name(
        IMAGE_AUGMENTATIONS[name]
    )
    return build


@dataclass(frozen=True)
class TextOperation:
    """An operation on the words of a caption.

    Args:
        function: of a caption, a strength and a generator.
        takes_synonyms: whether it also takes a lookup of `synonyms`, which needs WordNet.
    """

    function: str
    takes_synonyms: bool = False


# By `experiment.text_augment`.
TEXT_OPERATIONS: dict[str, TextOperation] = {
    "deletion": TextOperation("text_utils.augment:random_deletion"),
    "swap": TextOperation("text_utils.augment:random_swap"),
    "insertion": TextOperation("text_utils.augment:random_insertion", takes_synonyms=True),
    "replacement": TextOperation("text_utils.augment:synonym_replacement", takes_synonyms=True),
}
