"""Findings of a dataset check, and its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from misc.datasets.counts import Count

EXAMPLES = 10  # shown of each kind of fault
TITLES = {
    "missing_folder": "Missing images whose folder is missing",
    "missing_picture": "Missing images in existing folders",
    "unreadable_picture": "Unreadable images",
    "outside_picture": "Images outside data.image_root",
    "repeated_picture": "Images listed more than once",
    "identity_in_two_splits": "Identities in two splits",
    "empty_caption": "Empty captions",
    "other_script": "Captions in a different script than most",
    "code_fragment": "Captions with fragments of code",
    "repeated_caption": "Captions shared by several identities of a split",
    "picture_in_train_and_test": "Images in both train and test",
    "identity_in_train_and_test": "Identities in both train and test",
    "unmatched_query": "Queries without a match in the gallery",
    "identical_pictures": "Identical files with different identities, cameras or sides",
}


@dataclass(frozen=True)
class Finding:
    """All faults of one kind.

    Args:
        kind: a key of `TITLES`.
        number: of faults.
        examples: the first few of them.
        more: number of examples that are not shown.
    """

    kind: str
    number: int
    examples: tuple[str, ...]
    more: int


@dataclass(frozen=True)
class Report:
    """Contents of a dataset, and its faults.

    Args:
        dataset: the published name; None if the dataset is not a published one.
        counts: sizes by split.
        remarks: sentences on what is unusual but no fault, such as sizes other than published.
    """

    dataset: str | None
    counts: Mapping[str, Count]
    remarks: tuple[str, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        lines = [self.dataset or "Not a published dataset"]
        lines += [f"{split:<8}{count}" for split, count in self.counts.items()]
        lines += self.remarks
        for finding in self.findings:
            lines.append(f"\n{TITLES[finding.kind]}: {finding.number}")
            lines += [f"  {example}" for example in finding.examples]
            if finding.more:
                lines.append(f"  and {finding.more} more")
        return "\n".join(lines if self.findings else [*lines, "\nNo problems found"])


def summarize(kind: str, faults: Sequence[str], number: int | None = None) -> Finding:
    """The finding of all faults of a kind; give `number` if an entry stands for several faults."""
    shown = tuple(faults[:EXAMPLES])
    return Finding(kind, len(faults) if number is None else number, shown, len(faults[EXAMPLES:]))
