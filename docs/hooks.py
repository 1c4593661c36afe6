"""A hook of MkDocs: links that lead from file to file in the repository also lead on the site.

A page links to the Chinese page beside it, which on the site is the same page in another language,
and to files outside docs/, which are no pages: their name is given instead.
"""

import re
from posixpath import dirname, join, normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.pages import Page

LINK = re.compile(
    r"(?<!!)\[(?P<text>[^\]]*)\]\((?!https?:|#)(?P<target>[^)#\s]+)(?P<anchor>[^)]*)\)"
)


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """The text of a page with the links of the site."""
    return LINK.sub(lambda link: relink(link, page.file.src_uri), markdown)


def relink(link: re.Match[str], path: str) -> str:
    """A link of the page at a path below docs/ as the site has it."""
    text, target = link["text"], link["target"]
    name = normpath(join("docs", dirname(path), target))
    if name.startswith("docs/"):
        return f"[{text}]({target.replace('.zh.md', '.md')}{link['anchor']})"
    return text if text.strip("`") == name else f"{text} (`{name}`)"


@event_priority(-100)  # after the plugin of the languages
def on_page_context(context: dict, config: MkDocsConfig, **_: object) -> dict:
    """Lead from language to language wherever the site lies, not only at the root of a server."""
    for language in config.extra.alternate:
        language["link"] = language["link"].lstrip("/") or "."
    return context
