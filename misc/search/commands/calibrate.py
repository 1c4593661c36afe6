"""The command that calibrates an index on described pictures."""

import argparse
from pathlib import Path

from misc.runtime.script import given, given_path, share
from misc.search.commands.base import Command


class Calibrate(Command):
    """`search.py calibrate`."""

    name = "calibrate"
    summary = "find the score of an index from which on a hit counts as a match"
    example = """\
python search.py calibrate --index people.index --annotations captions.csv --images pictures"""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        known = "the index; its pictures do not matter"
        add("--index", type=given, required=True, metavar="INDEX", help=known)
        known = (
            "described pictures of at least two people: captions.csv, a JSON file or folder as for "
            "data.annotation_file, or a folder of people, people/<name>/*.jpg (queries by picture "
            "alone); the more the better, and none that the model was trained on"
        )
        add("--annotations", type=given, required=True, metavar="PATH", help=known)
        known = "folder that their paths are relative to (default: that of the annotations)"
        add("--images", type=given_path, metavar="DIR", help=known)
        known = "of the words beside a picture (default: 0.5); other weights keep their calibration"
        add("--weight", type=share, metavar="SHARE", help=known)
        known = "allowed share of false alarms (default: the index's)"
        add("--false-alarms", type=share, metavar="SHARE", help=known)
        known = "a run's folder or a checkpoint, if it is no longer where it was"
        add("--checkpoint", type=given, metavar="PATH", help=known)
        add("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")

    def run(self, options: argparse.Namespace) -> int | None:
        from misc.retrieval.calibration import WEIGHT, write_calibration
        from misc.runtime.recorder import start_logging
        from misc.search.calibrating import calibrate_model, check_size, read_described
        from misc.search.index import open_index
        from misc.search.location import is_local

        start_logging(active=True)
        index = open_index(options.index, options.checkpoint, options.device)
        pictures = read_described(options.annotations, options.images)
        calibration = calibrate_model(index.people, pictures, options.weight or WEIGHT)
        allowed = options.false_alarms or index.about.false_alarms
        check_size(calibration, allowed)
        if is_local(index.table.location):
            write_calibration(Path(index.table.location), calibration, allowed)
        index.set_calibration(calibration)
        index.set_false_alarms(allowed)
        return 0
