"""Composed queries, a picture and words, by several rules: the table of docs/composed.md.

python -m misc.synthetic --layout composed --output data
python -m benchmarks.composed --checkpoint runs/demo --data data/composed --output runs/composed

The rules are the picture alone, the words alone, the normalised sum of both, with the weight that
is best on val and in equal parts, and a fusion learned on train, all on the features of a trained
text-to-image model or one of both tasks, which stay as they are. Written are composed.md, the
table, and fusion.safetensors, which search.py reads: the fusion of the seed that is best on val.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.sweep import format_markdown
from errors import InputError
from misc.datasets.composed import read_composed
from misc.retrieval.calibration import WEIGHT
from misc.retrieval.composed import (
    Compose,
    ComposedFeatures,
    by_fusion,
    by_sum,
    choose_weight,
    encode_composed,
)
from misc.retrieval.fusion import Fusion, train_fusion
from misc.retrieval.report import summarise
from misc.runtime.atomic import atomic_write
from misc.runtime.script import Parser, given, given_path, run_script
from misc.search.person_search import PersonSearch

METRICS = ("R1", "R5", "R10", "mAP")
FUSION, TABLE = "fusion.safetensors", "composed.md"


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.composed",
        description="Composed queries, a picture and words, by several rules.",
    )
    add = parser.add_argument
    known = "a checkpoint or a run's folder"
    add("--checkpoint", type=given, required=True, metavar="RUN", help=known)
    known = "of query.json and gallery.json"
    add("--data", type=given_path, required=True, metavar="DIR", help=known)
    known = "of the fusion's training (default: 0 1 2)"
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help=known)
    known = "a trained fusion, in place of training some"
    add("--fusion", type=given_path, metavar="FILE", help=known)
    add("--output", type=given_path, default=Path("runs", "composed"), metavar="DIR")
    add("--device", default=None, help="cpu, cuda, cuda:1 ... (default: a GPU, if there is one)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    if len({*asked.seeds}) < len(asked.seeds) or min(asked.seeds) < 0:
        raise InputError("--seeds: give each seed once, from 0 on")
    splits = read_composed(asked.data)
    if "test" not in splits:
        raise InputError(f"{asked.data} has no queries of the test split, which is measured")
    people = PersonSearch(asked.checkpoint, asked.device)
    model_hash = people.encoder.model_hash
    given = [] if asked.fusion is None else [Fusion.load(asked.fusion, model_hash)]
    features = {
        name: encode_composed(split, people.encode_gallery, people.encode_texts, people.parts)
        for name, split in splits.items()
    }
    val, train = features.get("val"), features.get("train")
    for name, part in features.items():
        print(f"{name:<6}{len(part.ids):,} queries, {len(part.gallery):,} pictures")
    weight = choose_weight(val) if val else WEIGHT
    source = "best on val" if val else "the default, without a val split"
    print(f"Weight of the words in the sum: {weight:g} ({source})")
    trained = {} if given or not train else _train(train, model_hash, asked.seeds)
    table = to_table(features["test"], weight, given or [*trained.values()])
    print(table, end="")
    _write(asked.output, table)
    if trained:
        best = max(trained, key=lambda seed: _score(val, trained[seed]) if val else -seed)
        trained[best].save(asked.output / FUSION)
        print(f"{asked.output / FUSION} is the fusion of seed {best}")


def _train(train: ComposedFeatures, model_hash: str, seeds: Sequence[int]) -> dict[int, Fusion]:
    """A fusion of each seed."""
    bar = tqdm(seeds, unit=" fusions", disable=None)
    return {seed: train_fusion(train, model_hash, seed=seed) for seed in bar}


def _score(val: ComposedFeatures, fusion: Fusion) -> float:
    return val.evaluate(by_fusion(val.parts, fusion))["mAP"]


def to_table(test: ComposedFeatures, weight: float, fusions: Sequence[Fusion]) -> str:
    """A markdown table with a row for each rule; of several fusions mean ± deviation."""
    parts = test.parts
    rules: Mapping[str, Sequence[Compose]] = {
        "picture alone": [by_sum(parts, 0)],
        "words alone": [by_sum(parts, 1)],
        **{f"sum, {share:g} of the words": [by_sum(parts, share)] for share in (weight, WEIGHT)},
        "learned fusion": [by_fusion(parts, fusion) for fusion in fusions],
    }
    rows = []
    for name, composes in rules.items():
        found = [test.evaluate(compose) for compose in composes]
        if found:
            cells = (str(summarise([metrics[one] for metrics in found])) for one in METRICS)
            rows.append([name, *cells])
    return format_markdown(METRICS, rows)


def _write(folder: Path, table: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / TABLE) as partial:
            partial.write_text(table, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error}); choose another --output") from error


if __name__ == "__main__":
    sys.exit(main())
