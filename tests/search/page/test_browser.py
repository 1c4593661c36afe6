"""The page in Chromium."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from misc.search.index import Index

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
WORDS = "Describe a person"


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    with playwright.sync_playwright() as control:
        browser = control.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def requests() -> list[str]:
    """The addresses that the page has asked for."""
    return []


@pytest.fixture
def page(chromium, url, requests) -> Iterator:
    """The page, freshly opened, that asks nobody but its server."""
    page = chromium.new_page(viewport={"width": 1280, "height": 860})
    page.set_default_timeout(15_000)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    page.get_by_label(WORDS).wait_for()
    page.get_by_text("Loading...").wait_for(state="hidden")  # it lies over the whole page
    yield page
    page.close()
    hosts = {urlsplit(one).hostname for one in requests if not one.startswith(("data:", "blob:"))}
    assert hosts == {"127.0.0.1"}


def search(page, words: str) -> None:
    page.get_by_label(WORDS).fill(words)
    page.get_by_label(WORDS).press("Enter")
    page.locator(".card").first.wait_for()


def test_words_show_pictures_and_one_of_them_finds_itself(page, index: Index):
    search(page, "a woman in a red coat")
    hits = index.search("a woman in a red coat", top=12)
    assert page.locator(".card").count() == 12
    assert page.locator(".card .score").all_inner_texts() == [f"{hit.score:.3f}" for hit in hits]
    widths = page.locator(".card img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert min(widths) > 0
    third = page.locator(".card img").nth(2).get_attribute("src")
    page.locator(".card button").nth(2).click()
    first = page.locator(".card").first
    playwright.expect(first.locator("img")).to_have_attribute("src", third)
    assert first.locator(".score").inner_text() == "1.000"
    assert page.get_by_label(WORDS).input_value() == ""


def test_a_camera_is_chosen(page):
    page.get_by_text("Filters").click()
    page.wait_for_timeout(300)
    page.get_by_label("Cameras").click()
    page.get_by_role("option", name="2").click()
    search(page, "a man")
    facts = page.locator(".card .facts").all_inner_texts()
    assert [fact[:8] for fact in facts] == ["camera 2"] * 4


def test_the_threshold_is_moved(page):
    page.get_by_text("Matches and order").click()
    page.wait_for_timeout(300)  # what opens is built first
    search(page, "a man")
    number = page.get_by_label("number input for A match from this score on")
    number.fill("0.95")
    slider = page.get_by_label("range slider for A match from this score on")
    playwright.expect(slider).to_have_value("0.95")
    number.press("Tab")  # and hits are judged again without the button
    playwright.expect(page.locator("#verdict")).to_contain_text("below 0.950")
    assert page.locator(".card.no-match").count() == 12


def test_mistakes_are_shown_in_sentences(page, tmp_path: Path):
    page.get_by_role("button", name="Search").click()
    toast = page.locator(".toast-body")
    playwright.expect(toast).to_contain_text("The query is empty; describe a person in words")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    page.locator("input[type=file]").set_input_files(broken)
    sentence = "broken.jpg cannot be read as a picture; give a JPEG, PNG or WebP file"
    playwright.expect(toast.filter(has_text=sentence)).to_be_visible()
    assert "Traceback" not in page.content()


def test_a_large_file_is_refused_in_a_sentence(page, tmp_path: Path):
    large = tmp_path / "large.png"
    large.write_bytes(bytes(10 * 1024**2 + 1))
    page.locator("input[type=file]").set_input_files(large)
    playwright.expect(page.locator(".toast-body")).to_contain_text("maximum allowed size")


def test_a_phone_shows_it_without_scrolling_sideways(page):
    page.set_viewport_size({"width": 390, "height": 844})
    search(page, "a man")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == 390
    box = page.locator(".card").nth(1).bounding_box()
    assert box["x"] + box["width"] <= 390
    page.wait_for_function("document.querySelector('#verdict').getBoundingClientRect().top < 200")
