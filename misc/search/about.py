"""The description of an index: the model of its features, and how its pictures are read."""

import json
from dataclasses import asdict, dataclass

from errors import InputError
from model.trees import Tree


@dataclass(frozen=True)
class About:
    """The description of an index.

    Args:
        model_hash: of the weights that encoded its pictures.
        checkpoint: the file that they were read from.
        recipe: the configuration in place of the one saved with the run, if any.
        width: values of a feature.
        camera, time: regular expressions that read these out of paths.
        false_alarms: the share of searches in vain whose best hit is marked as a match.
        calibration: `Calibration.to_tree`; None: hits are not judged.
    """

    model_hash: str
    checkpoint: str
    recipe: str | None
    width: int
    camera: str | None = None
    time: str | None = None
    false_alarms: float = 0.01
    calibration: Tree | None = None

    def to_json(self) -> str:
        """The description as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, location: str) -> "About":
        """The inverse of `to_json`.

        Raises:
            InputError: the text is damaged, or of a later version.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the description of the index {location} is damaged, or a later version wrote it "
                f"({error})"
            ) from None
