"""The cells of a sheet of pictures: a picture or a text in a frame, with two lines of labels."""

import logging
import re
from collections.abc import Iterator, Sequence
from functools import cache
from statistics import median

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

from text_utils.words import split_words

log = logging.getLogger(__name__)

Box = tuple[int, int, int, int]  # left, top, right, bottom
Line = tuple[tuple[float, float], ...]  # points (x, y) of a unit square

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


def cell_width(pictures: Sequence[Image.Image]) -> int:
    """The median width of the pictures at the height of a cell, within bounds."""
    inner = HEIGHT - 2 * FRAME
    middle = median(picture.width / picture.height for picture in pictures) if pictures else 0
    return max(NARROWEST, min(WIDEST, round(inner * middle) + 2 * FRAME))


def draw_picture(sheet: Image.Image, box: Box, picture: Image.Image, colour: str) -> None:
    """Draw a picture in a frame of a colour."""
    left, top, right, bottom = box
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, right - 1, bottom - 1), fill=PALE, outline=colour, width=FRAME)
    room = right - left - 2 * FRAME, bottom - top - 2 * FRAME
    scale = min(room[0] / picture.width, room[1] / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    corner = left + FRAME + (room[0] - size[0]) // 2, top + FRAME + (room[1] - size[1]) // 2
    sheet.paste(picture.resize(size, Image.Resampling.LANCZOS), corner)


def draw_labels(
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


def draw_caption(sheet: Image.Image, box: Box, caption: str) -> None:
    """Draw a text, cut where it does not fit."""
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
    """The text without the characters that the font lacks."""
    lacking = _lacking(font, text)
    if not lacking:
        return text
    shown = "".join("…" if character in lacking else character for character in text)
    _recommend_font()
    return re.sub("…+", "…", shown)


@cache
def _recommend_font() -> None:
    """Say once which package brings the characters that no font here has."""
    log.warning(
        "No font of this system has some characters of the text: install one that does, for "
        "Chinese for instance Debian's fonts-noto-cjk"
    )


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
