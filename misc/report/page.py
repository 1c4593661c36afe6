"""The page: its parts in order, with style and script inside."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from misc.report.comparison import draw_significance
from misc.report.configuration import draw_configuration, draw_differences, group_by_seed
from misc.report.curves import draw_curves
from misc.report.identities import draw_map
from misc.report.markup import folded, paragraph, section, table
from misc.report.measured import EncodedSet, Measured, Outcomes
from misc.report.queries import draw_queries
from misc.report.relevance import draw_relevance
from misc.report.results import PUBLISHED_NOTE, TITLES, WORDS, result_rows
from misc.report.run import Run
from misc.retrieval.base import METRICS
from model.trees import Tree

METRICS_NOTE = (
    "In percent. R1 is the share of queries whose first result is right, R5 and R10 of those with "
    "a right result among the first five and ten; mAP and mINP rate the whole ranking."
)
STYLE = Path(__file__).with_name("style.css")
# A word shows its patches on the large picture of its caption.
SCRIPT = """
for (const kind of ["pointerover", "focusin", "click"]) document.addEventListener(kind, event => {
  const button = event.target.closest("button[data-veil]");
  if (!button) return;
  const article = button.closest(".words");
  article.querySelector(".large .veil").src = button.dataset.veil;
  for (const other of article.querySelectorAll("button")) other.ariaPressed = other === button;
});
"""


def draw_page(title: str, body: str) -> str:
    """An HTML document that fetches nothing."""
    style = STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>'
        f"<style>\n{style}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{body}<script>{SCRIPT}</script></body></html>\n"
    )


def draw_run(run: Run, measured: Measured | None) -> str:
    """The parts of a page that are about one run.

    Args:
        measured: None: without what its model would have to be asked.
    """
    parts = [
        section("Results", draw_results([run])),
        section("Configuration", draw_configuration(run)),
        section("Curves", draw_curves([run]) or paragraph("The run has recorded no steps.")),
    ]
    if measured is not None:
        parts += [_draw_test(measured, test) for test in measured.tests]
    return "".join(parts)


def _draw_test(measured: Measured, test: EncodedSet) -> str:
    """The parts about one test set; of several their titles have its name."""
    of = f": {test.name}" if len(measured.tests) > 1 else ""
    parts = {
        "Worst and best queries": draw_queries(test),
        "Words on pictures": draw_relevance(measured, test),
        "Map of identities": draw_map(measured, test),
    }
    return "".join(section(f"{title}{of}", part) for title, part in parts.items() if part)


def draw_results(runs: Sequence[Run]) -> str:
    """The closing tables of runs, the means of those that differ in the seed, and the evaluations
    during the training, folded.
    """
    rows = result_rows(group_by_seed(runs))
    parts = []
    if rows:
        has_published = any(row.published for row in rows)
        notes = 2 if has_published else 0
        shown = slice(int(len(runs) == 1), len(TITLES) - 2 + notes)
        words = WORDS - shown.start
        parts.append(table(TITLES[shown], [row.cells[shown] for row in rows], words, notes))
        parts.append(paragraph(METRICS_NOTE))
        if has_published:
            parts.append(paragraph(PUBLISHED_NOTE))
    for run in runs:
        if not run.results:
            parts.append(paragraph(f"{run.name} has not ended, so it has no results yet."))
    if len(runs) == 1 and (evaluations := [r for r in runs[0].rows if "split" in r]):
        shown_rows = [_evaluation(row) for row in evaluations]
        titles = ("Epoch", "Split", "Direction", *METRICS)
        parts.append(folded("All evaluations", table(titles, shown_rows, words=3)))
    return "".join(parts)


def _evaluation(row: Tree) -> tuple[str, ...]:
    metrics = (f"{row[name]:.2f}" if name in row else "" for name in METRICS)
    split = str(row.get("dataset", row["split"]))
    return (str(row.get("epoch", "")), split, str(row.get("direction", "")), *metrics)


def draw_comparison(runs: Sequence[Run], outcomes: Mapping[str, Mapping[str, Outcomes]]) -> str:
    """The parts of a page that set several runs side by side.

    Args:
        outcomes: of each run by name, then by test set; empty without models.
    """
    groups = group_by_seed(runs)
    parts = [
        section("Results", draw_results(runs), _about_groups(groups)),
        section("Differences in configuration", draw_differences(runs)),
        section("Curves", draw_curves(runs)),
    ]
    if outcomes and len(groups) > 1:
        per_query = {name: [outcomes[run.name] for run in group] for name, group in groups.items()}
        parts.insert(1, section("Significance", draw_significance(per_query)))
    return "".join(parts)


def _about_groups(groups: Mapping[str, Sequence[Run]]) -> str:
    if all(len(group) == 1 for group in groups.values()):
        return ""
    return paragraph(
        "Runs that differ in the seed alone share a row: mean ± sample standard deviation."
    )


def fold_run(run: Run, content: str) -> str:
    """The parts of one run among several."""
    return f'<details class="run"><summary>{escape(run.name)}</summary>{content}</details>'
