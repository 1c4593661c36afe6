"""Search in a drawn video against search in still pictures of the same people.

python -m benchmarks.footage --run runs/demo-... --output runs/footage

The people are the test split of `make demo`, whom its model has not seen. They cross a street in a
video, are cut out by their true boxes (`search.py crop`), and are looked for by the captions of
the stills and by captions of the video. All galleries have at most three pictures of a person; a
row of crops is for one `--margin`.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import search
from benchmarks.sweep import format_markdown
from errors import InputError
from misc.evaluation import retrieval_metrics
from misc.runtime.script import Parser, given_path, run_script
from misc.search.footage.records import CROPS_FILE, read_crops
from misc.search.person_search import PersonSearch
from misc.synthetic.footage import Film, write_film
from misc.synthetic.pedestrians.plan import Plan
from misc.synthetic.pedestrians.samples import write_samples

PICTURES = 3  # of a person
DEMO = Plan(
    "cuhk-pedes",
    identities={"train": 1600, "val": 100, "test": 120},
    images=(PICTURES, PICTURES),
    seed=0,
    height=(96, 128),
    difficulty=0.2,
)
SECONDS_A_PERSON = 1
MARGINS = (0.0, 0.02, 0.05)
NAMES = ("stills", "video")  # that captions are of


@dataclass(frozen=True)
class Described:
    """Pictures of people and captions, each with the person's identity."""

    files: list[Path]
    file_ids: list[int]
    captions: list[str]
    caption_ids: list[int]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.footage", description="Search in a video against stills."
    )
    add = parser.add_argument
    known = "a checkpoint or a run's folder, of `make demo`"
    add("--run", type=given_path, required=True, metavar="RUN", help=known)
    add("--output", type=given_path, required=True, metavar="DIR", help="folder of the pictures")
    add("--device", default=None, help="cpu, cuda, cuda:1 ... (default: a GPU, if there is one)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    people = PersonSearch(asked.run, asked.device)
    identities = [identity for split, identity in DEMO.owners() if split == "test"]
    stills = draw_stills(asked.output / "stills", identities)
    draw_video(asked.output, identities)
    crops = {margin: crop_video(asked.output, margin) for margin in MARGINS}
    print(to_table(people, stills, crops))


def draw_stills(folder: Path, identities: list[int]) -> Described:
    """Pictures and captions of the dataset."""
    described = Described([], [], [], [])
    for identity in tqdm(identities, unit=" people", disable=None):
        for sample, *_ in write_samples(folder, DEMO, "test", identity):
            described.files.append(folder / sample.file_path)
            described.file_ids.append(identity)
            described.captions.extend(sample.captions)
            described.caption_ids.extend([identity] * len(sample.captions))
    return described


def draw_video(folder: Path, identities: list[int]) -> None:
    """Draw the video of all people, as many at a time as in one of the default length."""
    film = Film(
        people=len(identities),
        first_identity=identities[0],
        seconds=SECONDS_A_PERSON * len(identities),
        seed=DEMO.seed,
        difficulty=DEMO.difficulty,
    )
    write_film(film, folder)


def crop_video(folder: Path, margin: float) -> Described:
    """Crops of the drawn video, and its captions."""
    output = folder / f"crops-{margin}"
    words: list[object] = [
        "crop",
        folder / "walk.mp4",
        "--boxes",
        folder / "walk.txt",
        "--output",
        output,
    ]
    words += ["--margin", margin, "--per-track", PICTURES]
    if search.main([str(word) for word in words]):
        raise InputError(f"{folder} cannot be used; choose another --output")
    tracks = json.loads((folder / "walk.json").read_text(encoding="utf-8"))
    by_track = {track["track"]: track["identity"] for track in tracks}
    records = read_crops(output / CROPS_FILE)
    return Described(
        list(records),
        [by_track[record.track] for record in records.values()],
        [caption for track in tracks for caption in track["captions"]],
        [track["identity"] for track in tracks for _ in track["captions"]],
    )


def to_table(people: PersonSearch, stills: Described, crops: Mapping[float, Described]) -> str:
    """R-1 of each gallery by captions of the stills and of the video, and the differences."""
    video = next(iter(crops.values()))
    queries = [(people.encode_texts(one.captions), one.caption_ids) for one in (stills, video)]

    def search_in(gallery: Described) -> list[float]:
        features = people.encode_images(gallery.files)
        return [_rank_1(*query, features, gallery.file_ids) for query in queries]

    in_stills = search_in(stills)
    rows = [(f"{len(stills.files)} stills", *(f"{value:.2f}" for value in in_stills))]
    for margin, gallery in crops.items():
        values = zip(search_in(gallery), in_stills, strict=True)
        cells = (f"{value:.2f} ({value - still:+.2f})" for value, still in values)
        rows.append((f"{len(gallery.files)} crops, margin {margin}", *cells))
    titles = [
        f"{len(ids)} captions of the {name}" for name, (_, ids) in zip(NAMES, queries, strict=True)
    ]
    return format_markdown(titles, rows)


def _rank_1(query: Tensor, query_ids: list[int], gallery: Tensor, gallery_ids: list[int]) -> float:
    ids = torch.tensor(query_ids), torch.tensor(gallery_ids)
    return retrieval_metrics(query @ gallery.T, *ids, ranks=(1,))["R1"]


if __name__ == "__main__":
    sys.exit(main())
