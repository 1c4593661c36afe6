"""The command that brings pictures into an index."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from errors import InputError
from misc.runtime.script import given, given_path, natural, positive, share
from misc.search.commands.base import Command
from misc.search.path_fields import add_path_fields

if TYPE_CHECKING:
    from misc.search.index import Index
    from misc.search.updating import Update

OF_ADDING = ("camera", "time", "half", "approximate", "false_alarms")  # options


class BuildIndex(Command):
    """`search.py index`."""

    name = "index"
    summary = "add a folder of pictures to an index, or update it"
    is_parallel = True
    example = """\
python search.py index --checkpoint runs/demo-... --images pictures --output people.index
torchrun --nproc_per_node=4 search.py index --checkpoint ... --images ... --output ..."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        known = (
            "a run's folder, a checkpoint, or a folder of misc.export --format onnx (default, for "
            "an index that exists: its own)"
        )
        add("--checkpoint", type=given, metavar="PATH", help=known)
        known = "recipe in place of the run's; for published weights"
        add("--config", type=given, metavar="FILE", help=known)
        which = parser.add_mutually_exclusive_group(required=True)
        known = "folder of pictures, with all folders below; crops.jsonl files are read"
        which.add_argument("--images", type=given_path, metavar="DIR", help=known)
        known = "drop the pictures of a folder from the index instead"
        which.add_argument("--remove", type=given_path, metavar="DIR", help=known)
        known = "the index: a folder, or a URI that Lance reads, such as s3://bucket/people"
        add("--output", type=given, metavar="INDEX", required=True, help=known)
        add_path_fields(parser)
        add("--half", action="store_true", help="new index: features in float16, half the size")
        known = "build Lance's approximate index, above 100,000 pictures, and print its recall"
        add("--approximate", action="store_true", help=known)
        known = "allowed share of false alarms, searches for an absent person that end in a match"
        add("--false-alarms", type=share, metavar="SHARE", help=known)
        known = "pictures encoded at once by a process, and lost if it is killed (default: 64)"
        add("--batch-size", type=positive, metavar="N", help=known)
        known = "processes that read pictures (default: one a core, up to 8)"
        add("--workers", type=natural, metavar="N", help=known)
        add("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")

    def run(self, options: argparse.Namespace) -> int | None:
        from misc.runtime.distributed import processes
        from misc.runtime.recorder import start_logging
        from misc.search.approximate import build_approximate
        from misc.search.index import open_index
        from misc.search.listing import check_folder
        from misc.search.person_search import PersonSearch

        _check(options)
        if options.images:
            check_folder(options.images)  # before a model is loaded and an index made
        with processes(options.device) as own:
            start_logging(own.is_main)
            if options.checkpoint is None:
                index = open_index(options.output, processes=own, half=options.half)
            else:
                people = PersonSearch(options.checkpoint, config=options.config, processes=own)
                index = people.index(options.output, half=options.half)
            if options.remove:
                return _remove(index, options.remove)
            update = index.add(
                options.images,
                camera=options.camera and options.camera.pattern,
                time=options.time and options.time.pattern,
                batch_size=options.batch_size,
                workers=min(8, os.cpu_count() or 1) if options.workers is None else options.workers,
            )
            if not own.is_main:
                return 0
            if options.false_alarms is not None:
                index.set_false_alarms(options.false_alarms)
            for line in _left_out(update):
                print(f"skipped: {line}", file=sys.stderr)
            print(f"{options.output}: {len(index):,} pictures; {update}")
            print(_threshold_line(index))
            if options.approximate:
                print(build_approximate(index))
        return 0


def _check(options: argparse.Namespace) -> None:
    """Check options against each other."""
    if options.config and not options.checkpoint:
        raise InputError("--config goes with --checkpoint; give that as well")
    of_adding = [name for name in OF_ADDING if getattr(options, name) not in (None, False)]
    if options.remove and of_adding:
        name = of_adding[0].replace("_", "-")
        raise InputError(f"--{name} goes with --images, and not with --remove; leave it out")


def _remove(index: "Index", folder: Path) -> int:
    if index.people.processes.world_size > 1:
        raise InputError("--remove runs in one process; start it without torchrun")
    print(f"{index.remove(folder):,} removed; {len(index):,} pictures are left")
    return 0


def _left_out(update: "Update") -> Iterator[str]:
    """A sentence for each file that could not be read, and one about all links to folders."""
    yield from update.unreadable
    if links := update.folder_links:
        yield (
            f"pictures behind links to folders ({len(links):,}, such as {links[0]}); give each of "
            "these folders by --images as well"
        )


def _threshold_line(index: "Index") -> str:
    """The threshold of a match, in a sentence."""
    kind = "words" if index.people.reads_text else "picture"
    threshold, share = index.threshold(kind), index.about.false_alarms
    if threshold is None:
        return (
            "Not calibrated: every search ends in hits, also where the person is not there; "
            "calibrate with `search.py calibrate`"
        )
    return f"A hit by {kind} counts as a match from {threshold:.3f} on ({share:.1%} false alarms)"
