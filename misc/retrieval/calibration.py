"""The calibration of a model on described pictures, and its files in the folder of a run."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from prettytable import PrettyTable, TableStyle
from torch import Tensor

from errors import InputError
from misc.calibration import Calibration, QueryCalibration, best_hits
from misc.retrieval.features import Features
from misc.retrieval.parts import Asked, Parts
from misc.runtime.atomic import atomic_write

log = logging.getLogger(__name__)

FILE, TABLE, PLOT = "calibration.json", "calibration.md", "calibration.png"
KINDS = {"words": "words", "picture": "a picture", "both": "words and a picture"}
WEIGHT = 0.5  # of the words beside a picture, where no other is asked for
FALSE_ALARMS = (0.001, 0.01, 0.05, 0.1)
TITLES = (
    "Search by",
    "False alarms allowed",
    "Similarity from",
    "False alarms",
    "Right answers kept",
    "Right answers",
)


def kind_of_both(weight: float) -> str:
    """The kind of query that has words and a picture, by the weight of the words: `both`, or `both
    0.3` for another weight than the default.
    """
    return "both" if f"{weight:g}" == f"{WEIGHT:g}" else f"both {weight:g}"


def name_kind(kind: str) -> str:
    """A kind of query, for readers."""
    kind, _, weight = kind.partition(" ")
    return f"{KINDS[kind]}, weight {weight}" if weight else KINDS[kind]


def calibrate(features: Features, weight: float = WEIGHT) -> Calibration:
    """The calibration of a model on a gallery of pictures with known people, by kind of query.

    `words`: each caption. `picture`: each picture of a person with at least two, itself left out.
    `kind_of_both(weight)`: each caption with a picture of such a person, by turns, left out
    likewise.

    Args:
        weight: of the words beside a picture, from 0 to 1.

    Raises:
        InputError: the pictures show fewer than two people, or there is no query of any kind.
    """
    kinds = {}
    image, image_ids = features.image, features.image_ids
    for name, (asked, ids, left_out) in _queries(features, weight).items():
        if len(ids):
            own = ids, image_ids, left_out
            hits = best_hits(asked.features, image, *own, offset=asked.offset)
            kinds[name] = QueryCalibration.of(hits, len(features.image))
    if not kinds:
        raise InputError(
            "the pictures have no captions and show each person once, so nothing can be searched "
            "for; give people with at least two pictures, or captions"
        )
    return Calibration(features.model_hash, kinds)


def _queries(
    features: Features, weight: float
) -> Mapping[str, tuple[Asked, Tensor, Tensor | None]]:
    """Queries, their identities, and the rows of the gallery that they leave out."""
    image, text, text_ids = features.image, features.text, features.text_ids
    parts = features.parts or Parts(image.shape[1])
    rows_of: dict[int, list[int]] = {}
    for row, identity in enumerate(features.image_ids.tolist()):
        rows_of.setdefault(identity, []).append(row)
    several = {identity: rows for identity, rows in rows_of.items() if len(rows) > 1}
    own = torch.tensor(sorted(row for rows in several.values() for row in rows), dtype=torch.long)
    turns: dict[int, int] = dict.fromkeys(several, 0)
    captions, partners = [], []
    for caption, identity in enumerate(text_ids.tolist()):
        if identity in several:
            captions.append(caption)
            partners.append(several[identity][turns[identity] % len(several[identity])])
            turns[identity] += 1
    both = parts.query(text[captions], image[partners], weight)
    return {
        "words": (parts.query(text, None, 1), text_ids, None),
        "picture": (parts.query(None, image[own], 0), features.image_ids[own], own),
        kind_of_both(weight): (both, text_ids[captions], torch.tensor(partners, dtype=torch.long)),
    }


def saved_calibration(folder: Path, model_hash: str) -> Calibration | None:
    """The calibration that a run has left in its folder, if it is of this model and whole."""
    if not (folder / FILE).is_file():
        return None
    try:
        found = Calibration.load(folder / FILE)
    except InputError as error:
        log.warning("The calibration of the run is not used: %s", error)
        return None
    return found if found.model_hash == model_hash else None


def write_calibration(folder: Path, calibration: Calibration, false_alarms: float) -> None:
    """Log a calibration, and write its values, table and plot into a folder.

    Args:
        false_alarms: the share whose thresholds are in the closing line and the plot.

    Raises:
        InputError: they cannot be written.
    """
    from misc.retrieval.calibration_plot import draw_calibration  # matplotlib, where it draws

    calibration.save(folder / FILE)
    table = to_table(calibration)
    notes = [*_notes(calibration, false_alarms)]
    log.info("%s", "\n".join([table.get_string(), *notes]))
    table.set_style(TableStyle.MARKDOWN)
    lines = [table.get_string(), "", *(f"- {note}" for note in notes)]
    _write(folder / TABLE, "\n".join(lines) + "\n")
    names = {kind: name_kind(kind) for kind in calibration.kinds}
    draw_calibration(folder / PLOT, calibration, names, false_alarms)


def _write(file: Path, text: str) -> None:
    try:
        with atomic_write(file) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file} ({error}); choose another folder") from error


def to_table(calibration: Calibration) -> PrettyTable:
    """A row for each kind of query and each share of false alarms.

    The last columns are shares of the searches whose person is in the gallery: those whose best hit
    is right and reaches the threshold, and all whose best hit is right.
    """
    table = PrettyTable(TITLES, title="Calibration", align="r")
    table.align[TITLES[0]] = "l"
    for name, kind in calibration.kinds.items():
        for share in FALSE_ALARMS:
            threshold = kind.threshold(share)
            measured = (kind.false_alarms(threshold), kind.kept(threshold), kind.kept())
            cells = [f"{threshold:.3f}", *(f"{100 * value:.1f} %" for value in measured)]
            table.add_row([name_kind(name), f"{100 * share:g} %", *cells])
    return table


def _notes(calibration: Calibration, false_alarms: float) -> Iterator[str]:
    for name, kind in calibration.kinds.items():
        wanted = sorted({*FALSE_ALARMS, false_alarms})
        if fine := [f"{100 * share:g} %" for share in wanted if kind.is_too_fine(share)]:
            yield (
                f"{name_kind(name)}: {kind.absent.count} queries are too few for "
                f"{' and '.join(fine)}; the threshold lies above the best hit of all of them"
            )
    thresholds = [
        f"{threshold:.3f} ({name_kind(name)})"
        for name, kind in calibration.kinds.items()
        if not kind.is_too_fine(false_alarms)
        and kind.false_alarms(threshold := kind.threshold(false_alarms)) <= false_alarms
    ]
    if thresholds:
        yield (
            f"A best hit is no match below similarity {', '.join(thresholds)}: then at most "
            f"{100 * false_alarms:g} % of the searches for somebody who is not in the gallery find "
            "one"
        )
