"""Sizes of a dataset's splits, and their comparison with the published ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

NOUNS = {"pictures": "image", "identities": "identity", "captions": "caption"}
PLURALS = {"identity": "identities", "person": "people", "box": "boxes"}


@dataclass(frozen=True)
class Count:
    """Images and identities of one split."""

    pictures: int
    identities: int

    def __str__(self) -> str:
        return ", ".join(counted(number, NOUNS[what]) for what, number in asdict(self).items())


@dataclass(frozen=True)
class TextCount(Count):
    """Images, identities and captions of one split."""

    captions: int


def compare_counts(name: str, here: Mapping[str, Count], published: Mapping[str, Count]) -> str:
    """One sentence on the sizes that differ from the published ones; empty if all agree.

    Args:
        name: of the published dataset.
        here: by split; a split that is missing has no images.
    """
    splits = []
    for split, expected in published.items():
        found = asdict(here[split]) if split in here else {}
        differences = [
            f"{counted(found.get(what, 0), NOUNS[what])} ({number:,})"
            for what, number in asdict(expected).items()
            if found.get(what, 0) != number
        ]
        if differences:
            splits.append(f"{split} {', '.join(differences)}")
    return f"Sizes differ from published {name}: {'; '.join(splits)}" if splits else ""


def counted(number: int, noun: str) -> str:
    """A number with its noun, which is given in the singular."""
    return f"{number:,} {noun if number == 1 else PLURALS.get(noun, f'{noun}s')}"
