"""A synthetic video of pedestrians who cross a street, with their boxes and captions.

python -m misc.synthetic.footage --output data/footage
python -m misc.synthetic.footage --output data/footage --first-identity 1701 --difficulty 0.2

The people are those of `python -m misc.synthetic` with the same seed and difficulty. Written are
walk.mp4; walk.txt, ground truth as MOTChallenge has it (a person of whom less than half is visible
is not to be considered); and walk.json, the captions of each track.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from PIL import Image
from tqdm import tqdm

from errors import InputError
from misc.runtime.atomic import atomic_write
from misc.runtime.script import Parser, given_path, positive, run_script
from misc.synthetic.pedestrians.attributes import draw_identity
from misc.synthetic.pedestrians.cameras import develop, draw_camera
from misc.synthetic.pedestrians.canvas import Canvas
from misc.synthetic.pedestrians.captions import describe
from misc.synthetic.pedestrians.chance import Stream, between, generator
from misc.synthetic.pedestrians.drawing import draw_person_in, draw_shadow
from misc.synthetic.pedestrians.english import ENGLISH
from misc.synthetic.pedestrians.facts import choose_facts
from misc.synthetic.pedestrians.scenery import paint_place
from misc.synthetic.pedestrians.skeleton import pose
from misc.synthetic.pedestrians.walks import Walk, draw_walk

FACTOR = 2  # frames are drawn at this multiple of their size, for smooth edges
CAPTIONS = 2
PEDESTRIAN = 1  # class of MOTChallenge
VISIBLE = 0.5


@dataclass(frozen=True)
class Film:
    """Arguments of a video, which determine its pictures.

    Args:
        first_identity: the first of `people` consecutive ones.
        size: width and height in pixels.
        fps: frames a second.
        camera: its number among the cameras of the seed.

    Raises:
        InputError: a value is out of range.
    """

    people: int = 24
    first_identity: int = 1
    seconds: int = 20
    seed: int = 0
    difficulty: float = 0.5
    size: tuple[int, int] = (640, 360)
    fps: int = 10
    camera: int = 0

    def __post_init__(self) -> None:
        if min(self.size) < 64 or any(side % 2 for side in self.size):
            raise InputError(f"--size {self.size[0]} {self.size[1]}: give even numbers from 64 on")
        if not 0.0 <= self.difficulty <= 1.0:
            raise InputError(f"--difficulty {self.difficulty}: give a number from 0 to 1")
        if min(self.seed, self.first_identity, self.camera) < 0:
            raise InputError("--seed, --first-identity and --camera: give 0 or more")

    @property
    def identities(self) -> range:
        return range(self.first_identity, self.first_identity + self.people)

    def walks(self) -> list[Walk]:
        """A walk of each identity; they begin one after another, within the video."""
        camera = draw_camera(self.seed, self.camera, self.difficulty)
        walks = []
        for number, identity in enumerate(self.identities):
            rng = generator(self.seed, Stream.WALK, identity)
            person = draw_identity(self.seed, identity, self.difficulty)
            walk = draw_walk(rng, person, camera, starts=0.0)
            last = max(0.0, self.seconds - walk.lasts)
            share = (number + between(rng, 0.0, 1.0)) / self.people
            walks.append(replace(walk, starts=last * share))
        return walks

    def captions(self, walk: Walk, identity: int) -> list[str]:
        """Captions of a person, of what is visible on the walk."""
        rng = generator(self.seed, Stream.CAPTION, identity)
        facts = (
            choose_facts(walk.person, walk.shot, self.difficulty, rng) for _ in range(CAPTIONS)
        )
        return [describe(one, ENGLISH, rng)[0] for one in facts]

    def frames(self) -> Iterator[tuple[Image.Image, list[str]]]:
        """Each frame, and its lines of ground truth."""
        walks = self.walks()
        camera = draw_camera(self.seed, self.camera, self.difficulty)
        # The blur of a camera is meant for a picture as high as one person.
        tall = sum(walk.tall for walk in walks) / len(walks)
        lens = replace(camera, blur=camera.blur * tall)
        large = (self.size[0] * FACTOR, self.size[1] * FACTOR)
        place = generator(self.seed, Stream.PLACE, self.camera)
        street = paint_place(self.size, camera, place).resize(large, Image.Resampling.BILINEAR)
        for number in range(self.seconds * self.fps):
            time = number / self.fps
            scene = street.copy()
            present = [walk for walk in walks if walk.is_on(time)]
            for walk in sorted(present, key=lambda walk: walk.lane):
                canvas = Canvas(scene, walk.view(time, large), camera.sun)
                draw_shadow(canvas)
                draw_person_in(canvas, walk.person, pose(walk.person, walk.pose(time, large)))
            rng = generator(self.seed, Stream.FRAME, self.camera, number)
            yield develop(scene.reduce(FACTOR), lens, rng), _truth(walks, time, self.size, number)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    return run_script(_parser(), _run, arguments)


def write_film(film: Film, output: Path) -> None:
    """Write walk.mp4, walk.txt and walk.json; the video is there only when it is complete.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            video, boxes, captions = (
                files.enter_context(atomic_write(output / f"walk.{suffix}"))
                for suffix in ("mp4", "txt", "json")
            )
            boxes.write_text("\n".join(_encode(film, video)) + "\n", encoding="utf-8")
            tracks = [
                {"track": track, "identity": identity, "captions": film.captions(walk, identity)}
                for track, (walk, identity) in enumerate(
                    zip(film.walks(), film.identities, strict=True), start=1
                )
            ]
            captions.write_text(json.dumps(tracks, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {output} ({reason}): choose another folder.") from error


def _encode(film: Film, file: Path) -> list[str]:
    """Write the video; returns the lines of ground truth."""
    truth = []
    with av.open(file, "w", format="mp4") as container:
        # The same pictures give the same bytes only without the look-ahead of slower presets.
        options = {"preset": "ultrafast", "crf": "18"}
        stream = container.add_stream("libx264", rate=film.fps, options=options)
        stream.width, stream.height = film.size
        stream.pix_fmt = "yuv420p"
        total = film.seconds * film.fps
        for picture, lines in tqdm(film.frames(), total=total, unit=" frames", disable=None):
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
            truth += lines
        container.mux(stream.encode())
    return truth


def _truth(walks: list[Walk], time: float, size: tuple[int, int], number: int) -> list[str]:
    """The lines of one frame: frame, track, box, flag, class and visible part."""
    boxes = {track: w.box(time, size) for track, w in enumerate(walks, start=1) if w.is_on(time)}
    owners = np.zeros((size[1], size[0]), dtype=int)  # the nearest person at each pixel
    for track in sorted(boxes, key=lambda track: walks[track - 1].lane):
        left, top, width, height = boxes[track]
        rows = slice(max(0, round(top)), max(0, round(top + height)))
        owners[rows, max(0, round(left)) : max(0, round(left + width))] = track
    lines = []
    for track, (left, top, width, height) in boxes.items():
        visible = min(1.0, float((owners == track).sum()) / (width * height))
        if visible > 0:
            flag = int(visible >= VISIBLE)
            box = f"{left:.2f},{top:.2f},{width:.2f},{height:.2f}"
            lines.append(f"{number + 1},{track},{box},{flag},{PEDESTRIAN},{visible:.3f}")
    return lines


def _parser() -> Parser:
    parser = Parser(
        prog="python -m misc.synthetic.footage",
        description="Draw a video of synthetic pedestrians, with boxes and captions.",
    )
    add = parser.add_argument
    add("--output", type=given_path, required=True, metavar="DIR")
    add("--people", type=positive, default=24, metavar="N", help="(default: 24)")
    known = "identity of the first, as a dataset of the same seed numbers it (default: 1)"
    add("--first-identity", type=int, default=1, metavar="N", help=known)
    add("--seconds", type=positive, default=20, metavar="N", help="(default: 20)")
    add("--seed", type=int, default=0, help="of all random draws (default: 0)")
    add("--difficulty", type=float, default=0.5, help="from 0 to 1 (default: 0.5)")
    size = ("WIDTH", "HEIGHT")
    add("--size", type=int, nargs=2, default=(640, 360), metavar=size, help="(default: 640 360)")
    add("--fps", type=positive, default=10, help="frames a second (default: 10)")
    add("--camera", type=int, default=0, help="its number; the first has a street (default: 0)")
    return parser


def _run(options: argparse.Namespace) -> None:
    film = Film(
        options.people,
        options.first_identity,
        options.seconds,
        options.seed,
        options.difficulty,
        tuple(options.size),
        options.fps,
        options.camera,
    )
    write_film(film, options.output)
    print(f"{film.people} people in {film.seconds} s: {options.output / 'walk.mp4'}")


if __name__ == "__main__":
    sys.exit(main())
