"""A contact sheet of a search: the query, and its hits with their scores."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from errors import InputError
from misc.datasets.pictures import read_picture, to_rgb
from misc.retrieval.cells import (
    CAPTION_WIDTH,
    GAP,
    GREY,
    HEIGHT,
    INK,
    LINE,
    MARGIN,
    PAPER,
    Box,
    cell_width,
    draw_caption,
    draw_labels,
    draw_picture,
)
from misc.runtime.atomic import atomic_write
from misc.runtime.outputs import SHEET
from misc.runtime.picture_writing import write_picture
from misc.search.hit import Hit
from misc.search.query import Query

COLUMNS, MOST = 8, 400  # hits in a row, and in all: a JPEG has at most 65,535 lines
ROW = HEIGHT + 2 * LINE + GAP


def draw_sheet(query: Query, hits: Sequence[Hit]) -> Image.Image:
    """The words and the picture of a query at the left, the hits in rows beside them.

    Frames are neutral: whether a hit is right is not known. One below the threshold says so, and so
    does one whose file is gone. At most `MOST` hits are drawn.

    Raises:
        InputError: the picture of the query cannot be read.
    """
    asked, hits = _asked(query), hits[:MOST]
    pictures = [_read(hit) for hit in hits]
    width = cell_width([picture for picture in pictures if picture])
    start = MARGIN + CAPTION_WIDTH + 3 * GAP
    columns = min(COLUMNS, len(hits)) or 1
    num_rows = max(len(asked), -(-len(hits) // columns))
    size = start + columns * (width + GAP) - GAP + MARGIN, 2 * MARGIN + num_rows * ROW - GAP
    sheet = Image.new("RGB", size, PAPER)
    for row, part in enumerate(asked):
        box = _cell(MARGIN, row, CAPTION_WIDTH)
        if isinstance(part, str):
            draw_caption(sheet, box, part)
        else:
            draw_picture(sheet, box, part, INK)
        draw_labels(sheet, box, "query" if row == 0 else "", "")
    for rank, (hit, picture) in enumerate(zip(hits, pictures, strict=True)):
        box = _cell(start + rank % columns * (width + GAP), rank // columns, width)
        if picture:
            draw_picture(sheet, box, picture, GREY)
        else:
            draw_caption(sheet, box, "cannot be read")
        note = "no match" if hit.matched is False else ""
        draw_labels(sheet, box, f"{rank + 1}: {hit.score:.3f}", note)
    return sheet


def write_sheet(file: Path, query: Query, hits: Sequence[Hit]) -> None:
    """Draw a contact sheet into a JPEG file, atomically.

    Raises:
        InputError: a picture cannot be read, or the file cannot be written.
    """
    sheet = draw_sheet(query, hits)
    try:
        with atomic_write(file) as partial:
            about = SHEET.mark.decode()
            write_picture(partial, sheet, "JPEG", description=about, quality=90, subsampling=0)
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror}); choose another file") from error


def _read(hit: Hit) -> Image.Image | None:
    try:
        return read_picture(Path(hit.path))
    except InputError:
        return None


def _asked(query: Query) -> list[str | Image.Image]:
    parts: list[str | Image.Image] = [] if query.text is None else [query.text]
    if isinstance(query.image, Image.Image):
        parts.append(to_rgb(query.image))
    elif query.image is not None:
        parts.append(read_picture(Path(query.image)))
    return parts


def _cell(left: int, row: int, width: int) -> Box:
    top = MARGIN + row * ROW
    return left, top, left + width, top + HEIGHT
