"""Pieces of HTML: tables, folded parts, pictures inside the page."""

import base64
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from misc.datasets.pictures import read_picture

HEIGHT = 160  # pixels of a picture


def section(title: str, *content: str) -> str:
    """A part of the page under a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def folded(summary: str, content: str) -> str:
    """A part that opens at a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1, notes: int = 0
) -> str:
    """A table of plain text that scrolls sideways where it is too wide.

    Args:
        words, notes: the number of columns from the left and from the right that are words; the
            others are numbers.
    """
    numbers = range(words, len(titles) - notes)

    def line(tag: str, cells: Sequence[str]) -> str:
        shown = (
            f"<{tag}{' class=number' if column in numbers else ''}>{escape(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        )
        return f"<tr>{''.join(shown)}</tr>"

    body = "".join(line("td", row) for row in rows)
    head = line("th", titles)
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


@lru_cache(4096)
def inline_picture(file: Path, height: int = HEIGHT) -> str:
    """A picture as the address of a small JPEG inside the page.

    Raises:
        InputError: the file cannot be read.
    """
    picture = read_picture(file)
    picture.thumbnail((3 * height, height))
    return data_address(picture, "jpeg", quality=80)


def data_address(picture: Image.Image, kind: str, **options: int) -> str:
    """A picture as an address that holds it: nothing is fetched."""
    content = BytesIO()
    picture.save(content, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
