"""A query of an index, by words, a picture, or both."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from errors import InputError
from misc.retrieval.calibration import WEIGHT, kind_of_both
from misc.retrieval.parts import Asked
from misc.search.person_search import PersonSearch


@dataclass(frozen=True)
class Query:
    """A person to find.

    Args:
        text: a description.
        image: a file, or a picture in memory.
        weight: of the words, from 0 to 1, where there is a picture as well; unused with a fusion.

    Raises:
        InputError: there are neither words nor a picture, or the weight is out of range.
    """

    text: str | None = None
    image: str | Path | Image.Image | None = None
    weight: float = WEIGHT

    def __post_init__(self) -> None:
        if self.text is None and self.image is None:
            raise InputError("the query is empty; describe a person in words, or give a picture")
        if not 0 <= self.weight <= 1:
            raise InputError(f"the weight of the words is {self.weight}; give one from 0 to 1")

    @property
    def kind(self) -> str:
        """The kind of query, as of a calibration."""
        if self.image is None:
            return "words"
        if self.text is None:
            return "picture"
        return kind_of_both(self.weight)

    def encode(self, people: PersonSearch) -> Asked:
        """The query with its features, (W,); words and a picture together are composed by the
        model's fusion, or else by `Parts.query`.

        Raises:
            InputError: the model reads no text, or the picture cannot be read.
        """
        text = None if self.text is None else people.encode_texts([self.text])[0]
        picture = None if self.image is None else people.encode_gallery([self.image])[0]
        parts = people.parts
        if people.fusion is not None and text is not None and picture is not None:
            text, picture = people.fusion(picture[: parts.words], text), None
        return parts.query(text, picture, self.weight)
