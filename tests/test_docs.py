"""The pages: in the menu of the site, in step with their translations, links and commands valid."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import ROOT

DOCS = ROOT / "docs"
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
ENGLISH = sorted(page for page in DOCS.rglob("*.md") if not page.name.endswith(".zh.md"))
CHINESE = sorted(DOCS.rglob("*.zh.md"))
PAGES = [*READMES, *ENGLISH, *CHINESE]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(((?!https?:)[^)\s]+)\)")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def outline(page: Path) -> list[str]:
    """The levels of the headings of a page."""
    return [marks for marks, _ in HEADING.findall(FENCED.sub("", read(page)))]


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub and the site name them."""
    titles = [title.lower() for _, title in HEADING.findall(FENCED.sub("", read(page)))]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language of each code block, and its code without comments.

    Data, such as a table of captions, may be in the language of the page.
    """
    return [
        (language, re.sub(r"\s+#.*|^#.*", "", code, flags=re.MULTILINE))
        if language in ("bash", "python", "json")
        else (language, "")
        for language, code in FENCED.findall(read(page))
    ]


def english(page: Path) -> Path:
    return page.with_name(page.name.replace(".zh.md", ".md"))


def nav_files(entry: object) -> Iterator[str]:
    """The files that a menu names."""
    if isinstance(entry, str):
        yield entry
    else:
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from nav_files(part)


def test_the_menu_has_every_page_once():
    class Loader(yaml.SafeLoader):
        """YAML with tags of Python objects, which are left out."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    nav = yaml.load(read(ROOT / "mkdocs.yml"), Loader)["nav"]
    assert sorted(nav_files(nav)) == [page.relative_to(DOCS).as_posix() for page in ENGLISH]


@pytest.mark.parametrize("page", CHINESE, ids=name)
def test_a_translation_has_the_headings_and_code_of_its_page(page):
    assert english(page).is_file()
    assert outline(page) == outline(english(page))
    assert blocks(page) == blocks(english(page))


def test_both_readmes_have_the_same_sections_commands_and_links():
    first, second = READMES
    assert outline(first) == outline(second)
    assert blocks(first) == blocks(second)
    links = [re.findall(r"\]\(([^)\s]+)\)", read(page))[1:] for page in READMES]  # but to the other
    assert links[0] == [link.replace(".zh.md", ".md") for link in links[1]]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_no_marks_of_a_merge(page):
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", read(page), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page):
    lost = []
    for link in LINK.findall(FENCED.sub("", read(page))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", CHINESE, ids=name)
def test_a_translation_links_to_translations(page):
    targets = [page.parent / link.partition("#")[0] for link in LINK.findall(read(page))]
    paths = [target for target in targets if target.suffix == ".md" and target.is_file()]
    missed = [path for path in paths if path.with_suffix(".zh.md").is_file()]
    assert [name(path.resolve()) for path in missed] == []


def test_links_are_those_of_the_site():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)

    def relinked(text: str, path: str) -> str:
        return hooks.LINK.sub(lambda link: hooks.relink(link, path), text)

    same = "[a](reid.md#cost) [b](https://a.org/x.zh.md) [c](#top) ![d](../growth.png)"
    assert relinked(same, "methods/irra.md") == same
    assert (
        relinked("[检索](../search.zh.md#索引)", "methods/irra.zh.md")
        == "[检索](../search.md#索引)"
    )
    outside = "[config/irra.yaml](../../config/irra.yaml), [the rules](../../CONTRIBUTING.md#rules)"
    expected = "config/irra.yaml, the rules (`CONTRIBUTING.md`)"
    assert relinked(outside, "methods/irra.md") == expected
