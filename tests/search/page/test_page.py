"""The page: which fields it has, and the cards of its hits."""

import re

import gradio as gr
from PIL import Image

from misc.search.hit import Hit
from misc.search.page.cards import draw_cards
from misc.search.page.page import LOWEST, Page
from misc.search.person_search import PersonSearch
from tests.search.page.conftest import THRESHOLD


def fields(page: Page) -> dict[str, gr.components.Component]:
    blocks = page.build().blocks.values()
    return {str(one.label): one for one in blocks if getattr(one, "label", None)}


def test_an_index_decides_on_the_fields(index):
    form = fields(Page(index))
    assert form["Describe a person"].visible
    assert [value for _, value in form["Cameras"].choices] == [1, 2, 3]
    assert form["From"].visible
    assert not form["One hit per track"].visible
    assert form["A match from this score on"].value == THRESHOLD


def test_a_re_identification_index_has_no_field_for_words(index, monkeypatch):
    monkeypatch.setattr(PersonSearch, "reads_text", False)
    page = Page(index)
    form = fields(page)
    assert not form["Describe a person"].visible
    assert not form["Weight of the words beside a picture"].visible
    assert "A picture of a person" in form
    assert form["A match from this score on"].value == LOWEST  # pictures are not calibrated
    lines = [b.value for b in page.build().blocks.values() if isinstance(b, gr.Markdown)]
    assert any("re-identification" in str(line) for line in lines)


def test_the_headline_has_the_size_and_the_model_but_no_path(index):
    assert Page(index).headline() == (
        "<h1>Person search</h1><p>12 pictures · model run/checkpoint_best.pt</p>"
    )


def test_a_card_for_each_hit(tmp_path):
    Image.new("RGB", (400, 900), "red").save(tmp_path / "her.png")
    path = str(tmp_path / "her.png")
    hits = [
        Hit(path, 0.91234, True, camera=3, time="2026-01-31 08:00:00.25"),
        Hit(path, 0.5, False, time="<script>"),
        Hit(str(tmp_path / "gone.png"), 0.4, False),
    ]
    cards = draw_cards(hits, judged=True)
    first, second, third = re.findall("<figure.*?</figure>", cards)
    assert ">0.912<" in first
    assert "camera 3 · 2026-01-31 08:00:00<" in first
    assert ">match<" in first
    assert 'data-place="0"' in first
    assert ">no match<" in second
    assert "&lt;script&gt;" in second
    assert "The file is gone" in third
    assert "<button" not in third
    assert str(tmp_path) not in cards
    assert len(cards) < 20_000  # pictures are made small
    assert "match<" not in draw_cards(hits, judged=False)
