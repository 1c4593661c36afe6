"""Figures that a page takes from another page, or from the record of a benchmark, stand there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.test_docs import FENCED, HEADING, LINK, PAGES, name, read

FIGURE = re.compile(r"\d+\.\d+")
CODE_OR_LINK = re.compile(r"`[^`]*`|\]\([^)]*\)")
ANCHORS = {"performance.md": "a-step", "performance.zh.md": "训练的一步"}
COMPUTED = {"8.4"}  # irra.md: GiB of 64 pairs, from the MiB of one


def figures(text: str) -> list[str]:
    """The decimal fractions of a text, without those of its code and links."""
    return FIGURE.findall(CODE_OR_LINK.sub(" ", text))


def statements(page: Path) -> Iterator[str]:
    """The rows of the tables of a page, and the sentences of its text."""
    for paragraph in re.split(r"\n\n|\n(?=- )", FENCED.sub("", read(page))):
        if paragraph.startswith("|"):
            yield from paragraph.splitlines()
        else:
            yield from re.split(r"(?<=[.;:]) |[。\uff1b]", paragraph.replace("\n", " "))


def section(page: Path, anchor: str) -> str:
    """The text below a heading and those of lower levels; that of the page without an anchor."""
    text = read(page)
    headings = [*HEADING.finditer(text)]
    for number, heading in enumerate(headings):
        if re.sub(r"[^\w\- ]", "", heading[2].lower()).replace(" ", "-") == anchor:
            later = (
                one.start() for one in headings[number + 1 :] if len(one[1]) <= len(heading[1])
            )
            return text[heading.start() : next(later, len(text))]
    return text


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_figures_beside_a_link_stand_where_it_leads(page):
    lost = []
    for statement in statements(page):
        targets = [link.partition("#") for link in LINK.findall(statement)]
        pages = [(page.parent / path, anchor) for path, _, anchor in targets if "." in path]
        sources = [section(path, anchor) for path, anchor in pages if path.suffix == ".md"]
        if sources:
            known = {*COMPUTED, *(figure for source in sources for figure in figures(source))}
            lost += [(figure, statement) for figure in figures(statement) if figure not in known]
    assert lost == []


def test_a_figure_that_its_source_lacks_is_noticed(tmp_path):
    (tmp_path / "source.md").write_text(
        "# Cost\n\n1.5 s\n\n## Memory\n\n`2.5` GB\n\n# More\n\n3.5\n"
    )
    page = tmp_path / "page.md"
    page.write_text("It takes 1.5 s and 2.5 GB ([cost](source.md#cost)). 9.9 is another matter.\n")
    with pytest.raises(AssertionError, match=r"\('2.5', 'It takes"):
        test_figures_beside_a_link_stand_where_it_leads(page)
    page.write_text("| time | 3.5 | [more](source.md#more) |\n")
    test_figures_beside_a_link_stand_where_it_leads(page)


@pytest.mark.parametrize("page", ANCHORS)
def test_the_page_has_the_steps_that_were_recorded(page):
    rows = json.loads((ROOT / "benchmarks" / "results" / "step.json").read_text())["rows"]
    text = re.sub(r" (s|秒) \|", " |", read(ROOT / "docs" / page))
    for row in rows.values():
        cells = [f"{row[column]:.1f}" for column in ("seconds", "the other's")]
        ratio = f"{row['ratio']:.{2 if row['ratio'] < 1 else 1}f}"
        assert f"| {' | '.join([*cells, ratio])} |" in text
    full, simplified = (
        row["seconds"] / row["batch"]
        for recipe in ("full", "simplified")
        for row in [rows[f"TBPS-CLIP, {recipe}, against open_clip with its plain loss"]]
    )
    assert f"{full / simplified:.1f} " in section(ROOT / "docs" / page, ANCHORS[page])
