"""Folders of pictures, and what a search in them must find."""

import json
from pathlib import Path

import torch

from misc.search.person_search import PersonSearch

WORDS = "a woman in a red coat"


def files_of(folder: Path) -> list[str]:
    return [str(file) for file in sorted(folder.rglob("*.jpg"))]


def brute_force(people: PersonSearch, files: list[str], query: torch.Tensor, top: int):
    """Paths and scores by comparing with every file."""
    scores = people.encode_images(files) @ query
    best = scores.argsort(descending=True, stable=True)[:top]
    return [files[row] for row in best.tolist()], scores[best].tolist()


def write_crops(folder: Path, files: list[str]) -> None:
    """Records of two tracks, by turns, for all files but the last two."""
    lines = [
        {
            "path": Path(file).relative_to(folder).as_posix(),
            "video": "walk.mp4",
            "camera": 9,
            "frame": number,
            "seconds": number / 10,
            "time": f"2026-01-01 08:00:{number:02}",
            "box": [1.1, 2.2, 30.3, 60.6],
            "score": 0.9,
            "track": number % 2,
        }
        for number, file in enumerate(files[:-2])
    ]
    (folder / "crops.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
