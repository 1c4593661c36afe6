"""The best and the worst queries of a run, with the pictures found."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from misc.report.markup import inline_picture, paragraph
from misc.report.measured import EncodedSet
from misc.retrieval.ranked_lists import Found, RankedList

SHOWN = 6  # pictures of a query
COUNT = 6  # queries of a kind


def draw_queries(test: EncodedSet) -> str:
    """The queries of the lowest and of the highest first right picture."""
    worst, best = test.extremes(COUNT)
    parts = [
        paragraph(
            f"{test.name}, encoded anew by the run's checkpoint: the queries whose first right "
            "picture ranks lowest (worst) and highest (best), one of each identity. Green: the "
            "identity asked for; red: another one. Beside the rank is the cosine similarity."
        )
    ]
    for title, rows in (("Worst", worst), ("Best", best)):
        if rows:
            parts.append(f"<h3>{title}</h3>")
            parts += [draw_query(ranked) for ranked in test.lists(rows)]
    return "".join(parts)


def draw_query(ranked: RankedList) -> str:
    """A query with its first pictures, and the first right one where it ranks below them."""
    if isinstance(ranked.query, Path):
        asked = f'<img class="asked" alt="query" src="{inline_picture(ranked.query)}">'
    else:
        asked = f"<blockquote>{escape(ranked.query)}</blockquote>"
    shown, right = [*ranked.found[:SHOWN]], next(iter(ranked.matches), None)
    if right and right not in shown:
        shown.append(right)
    verdict = f"first right picture at rank {right.rank}" if right else "no right picture"
    return (
        f'<article class="query"><header>{asked}<small>identity {ranked.identity}, {verdict}'
        f'</small></header><div class="found">{_draw_found(shown)}</div></article>'
    )


def _draw_found(shown: Sequence[Found]) -> str:
    return "".join(
        f'<figure class="{"right" if item.right else "wrong"}{" far" if number > SHOWN else ""}">'
        f'<img alt="identity {item.identity}" src="{inline_picture(item.path)}">'
        f"<figcaption>{item.rank} {'✓' if item.right else '✗'} <small>{item.similarity:.2f}</small>"
        "</figcaption></figure>"
        for number, item in enumerate(shown, 1)
    )
