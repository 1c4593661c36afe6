"""The description of an index: the model of its features, and how its pictures are read."""

import json
from dataclasses import asdict, dataclass, field

from errors import InputError
from misc.retrieval.calibration import saved_calibration
from misc.search.person_search import PersonSearch
from misc.settings.recipes import to_tree
from model.trees import Tree


@dataclass(frozen=True)
class About:
    """The description of an index.

    Args:
        model_hash: of the weights that encoded its pictures.
        preparation: the settings that features depend on beside the weights, by their keys.
        checkpoint: the file that the weights were read from.
        config: the configuration in place of the one saved with the run, if any was given.
        folders: by indexed folder, the regular expressions that read `camera` and `time` out of
            paths, null without one.
        false_alarms: the allowed share of false alarms: searches for an absent person that end in
            a match.
        calibration: `Calibration.to_tree`; None: hits are not judged.
    """

    model_hash: str
    preparation: Tree
    checkpoint: str
    config: Tree | None = None
    folders: dict[str, dict[str, str | None]] = field(default_factory=dict)
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


def describe(people: PersonSearch) -> About:
    """The description of a new index; a calibration of the run goes along."""
    file = people.file.resolve()
    calibration = saved_calibration(file.parent, people.encoder.model_hash)
    return About(
        people.encoder.model_hash,
        people.encoder.preparation,
        str(file),
        to_tree(people.config) if people.is_configured else None,
        false_alarms=people.config.evaluation.false_alarms or About.false_alarms,
        calibration=calibration.to_tree() if calibration else None,
    )


def check_model(about: About, location: str, people: PersonSearch) -> None:
    """Check that a model is the one of an index, and prepares pictures and sentences alike.

    Raises:
        InputError: it is another one, or a setting differs.
    """
    if about.model_hash != people.encoder.model_hash:
        raise InputError(
            f"the index {location} was made with another model, {about.checkpoint} "
            f"({about.model_hash[:12]}), and not with {people.file} "
            f"({people.encoder.model_hash[:12]}); give the former, or make a new index"
        )
    for key, value in people.encoder.preparation.items():
        kept = about.preparation.get(key)
        if kept != value:
            raise InputError(
                f"the index {location} was made with {key}={json.dumps(kept)}, and not with "
                f"{json.dumps(value)}; give the same configuration, or make a new index"
            )
