"""Synthetic pedestrians of the benchmarks: easy ones to pretrain on, others to fine-tune on."""

from functools import partial
from pathlib import Path
from typing import Any

from misc.synthetic.writing import (
    WrittenDataset,
    WrittenReIDDataset,
    write_dataset,
    write_reid_dataset,
)

_write_described = partial(write_dataset, height=(96, 128), workers=2, progress=True)
_write_reid = partial(write_reid_dataset, height=(96, 128), workers=2, progress=True)


def draw_easy(output: Path, num_identities: int) -> WrittenDataset:
    """Described pedestrians to pretrain on, in the layout of ICFG-PEDES."""
    return _write_described(
        "icfg-pedes",
        output,
        identities={"train": num_identities, "test": 100},
        images=(3, 3),
        difficulty=0.3,
        seed=1,
    )


def draw_hard(output: Path) -> WrittenDataset:
    """Other described pedestrians to fine-tune on, in the layout of CUHK-PEDES."""
    return _write_described(
        "cuhk-pedes",
        output,
        identities={"train": 1200, "test": 300},
        images=(2, 2),
        difficulty=0.5,
        seed=2,
    )


def draw_few(output: Path, num_identities: int, num_tested: int) -> WrittenDataset:
    """Described pedestrians as those of `draw_hard`, with more pictures of each, to fine-tune on;
    others are searched for.
    """
    return _write_described(
        "cuhk-pedes",
        output,
        identities={"train": num_identities, "test": num_tested},
        images=(3, 3),
        difficulty=0.5,
        seed=2,
    )


def draw_reid(output: Path) -> WrittenReIDDataset:
    """Other pedestrians to fine-tune on, without captions, in the layout of Market-1501."""
    return _write_reid(
        "market1501",
        output,
        identities={"train": 200, "test": 150},
        images=(6, 6),
        difficulty=0.5,
        seed=2,
    )


def draw_both(output: Path, num_identities: int) -> tuple[WrittenDataset, WrittenReIDDataset]:
    """The same people described, in the layout of CUHK-PEDES, and re-identified, in that of
    Market-1501; a third as many are searched for.
    """
    people = {"train": num_identities, "test": max(1, num_identities // 3)}
    settings: dict[str, Any] = {"images": (4, 4), "difficulty": 0.3, "seed": 2}
    described = _write_described("cuhk-pedes", output, identities=people, **settings)
    return described, _write_reid("market1501", output, identities=people, **settings)
