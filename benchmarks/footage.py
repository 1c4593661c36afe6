"""Search in a drawn video against search in still pictures of the same people.

python -m benchmarks.footage --run runs/demo-... --output runs/footage

The people are the test split of `make demo`, whom its model has not seen. They cross a street in a
video, are cut out by their true boxes (`search.py crop`), and are looked for by the captions of
the stills and by captions of the video. Both galleries have at most three pictures of a person.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import search
from benchmarks.sweep import format_markdown
from errors import InputError
from misc.evaluation import retrieval_metrics
from misc.runtime.script import Parser, run_script
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
    add("--run", type=Path, required=True, metavar="RUN", help=known)
    add("--output", type=Path, required=True, metavar="DIR", help="folder of the pictures")
    add("--device", default=None, help="cpu, cuda, cuda:1 ... (default: a GPU, if there is one)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    people = PersonSearch(asked.run, asked.device)
    identities = [identity for split, identity in DEMO.owners() if split == "test"]
    stills = draw_stills(asked.output / "stills", identities)
    crops = crop_video(asked.output, identities)
    print(f"{len(stills.files)} stills and {len(crops.files)} crops of {len(identities)} people\n")
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


def crop_video(folder: Path, identities: list[int]) -> Described:
    """Crops of a drawn video, and its captions."""
    film = Film(
        people=len(identities),
        first_identity=identities[0],
        seconds=SECONDS_A_PERSON * len(identities),
        seed=DEMO.seed,
        difficulty=DEMO.difficulty,
    )
    write_film(film, folder)
    files = [str(folder / name) for name in ("walk.mp4", "walk.txt", "crops")]
    words = ["crop", files[0], "--boxes", files[1], "--output", files[2]]
    if search.main([*words, "--per-track", str(PICTURES)]):
        raise InputError(f"{folder} cannot be used; choose another --output")
    tracks = json.loads((folder / "walk.json").read_text(encoding="utf-8"))
    by_track = {track["track"]: track["identity"] for track in tracks}
    records = read_crops(folder / "crops" / CROPS_FILE)
    return Described(
        list(records),
        [by_track[record.track] for record in records.values()],
        [caption for track in tracks for caption in track["captions"]],
        [track["identity"] for track in tracks for _ in track["captions"]],
    )


def to_table(people: PersonSearch, stills: Described, crops: Described) -> str:
    """R-1 of both galleries by captions of the stills and of the video, and the differences."""
    galleries = [(people.encode_images(one.files), one.file_ids) for one in (stills, crops)]
    queries = [(people.encode_texts(one.captions), one.caption_ids) for one in (stills, crops)]
    in_stills, in_crops = (
        [_rank_1(*query, *gallery) for query in queries] for gallery in galleries
    )
    differences = [crop - still for still, crop in zip(in_stills, in_crops, strict=True)]
    rows = {"stills": in_stills, "crops of the video": in_crops, "difference": differences}
    columns = [
        f"{len(stills.captions)} captions of stills",
        f"{len(crops.captions)} captions of the video",
    ]
    cells = [(name, *(f"{value:.2f}" for value in values)) for name, values in rows.items()]
    return format_markdown(columns, cells)


def _rank_1(query: Tensor, query_ids: list[int], gallery: Tensor, gallery_ids: list[int]) -> float:
    ids = torch.tensor(query_ids), torch.tensor(gallery_ids)
    return retrieval_metrics(query @ gallery.T, *ids, ranks=(1,))["R1"]


if __name__ == "__main__":
    sys.exit(main())
