"""Draw synthetic pedestrians and vehicles in the layouts of the published datasets.

python -m misc.synthetic --layout cuhk-pedes --output data/synthetic
python -m misc.synthetic --layout market1501 --output data/synthetic
python -m misc.synthetic --layout composed --output data/synthetic
python -m misc.synthetic --layout cuhk-pedes market1501 --val 0 --images 4 6 --output data/synthetic
python -m misc.synthetic --contact-sheet pedestrians.jpg

With the same seed and difficulty, the pedestrian of a number is the same person in every layout.
Layouts of one command search for the same people, also where only one of them has a val split.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from errors import InputError
from misc.runtime.outputs import SHEET
from misc.runtime.picture_writing import picture_kind, write_picture
from misc.runtime.script import Parser, given_path, run_script
from misc.synthetic.composed import (
    COMPOSED_LAYOUTS,
    ComposedPlan,
    WrittenComposed,
    draw_composed_dataset,
)
from misc.synthetic.drawing_plan import DiskLayout, check_layout
from misc.synthetic.pedestrians.contact_sheet import draw_contact_sheet
from misc.synthetic.pedestrians.languages import LANGUAGES
from misc.synthetic.pedestrians.layouts import LAYOUTS
from misc.synthetic.pedestrians.plan import Plan
from misc.synthetic.reid_layouts import REID_LAYOUTS
from misc.synthetic.reid_samples import ReIDPlan
from misc.synthetic.writing import (
    WrittenDataset,
    WrittenReIDDataset,
    draw_dataset,
    draw_reid_dataset,
    find_counts,
)

KNOWN: dict[str, DiskLayout] = {**LAYOUTS, **REID_LAYOUTS, **COMPOSED_LAYOUTS}
IDENTITIES = {"train": 1000, "val": 100, "test": 100}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m misc.synthetic",
        description="Draw synthetic pedestrians (with captions) and vehicles.",
    )
    add = parser.add_argument
    known = f"one or several of {', '.join(KNOWN)}"
    add("--layout", nargs="+", metavar="NAME", default=[], help=known)
    add("--output", type=given_path, metavar="DIR", help="parent folder of the dataset")
    for split, number in IDENTITIES.items():
        known = f"identities of the {split} split, if the layout has one (default: {number})"
        add(f"--{split}", type=int, metavar="N", help=known)
    pair: dict[str, Any] = {"type": int, "nargs": 2, "metavar": ("MIN", "MAX")}
    known = "images per identity, or outfit (default: 2 4; for re-identification, 4 8)"
    add("--images", **pair, help=known)
    add("--height", **pair, default=(96, 256), help="image height in pixels (default: 96 256)")
    add("--difficulty", type=float, default=0.5, help="from 0 to 1 (default: 0.5)")
    known = f"of the captions: {', '.join(LANGUAGES)} (default: en); the raw file has the first"
    add("--languages", nargs="+", metavar="LANG", default=["en"], help=known)
    add("--seed", type=int, default=0, help="of all random draws (default: 0)")
    add("--no-viewpoints", action="store_true", help="veri776 without its keypoint files")
    add(
        "--workers",
        type=int,
        default=1,
        help="processes (default: 1)",
    )
    add("--contact-sheet", type=SHEET, metavar="FILE", help="draw a page of images with captions")
    return parser


def _run(options: argparse.Namespace) -> None:
    layouts = options.layout
    wants_dataset = bool(layouts) or options.output is not None
    if wants_dataset and (not layouts or options.output is None):
        raise InputError("give both --layout and --output.")
    if not wants_dataset and options.contact_sheet is None:
        raise InputError("nothing to do: give --layout and --output, or --contact-sheet.")
    for layout in layouts:
        check_layout(layout, KNOWN)
    plans = [_plan(layout, options) for layout in layouts]
    for plan in plans:
        find_counts(plan, options.output)  # all are checked before one is drawn
    if options.contact_sheet is not None:
        _check_contact_sheet(options.contact_sheet)
    for plan in plans:
        _draw(plan, options)
    if options.contact_sheet is not None:
        _save_contact_sheet(options.contact_sheet, options.seed, options.difficulty)


def _plan(layout: str, options: argparse.Namespace) -> Plan | ReIDPlan | ComposedPlan:
    """The plan of a layout's dataset.

    Raises:
        InputError: an option is out of range.
    """
    sizes = (
        _identities(layout, options),
        tuple(options.images or ((4, 8) if layout in REID_LAYOUTS else (2, 4))),
        options.seed,
        tuple(options.height),
        options.difficulty,
    )
    if layout in COMPOSED_LAYOUTS:
        return ComposedPlan(layout, *sizes)
    skipped = _skipped(layout, options)
    if layout in REID_LAYOUTS:
        return ReIDPlan(layout, *sizes, not options.no_viewpoints, skipped=skipped)
    return Plan(layout, *sizes, tuple(options.languages), skipped=skipped)


def _draw(plan: Plan | ReIDPlan | ComposedPlan, options: argparse.Namespace) -> None:
    """Write the dataset of a plan, and print its sizes and folders."""
    asked = options.output, options.workers, True
    if isinstance(plan, ReIDPlan):
        _report_reid(draw_reid_dataset(plan, *asked))
    elif isinstance(plan, ComposedPlan):
        _report_composed(draw_composed_dataset(plan, *asked))
    else:
        _report(draw_dataset(plan, *asked))


def _identities(name: str, options: argparse.Namespace) -> dict[str, int]:
    """Identities of each split of a layout: the given number, or the default; also of one that no
    layout of the command has, to be refused.
    """
    known = {split for layout in options.layout for split in KNOWN[layout].splits}
    given = {split: getattr(options, split) for split in IDENTITIES}
    return {
        split: default if given[split] is None else given[split]
        for split, default in IDENTITIES.items()
        if split in KNOWN[name].splits or (given[split] is not None and split not in known)
    }


def _skipped(name: str, options: argparse.Namespace) -> int:
    """Ids that a layout leaves out before those of test, for the val split of another one."""
    val = {layout: _identities(layout, options).get("val", 0) for layout in options.layout}
    return max(val.values()) - val[name]


def _report(written: WrittenDataset) -> None:
    for split, count in written.counts.items():
        print(
            f"{split:<16} {count.identities} identities, {count.images} images, "
            f"{count.captions} captions"
        )
    for name in ("annotation_file", "processed", "image_root"):
        print(f"{name:<16} {getattr(written, name)}")


def _report_reid(written: WrittenReIDDataset) -> None:
    for role, count in written.counts.items():
        print(f"{role:<16} {count.identities} identities, {count.images} images")
    print(f"{'root':<16} {written.root}")


def _report_composed(written: WrittenComposed) -> None:
    for split, count in written.counts.items():
        print(
            f"{split:<16} {count.identities} identities, {count.images} images, "
            f"{count.captions} queries"
        )
    print(f"{'root':<16} {written.root}")


def _check_contact_sheet(file: Path) -> None:
    try:
        picture_kind(file)
    except ValueError as error:
        raise InputError(f"cannot write {file} ({error}): give a .jpg or .png file.") from error


def _save_contact_sheet(file: Path, seed: int, difficulty: float) -> None:
    sheet = draw_contact_sheet(seed, difficulty)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        about = SHEET.mark.decode()
        write_picture(file, sheet, description=about, quality=76, optimize=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {file} ({error}): give a .jpg or .png file.") from error
    print(f"{'contact sheet':<16} {file}")


if __name__ == "__main__":
    sys.exit(main())
