"""Ranked lists, drawn: a query and the nearest gallery pictures, nearest first."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from statistics import median

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont
from torch import Tensor

from errors import InputError
from misc.datasets.pictures import read_picture
from misc.evaluation import nearest
from misc.runtime.atomic import atomic_write
from text_utils.words import split_words

Box = tuple[int, int, int, int]  # left, top, right, bottom
Line = tuple[tuple[float, float], ...]  # points (x, y) of a unit square

INDEX = "ranked_lists.jsonl"

# Pixels. A cell holds one picture and its frame; below it are two lines of labels.
HEIGHT, NARROWEST, WIDEST, CAPTION_WIDTH = 224, 88, 288, 224
FRAME, GAP, MARGIN, PADDING = 5, 10, 16, 12
LABEL, LINE = 15, 20
CAPTION_SIZES = (18, 16, 14, 12)  # the first in which the caption fits its cell

PAPER, PALE, INK, GREY = "#ffffff", "#ecedef", "#26282c", "#868b93"
RIGHT, WRONG = "#1a9850", "#d7191c"
MARKS: dict[str, list[Line]] = {  # for readers who cannot tell green from red
    RIGHT: [((0, 0.6), (0.35, 0.95), (1, 0.1))],
    WRONG: [((0.1, 0.1), (0.9, 0.9)), ((0.1, 0.9), (0.9, 0.1))],
}
FONTS = (  # tried where Pillow's own font lacks a character
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "msyh.ttc",
    "PingFang.ttc",
)
MISSING = "\U0010ffff"  # a character that no font has


@dataclass(frozen=True)
class Found:
    """A gallery picture of a ranked list; `right` if it shows the query's identity."""

    path: Path
    identity: int
    right: bool
    similarity: float


@dataclass(frozen=True)
class RankedList:
    """The pictures found for a query, nearest first; the query is a path or a caption."""

    query: Path | str
    identity: int
    found: Sequence[Found]


def ranked_lists(
    query: Tensor,
    gallery: Tensor,
    *,
    query_ids: Tensor,
    gallery_ids: Tensor,
    queries: Sequence[Path | str],
    paths: Sequence[Path],
    query_cams: Tensor | None = None,
    gallery_cams: Tensor | None = None,
    count: int = 10,
) -> list[RankedList]:
    """The first `count` pictures for each of a few queries, ranked as by `rank_features`.

    Args:
        query, gallery: features (Q, D) and (G, D), L2-normalised.
        query_ids, gallery_ids: identities (Q,) and (G,), int64.
        queries: Q paths or captions.
        paths: those of the G pictures.
        query_cams, gallery_cams: cameras (Q,) and (G,), int64.
    """
    labels = query_ids, gallery_ids, query_cams, gallery_cams
    rows = zip(
        *(block.tolist() for block in nearest(query, gallery, *labels, count=count)), strict=True
    )
    identities: list[int] = gallery_ids.tolist()
    lists = []
    for shown, identity, row in zip(queries, query_ids.tolist(), rows, strict=True):
        found = tuple(
            Found(paths[index], identities[index], identities[index] == identity, similarity)
            for index, similarity in zip(*row, strict=True)
            if index >= 0
        )
        lists.append(RankedList(shown, identity, found))
    return lists


def write_ranked_lists(folder: Path, lists: Mapping[str, Sequence[RankedList]]) -> None:
    """Draw the lists of each group, `sample-01.jpg`, `sample-02.jpg`, ... for `sample`, and write
    their contents to `ranked_lists.jsonl`, one list a line. Each file is written atomically.

    Raises:
        InputError: if the folder cannot be written or a picture cannot be read.
    """
    index = []
    for group, ranked_of_group in lists.items():
        for number, ranked in enumerate(ranked_of_group, 1):
            name = f"{group}-{number:02}.jpg"
            jpeg = BytesIO()
            draw_ranked_list(ranked).save(jpeg, "JPEG", quality=90, subsampling=0)
            _write(folder / name, jpeg.getvalue())
            index.append(_index_line(name, ranked))
    # Half a surrogate pair in a path is not text; it is escaped as JSON escapes it.
    _write(folder / INDEX, "".join(index).encode("utf-8", "backslashreplace"))


def draw_ranked_list(ranked: RankedList) -> Image.Image:
    """The query, a gap, and the pictures found, in cells of one size.

    Right pictures are framed in green with a check mark beside their rank, wrong ones in red with a
    cross; below is the similarity.

    Raises:
        InputError: if a picture cannot be read.
    """
    found = [read_picture(item.path) for item in ranked.found]
    query = None if isinstance(ranked.query, str) else read_picture(ranked.query)
    width = _cell_width([*found, *([query] if query else [])])
    query_width = width if query else CAPTION_WIDTH
    start = MARGIN + query_width + 3 * GAP
    end = start + len(found) * (width + GAP) - GAP
    sheet = Image.new("RGB", (end + MARGIN, 2 * MARGIN + HEIGHT + 2 * LINE), PAPER)

    box = MARGIN, MARGIN, MARGIN + query_width, MARGIN + HEIGHT
    if query:
        _draw_picture(sheet, box, query, GREY)
    else:
        _draw_caption(sheet, box, str(ranked.query))
    _draw_labels(sheet, box, "query", f"identity {ranked.identity}")
    for rank, (item, picture) in enumerate(zip(ranked.found, found, strict=True), 1):
        left = start + (rank - 1) * (width + GAP)
        box = left, MARGIN, left + width, MARGIN + HEIGHT
        colour = RIGHT if item.right else WRONG
        _draw_picture(sheet, box, picture, colour)
        _draw_labels(sheet, box, str(rank), f"{item.similarity:.3f}", colour)
    return sheet


def _cell_width(pictures: Sequence[Image.Image]) -> int:
    """The median width of the pictures at the height of a cell, within bounds."""
    inner = HEIGHT - 2 * FRAME
    middle = median(picture.width / picture.height for picture in pictures) if pictures else 0
    return max(NARROWEST, min(WIDEST, round(inner * middle) + 2 * FRAME))


def _draw_picture(sheet: Image.Image, box: Box, picture: Image.Image, colour: str) -> None:
    left, top, right, bottom = box
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, right - 1, bottom - 1), fill=PALE, outline=colour, width=FRAME)
    room = right - left - 2 * FRAME, bottom - top - 2 * FRAME
    scale = min(room[0] / picture.width, room[1] / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    corner = left + FRAME + (room[0] - size[0]) // 2, top + FRAME + (room[1] - size[1]) // 2
    sheet.paste(picture.resize(size, Image.Resampling.LANCZOS), corner)


def _draw_labels(
    sheet: Image.Image, box: Box, first: str, second: str, marked: str | None = None
) -> None:
    """Draw two lines below a box, and the mark of a colour after the first one."""
    left, _, right, bottom = box
    pen, font, centre = ImageDraw.Draw(sheet), _own_font(LABEL), (left + right) // 2
    pen.text((centre, bottom + LINE // 2 + 3), first, INK, font, anchor="mm")
    pen.text((centre, bottom + LINE + LINE // 2 + 2), second, GREY, font, anchor="mm")
    if marked:
        size = LABEL - 3
        corner = centre + font.getlength(first) / 2 + 5, bottom + LINE // 2 + 3 - size / 2
        for line in MARKS[marked]:
            points = [(corner[0] + x * size, corner[1] + y * size) for x, y in line]
            pen.line(points, marked, width=3, joint="curve")


def _draw_caption(sheet: Image.Image, box: Box, caption: str) -> None:
    left, top, right, bottom = box
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, right - 1, bottom - 1), fill=PALE)
    room = right - left - 2 * PADDING, bottom - top - 2 * PADDING
    font, lines = _fit(caption, *room)
    for number, line in enumerate(lines):
        pen.text((left + PADDING, top + PADDING + number * _line_height(font)), line, INK, font)


def _fit(text: str, width: int, height: int) -> tuple[FreeTypeFont, list[str]]:
    """A font and the text in lines: the largest size that fits, or the text cut in the smallest."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be drawn
    for size in CAPTION_SIZES:
        fonts = [_own_font(size), *_system_fonts(size)]
        font = min(fonts, key=lambda font: len(_lacking(font, text)))
        lines = list(_wrap(_shown(text, font), font, width))
        most = height // _line_height(font)
        if len(lines) <= most:
            return font, lines
    return font, [*lines[: most - 1], "…"]


def _wrap(text: str, font: FreeTypeFont, width: int) -> Iterator[str]:
    """Lines of whole words; a word that is longer than a line is split."""
    words, join = split_words(text)
    line: list[str] = []
    for piece in (piece for word in words for piece in _pieces(word, font, width)):
        if line and font.getlength(join([*line, piece]).strip()) > width:
            yield join(line).strip()
            line = []
        line.append(piece)
    yield join(line).strip()


def _pieces(word: str, font: FreeTypeFont, width: int) -> Iterator[str]:
    while len(word) > 1 and font.getlength(word.strip()) > width:
        cut = next(
            end for end in range(1, len(word)) if font.getlength(word[: end + 1].strip()) > width
        )
        yield word[:cut]
        word = word[cut:]
    yield word


def _shown(text: str, font: FreeTypeFont) -> str:
    """The text without the characters that the font lacks, and a reference to the full one."""
    lacking = _lacking(font, text)
    if not lacking:
        return text
    shown = "".join("…" if character in lacking else character for character in text)
    return f"{re.sub('…+', '…', shown)} ({INDEX} has it in full)"


def _lacking(font: FreeTypeFont, text: str) -> set[str]:
    """The characters that the font draws as one that it does not have."""

    def draw(character: str) -> tuple[tuple[int, int], bytes]:
        mask = font.getmask(character)
        return mask.size, bytes(mask)

    nothing = draw(MISSING)
    return {character for character in set("".join(text.split())) if draw(character) == nothing}


def _line_height(font: FreeTypeFont) -> int:
    return round(font.size * 1.3)


@cache
def _own_font(size: int) -> FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, FreeTypeFont)  # as Pillow's wheels are built
    return font


@cache
def _system_fonts(size: int) -> list[FreeTypeFont]:
    fonts = []
    for name in FONTS:
        try:
            fonts.append(ImageFont.truetype(name, size))
        except OSError:  # not on this machine
            continue
    return fonts


def _index_line(name: str, ranked: RankedList) -> str:
    kind = "caption" if isinstance(ranked.query, str) else "picture"
    found = [{"rank": rank, **asdict(item)} for rank, item in enumerate(ranked.found, 1)]
    row = {"file": name, kind: ranked.query, "identity": ranked.identity, "found": found}
    return json.dumps(row, ensure_ascii=False, default=str) + "\n"


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot write {file} ({error}); choose another folder") from error
