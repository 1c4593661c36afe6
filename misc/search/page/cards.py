"""Hits as the page shows them: a card with the picture for each."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from errors import InputError
from misc.datasets.pictures import read_picture
from misc.search.hit import Hit

SIZE = (320, 320)  # pixels at most
# A click on a card's button is the event `select`, with the place of the card. A phone shows the
# hits below the form, so they are scrolled to.
BEHAVIOUR = """
element.addEventListener("click", event => {
    const button = event.target.closest("button[data-place]");
    if (button) trigger("select", {place: Number(button.dataset.place)});
});
watch("value", () => {
    if (innerWidth < 640) document.querySelector("#verdict").scrollIntoView({behavior: "smooth"});
});
"""


def draw_cards(hits: Sequence[Hit], judged: bool) -> str:
    """The cards of hits in HTML.

    Pictures are part of it, as small JPEGs: the browser asks for no file of the disk.

    Args:
        judged: whether cards say if their hit is a match.
    """
    cards = [_card(place, hit, judged) for place, hit in enumerate(hits)]
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(place: int, hit: Hit, judged: bool) -> str:
    kind, mark = "", ""
    if judged:
        kind = "match" if hit.matched else "no-match"
        mark = f'<span class="mark">{"match" if hit.matched else "no match"}</span>'
    facts = [] if hit.camera is None else [f"camera {hit.camera}"]
    facts += [] if hit.time is None else [html.escape(hit.time.partition(".")[0])]
    picture = _thumbnail(Path(hit.path))
    button = f'<button type="button" data-place="{place}">More like this</button>'
    return (
        f'<figure class="card {kind}">'
        + (picture or '<div class="gone">The file is gone</div>')
        + f'<figcaption><span class="rank">{place + 1}</span> '
        f'<span class="score">{hit.score:.3f}</span> {mark}'
        f'<span class="facts">{" · ".join(facts)}</span></figcaption>'
        + (button if picture else "")
        + "</figure>"
    )


def _thumbnail(file: Path) -> str | None:
    try:
        picture = read_picture(file)
    except InputError:  # gone since it was indexed
        return None
    picture.thumbnail(SIZE)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=88)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'
