"""The command that cuts people out of videos."""

import argparse
import math
import os
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from errors import InputError
from misc.datasets.counts import counted
from misc.runtime.script import given_path, positive
from misc.search.commands.base import Command
from misc.search.listing import is_text
from misc.search.path_fields import add_path_fields, parse_time, read_camera, read_time

if TYPE_CHECKING:
    from misc.search.footage.crops import Detector
    from misc.search.footage.mot import MOTBoxes
    from misc.search.footage.origin import Origin
    from misc.search.footage.video import Video

MOST = 1_000_000  # of seconds, of a margin, of sharpness, which is never more
THRESHOLDS = {"torchvision": 0.8, "hog": 0.5}


class Crop(Command):
    """The crops of people in videos, by given boxes or by a detector."""

    name = "crop"
    summary = "cut people out of videos, to be indexed"
    example = """\
python search.py crop walk.mp4 --boxes walk.txt --output crops
python search.py crop cam1_20260101_080000.mp4 cam2_20260101_080000.mp4 --detector torchvision \\
                      --camera 'cam(\\d+)' --time '\\d{8}_\\d{6}' --output crops
python search.py index --checkpoint runs/demo-... --images crops --output people.index"""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("videos", nargs="+", type=given_path, metavar="VIDEO")
        known = "folder of the crops, one folder a video, and of crops.jsonl; a video that is there"
        add("--output", type=given_path, required=True, metavar="DIR", help=f"{known} is replaced")
        source = parser.add_mutually_exclusive_group(required=True)
        known = "MOTChallenge files, one a video, or a folder with a file <video's stem>.txt each"
        source.add_argument("--boxes", nargs="+", type=given_path, metavar="FILE", help=known)
        known = "torchvision (Faster R-CNN), or hog (needs OpenCV 4)"
        source.add_argument("--detector", choices=tuple(THRESHOLDS), help=known)
        known = "state dict of torchvision's detector (default: downloaded once)"
        add("--weights", type=given_path, metavar="FILE", help=known)
        add("--device", help="of torchvision's detector (default: a GPU if there is one)")
        known = "between the frames that are looked at; 0 for all frames (default: 1)"
        add("--every", type=_seconds, default=Fraction(1), metavar="SECONDS", help=known)
        known = "added on each side of a box, in parts of its width and height (default: 0.02)"
        add("--margin", type=_number, default=0.02, help=known)
        add(
            "--min-height",
            type=positive,
            default=48,
            metavar="PIXELS",
            help="of a crop (default: 48)",
        )
        known = "least score of a box (default: 0.8 of torchvision, 0.5 of hog, none of --boxes)"
        add("--threshold", type=_score, metavar="SCORE", help=known)
        known = "least variance of the Laplacian (default: 0, any)"
        add("--min-sharpness", type=_number, default=0.0, metavar="NUMBER", help=known)
        known = "crops that are kept of a track, the best by sharpness times height (default: all)"
        add("--per-track", type=positive, metavar="N", help=known)
        add_path_fields(parser)
        known = "time of the first frame, if there is one video: '2026-01-01 08:00'"
        add("--start", type=_time, metavar="TIME", help=known)

    def run(self, options: argparse.Namespace) -> None:
        from misc.search.footage.crop_folder import CropFolder
        from misc.search.footage.crops import Choice, cut_crops
        from misc.search.footage.video import open_video

        _check(options)
        videos = [open_video(file) for file in options.videos]
        origins = [_origin(options, file) for file in options.videos]
        output = CropFolder(options.output)
        output.check(origins)
        sources = _sources(options, videos)
        choice = Choice(
            options.every,
            options.margin,
            options.min_height,
            THRESHOLDS.get(options.detector) if options.threshold is None else options.threshold,
            options.min_sharpness,
            options.per_track,
        )
        for video, source, origin in zip(videos, sources, origins, strict=True):
            with output.draft(video.file.stem) as draft:
                cut = cut_crops(video, source, choice, draft)
                output.replace(draft, [origin.record(crop) for crop in cut.crops])
            print(f"{video.file.name}: {cut}")


def _check(options: argparse.Namespace) -> None:
    """Check options against each other."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError("crop runs in one process; start it without torchrun")
    if options.detector != "torchvision" and (options.weights or options.device):
        raise InputError("--weights and --device are for --detector torchvision; leave them out")
    if options.start and (options.time or len(options.videos) > 1):
        raise InputError("--start is for one video without --time; give --time REGEX")
    for file in options.videos:
        if not is_text(file.name):
            raise InputError(f"video {str(file)!r} has a name that is not UTF-8; rename it")


def _origin(options: argparse.Namespace, file: Path) -> "Origin":
    from misc.search.footage.fingerprint import fingerprint
    from misc.search.footage.origin import Origin

    text = read_time(options.time, file)
    start = datetime.fromisoformat(text) if text else options.start
    return Origin(file, read_camera(options.camera, file), start, fingerprint(file))


def _sources(
    options: argparse.Namespace, videos: "Sequence[Video]"
) -> "Sequence[MOTBoxes | Detector]":
    """The source of the boxes of each video."""
    from misc.search.footage.mot import read_mot

    if options.detector:
        return [_build_detector(options)] * len(videos)
    files: list[Path] = options.boxes
    if len(files) == 1 and files[0].is_dir():
        files = [files[0] / f"{video.file.stem}.txt" for video in videos]
    if len(files) != len(videos):
        raise InputError(
            f"{counted(len(files), 'file')} of --boxes for {counted(len(videos), 'video')}; "
            "give one for each, in the same order, or a folder"
        )
    return [read_mot(file) for file in files]


def _build_detector(options: argparse.Namespace) -> "Detector":
    from misc.runtime.distributed import processes
    from misc.search.footage.detectors import HOGDetector, TorchvisionDetector

    if options.detector == "hog":
        return HOGDetector()
    with processes(options.device) as own:
        return TorchvisionDetector(options.weights, own.device)


def _seconds(word: str) -> Fraction:
    """The type of an option in seconds, exactly: 0.1 and 1/30 are no binary numbers."""
    try:
        # The power of ten would be written out, and of 1e999999999 that takes forever.
        seconds = Fraction(word if len(word.lower().partition("e")[2]) < 4 else "")
    except (ValueError, ZeroDivisionError):
        seconds = Fraction(-1)
    if not 0 <= seconds <= MOST:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number from 0 to {MOST:,}")
    return seconds


def _number(word: str) -> float:
    """The type of an option that is a number from 0 on."""
    return float(_seconds(word))


def _score(word: str) -> float:
    """The type of an option that is any finite number: scores of hog may be negative."""
    try:
        score = float(word)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise argparse.ArgumentTypeError(f"{word!r} is not a finite number")
    return score


def _time(word: str) -> datetime:
    """The type of an option that is a time."""
    time = parse_time(word)
    if time is None:
        raise argparse.ArgumentTypeError(f"{word!r} is not a time such as '2026-01-01 08:00'")
    return time
