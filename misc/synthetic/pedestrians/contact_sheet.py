"""A page of synthetic pedestrians: images of several identities, with captions."""

from dataclasses import dataclass, replace

from PIL import Image, ImageDraw, ImageFont

from misc.synthetic.pedestrians.attributes import draw_identity
from misc.synthetic.pedestrians.cameras import draw_camera
from misc.synthetic.pedestrians.captions import describe
from misc.synthetic.pedestrians.chance import Stream, generator
from misc.synthetic.pedestrians.drawing import draw_picture
from misc.synthetic.pedestrians.english import ENGLISH
from misc.synthetic.pedestrians.facts import choose_facts
from misc.synthetic.pedestrians.shots import FACINGS, YAWS, draw_shot


@dataclass(frozen=True)
class Page:
    """Sizes in pixels; a block has the images of one identity and the first image's caption."""

    columns: int = 2
    rows: int = 4
    pictures: int = 6
    tile: tuple[int, int] = (92, 208)
    gap: int = 4
    margin: int = 20
    text_height: int = 58
    font_size: int = 13

    @property
    def block(self) -> tuple[int, int]:
        width = self.pictures * (self.tile[0] + self.gap) - self.gap
        return width, self.tile[1] + self.text_height


def draw_contact_sheet(
    seed: int = 0, difficulty: float = 0.5, page: Page | None = None
) -> Image.Image:
    """Draw the first identities of a seed, each from several sides."""
    page = page or Page()
    width, height = page.block
    sheet = Image.new(
        "RGB",
        (page.margin + page.columns * (width + page.margin), page.margin + page.rows * height),
        (252, 251, 248),
    )
    for identity in range(page.columns * page.rows):
        row, column = divmod(identity, page.columns)
        corner = (page.margin + column * (width + page.margin), page.margin + row * height)
        _draw_block(sheet, corner, page, seed=seed, identity=identity, difficulty=difficulty)
    return sheet


def _draw_block(
    sheet: Image.Image,
    corner: tuple[int, int],
    page: Page,
    *,
    seed: int,
    identity: int,
    difficulty: float,
) -> None:
    person = draw_identity(seed, identity, difficulty)
    facings = list(FACINGS)
    for number in range(page.pictures):
        rng = generator(seed, Stream.PICTURE, identity, number)
        facing = facings[number % len(facings)]
        shot = draw_shot(rng, draw_camera(seed, number, difficulty), difficulty)
        shot = replace(shot, facing=facing, yaw=YAWS[facing] + shot.yaw - YAWS[shot.facing])
        picture = draw_picture(person, shot, page.tile, rng)
        sheet.paste(picture, (corner[0] + number * (page.tile[0] + page.gap), corner[1]))
        if number == 0:
            caption_rng = generator(seed, Stream.CAPTION, identity, number)
            caption, _ = describe(
                choose_facts(person, shot, difficulty, caption_rng), ENGLISH, caption_rng
            )
    _write(sheet, (corner[0], corner[1] + page.tile[1] + 5), caption, page)


def _write(sheet: Image.Image, corner: tuple[int, int], text: str, page: Page) -> None:
    """Write a text in lines no wider than a block."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(page.font_size)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if pen.textlength(longer, font=font) > page.block[0]:
            lines.append(word)
        else:
            lines[-1] = longer
    pen.multiline_text(corner, "\n".join(lines), fill=(58, 56, 54), font=font, spacing=3)
