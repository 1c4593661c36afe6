"""The command that finds pictures in an index."""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from errors import InputError
from misc.runtime.outputs import SHEET
from misc.runtime.script import given, given_path, positive, share
from misc.search.commands.base import Command

if TYPE_CHECKING:
    from misc.search.hit import Hit
    from misc.search.index import Index
    from misc.search.query import Query


class Find(Command):
    """`search.py query`."""

    name = "query"
    summary = "find a person's pictures in an index, by words, by a picture, or by both"
    example = """\
python search.py query --index people.index "a woman in a red coat with a backpack"
python search.py query --index people.index --image her.jpg --where "camera = 3" --json
python search.py query --index people.index "with a hat" --image her.jpg --sheet hits.jpg"""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("text", nargs="?", metavar="WORDS", help="a description of the person")
        add("--index", type=given, required=True, metavar="INDEX", help="the index to search")
        add("--image", type=given_path, metavar="FILE", help="a picture of the person")
        known = "of the words, from 0 to 1, beside a picture (default: 0.5)"
        add("--weight", type=float, help=known)
        known = "compose words and a picture by a fusion, a file by benchmarks.composed"
        add("--fusion", type=given_path, metavar="FILE", help=known)
        add("--top", type=positive, default=10, metavar="N", help="hits at most (default: 10)")
        known = "a condition on the columns, in SQL: \"camera = 3 and time > '2026-01-01 08:00'\""
        add("--where", metavar="SQL", help=known)
        add("--per-track", action="store_true", help="only the best hit of each track")
        known = "order the best 100 by k-reciprocal re-ranking (Zhong et al. 2017)"
        add("--rerank", action="store_true", help=known)
        known = "compare with every picture, even if there is an approximate index"
        add("--exact", action="store_true", help=known)
        known = "allowed share of false alarms (default: the index's)"
        add("--false-alarms", type=share, metavar="SHARE", help=known)
        add("--json", action="store_true", help="print the hits as a JSON list")
        add("--sheet", type=SHEET, metavar="FILE", help="draw the hits on a contact sheet, a JPEG")
        known = "a run's folder or a checkpoint, if it is no longer where it was"
        add("--checkpoint", type=given, metavar="PATH", help=known)
        add("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")

    def run(self, options: argparse.Namespace) -> int | None:
        from misc.retrieval.calibration import WEIGHT
        from misc.search.index import open_index
        from misc.search.query import Query
        from misc.search.sheet import write_sheet

        if options.fusion and options.weight is not None:
            raise InputError("--weight is of the sum, and --fusion takes its place; give one")
        if options.sheet and options.image and options.sheet.resolve() == options.image.resolve():
            raise InputError(f"--sheet {options.sheet} is the query's picture; give another file")
        weight = WEIGHT if options.weight is None else options.weight
        query = Query(options.text, options.image, weight)
        index = open_index(options.index, options.checkpoint, options.device, fusion=options.fusion)
        threshold = index.threshold(query.kind, options.false_alarms, options.where)
        hits = index.search(
            query.text,
            query.image,
            options.top,
            options.where,
            weight=query.weight,
            per_track=options.per_track,
            rerank=options.rerank,
            exact=options.exact or not index.table.is_approximate,
            threshold=threshold,
        )
        if options.json:
            print(json.dumps([asdict(hit) for hit in hits], ensure_ascii=False, indent=1))
        if not hits:
            raise InputError(
                f"no picture in {options.index} fulfils --where {options.where!r}"
                if options.where and len(index)
                else f"the index {options.index} has no pictures; add some by `search.py index`"
            )
        if options.sheet:
            write_sheet(options.sheet, query, hits)
        if not options.json:
            print(format_hits(hits))
            print(_judgement(index, query, hits, threshold))
        return 0


def _judgement(index: "Index", query: "Query", hits: "list[Hit]", threshold: float | None) -> str:
    """A sentence on whether the person has been found."""
    if threshold is not None:
        if any(hit.matched for hit in hits):
            return f"Matches reach {threshold:.3f}"
        best = max(hit.score for hit in hits)
        return f"No match: the best score, {best:.3f}, is below {threshold:.3f}"
    is_both = query.kind.startswith("both")
    if is_both and index.people.fusion:
        return "Not judged: words and a picture are calibrated for their sum, not for a fusion"
    if is_both and query.weight in (0, 1):
        return f"Not judged: at --weight {query.weight:g} leave out what does not count"
    if is_both and index.about.calibration:
        return (
            f"Not judged: words and a picture are not calibrated at --weight {query.weight:g}; do "
            f"so with `search.py calibrate --weight {query.weight:g}`"
        )
    return "Not calibrated: whether the person is there at all is for you to see"


def format_hits(hits: "list[Hit]") -> str:
    """A table of hits."""
    from prettytable import PrettyTable

    optional = [
        name
        for name in ("camera", "time", "video", "frame", "track")
        if any(getattr(hit, name) is not None for hit in hits)
    ]
    judged = [] if hits[0].matched is None else ["match"]
    table = PrettyTable(["", "score", *judged, "path", *optional], align="l")
    for rank, hit in enumerate(hits, 1):
        cells = [getattr(hit, name) for name in optional]
        match = ["yes" if hit.matched else "no"] if judged else []
        path = os.path.relpath(hit.path) if Path(hit.path).is_relative_to(Path.cwd()) else hit.path
        table.add_row(
            [rank, f"{hit.score:.3f}", *match, path, *("" if c is None else c for c in cells)]
        )
    return str(table.get_string())
