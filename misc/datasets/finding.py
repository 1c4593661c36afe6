"""What a check of a dataset finds, and the report of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from misc.datasets import reid_published, text_published

EXAMPLES = 10  # shown of each kind of fault
TITLES = {
    "missing_folder": "Pictures missing with their folder",
    "missing_picture": "Pictures missing from a folder that is there",
    "unreadable_picture": "Pictures that cannot be read",
    "repeated_picture": "Pictures named again by a later record or line",
    "identity_in_two_splits": "Identities in two splits",
    "empty_caption": "Empty captions",
    "other_script": "Captions in another script than most",
    "code_fragment": "Captions with fragments of code",
    "repeated_caption": "Captions that stand for several identities of a split",
    "picture_in_train_and_test": "Pictures both trained on and tested with",
    "identity_in_train_and_test": "Identities both trained on and tested with",
    "unmatched_query": "Queries that nothing in the gallery matches",
    "identical_pictures": "Identical files of several identities or cameras, or of train and test",
}


@dataclass(frozen=True)
class Finding:
    """One kind of fault (a key of `TITLES`): how often it was found, and where first.

    `more` is how many examples there are beyond those.
    """

    kind: str
    number: int
    examples: tuple[str, ...]
    more: int


@dataclass(frozen=True)
class Report:
    """What a dataset holds and what is wrong with it.

    `dataset` is the published name, None for one's own; `remarks` are sentences on differences from
    the published counts, on what is no fault, and on what could not be told.
    """

    dataset: str | None
    counts: Mapping[str, text_published.Count | reid_published.Count]
    remarks: tuple[str, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        lines = [self.dataset or "None of the published datasets"]
        for split, here in self.counts.items():
            numbers = (f"{number} {what}" for what, number in asdict(here).items())
            lines.append(f"{split:<8}{', '.join(numbers)}")
        lines += self.remarks
        for finding in self.findings:
            lines.append(f"\n{TITLES[finding.kind]}: {finding.number}")
            lines += [f"  {example}" for example in finding.examples]
            if finding.more:
                lines.append(f"  and {finding.more} more")
        return "\n".join(lines if self.findings else [*lines, "\nNothing is wrong."])


def summarize(kind: str, faults: Sequence[str], number: int | None = None) -> Finding:
    """The finding of these faults; `number` is how many, where a fault stands for several."""
    shown = tuple(faults[:EXAMPLES])
    return Finding(kind, len(faults) if number is None else number, shown, len(faults[EXAMPLES:]))
