"""The page: its parts, what it refers to, and in Chromium."""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from misc.report.__main__ import main
from misc.report.curves import draw_chart, points

CHROMIUM = shutil.which("chromium")


class References(HTMLParser):
    """The addresses that a browser would fetch, and the texts of headings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.headings: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
                self.fetched.append(value or "")
        self.inside = tag

    def handle_data(self, text: str) -> None:
        if getattr(self, "inside", "") in ("h1", "h2", "h3"):
            self.headings.append(text)
            self.inside = ""


def test_nothing_is_fetched(page):
    text = page.read_text(encoding="utf-8")
    fetched = References(text).fetched
    assert len(fetched) > 50
    assert [address[:40] for address in fetched if not address.startswith("data:")] == []
    outside = re.findall(r"url\((?!['\"]?data:)|@import|https?://|\bfetch\(|XMLHttp", text)
    assert outside == []


def test_several_runs_are_set_side_by_side(page):
    text = page.read_text(encoding="utf-8")
    headings = References(text).headings
    assert headings[:4] == [
        "Comparison of runs",
        "Results",
        "Significance",
        "Differences in configuration",
    ]
    for part in ("Worst and best queries", "Words on pictures", "Map of identities"):
        assert headings.count(part) == 3
    assert "<td>one, reseeded</td>" in text
    assert "± 0.00" in text  # a run and its copy
    assert "Against one, reseeded" in text


def test_a_run_of_re_identification_has_pictures_for_queries(reid_folder, tmp_path):
    file = tmp_path / "reid.html"
    assert main([str(reid_folder), "--output", str(file), "--device", "cpu"]) == 0
    text = file.read_text(encoding="utf-8")
    headings = References(text).headings
    assert headings[0] == "run"
    assert "Worst and best queries" in headings
    assert "Words on pictures" not in headings
    assert 3 <= text.count('class="asked"') <= 6  # three people, at best and at worst


def test_a_run_of_both_tasks_has_the_parts_of_each_test_set(both_folder, tmp_path):
    file = tmp_path / "both.html"
    assert main([str(both_folder), "--output", str(file), "--device", "cpu"]) == 0
    text = file.read_text(encoding="utf-8")
    headings = [title for title in References(text).headings if ": " in title]
    assert headings == [
        "Worst and best queries: CUHK-PEDES test",
        "Words on pictures: CUHK-PEDES test",
        "Map of identities: CUHK-PEDES test",
        "Worst and best queries: Market-1501 test",
        "Map of identities: Market-1501 test",
    ]
    words, pictures = text.split("Worst and best queries: Market-1501 test")
    assert "<blockquote>" in words
    assert 'class="asked"' not in words
    assert "<blockquote>" not in pictures
    assert 3 <= pictures.count('class="asked"') <= 6


def test_a_page_of_the_record_alone_needs_no_data(run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    for file in folder.glob("*.pt"):
        file.unlink()
    file, gone = tmp_path / "report.html", "data.image_root=gone"
    assert main([str(folder), "--output", str(file), "--record-only", gone]) == 0
    assert References(file.read_text()).headings == ["run", "Results", "Configuration", "Curves"]


def test_a_page_replaces_pages_alone(run_folder, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    checkpoint, file = folder / "checkpoint_best.pt", tmp_path / "report.html"
    before = checkpoint.read_bytes()
    assert main([str(folder), "--output", str(checkpoint), "--record-only"]) == 2
    assert f"{checkpoint} exists and is not an earlier report" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before
    for _ in range(2):
        assert main([str(folder), "--output", str(file), "--record-only"]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "nothing to do: give --output report.html, --markdown or --latex"),
        (["--output", ""], "argument --output: it is empty; is a variable of a script not set?"),
        (["--output", "."], "argument --output: . is a folder, give a file"),
        (["--output", "nowhere/report.html"], "its folder does not exist; make it first"),
        (["--output", "report.html", "data.image_root=gone"], "if data or weights lie elsewhere"),
        (["--output", "report.html", "data.image_rot=a"], "data.image_root"),
    ],
)
def test_mistakes_are_one_sentence(run_folder, words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([str(run_folder), *words, "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert error.count("\n") == 1
    assert not Path("report.html").exists()


def test_a_chart_draws_every_curve_within_its_frame():
    drawn = draw_chart("loss", {"a<b": [(1, 2.0), (50, 1.0)], "single": [(7, 1.5)]})
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 1
    assert "a&lt;b" in drawn
    coordinates = [
        float(n) for line in re.findall(r'points="([^"]+)"', drawn) for n in re.split("[ ,]", line)
    ]
    assert all(0 <= x <= 420 for x in coordinates[::2])
    assert all(0 <= y <= 230 for y in coordinates[1::2])


def test_long_curves_are_thinned_out():
    rows = [{"step": step, "loss": 1.0} for step in range(2000)]
    assert len(points(rows, "loss")) == 400
    rows = [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": None}, {"step": 3, "loss": 2}]
    assert points(rows, "loss") == [(3.0, 2.0)]


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as control:
        browser = control.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_chromium_opens_it_without_errors(chromium, page, width, scheme):
    tab = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    messages, requests = [], []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    shade = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shade == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    tab.get_by_text("one", exact=True).last.click()
    article = tab.locator("details[open] .words").first
    words, veil = article.locator("button"), article.locator(".large .veil")
    words.last.click()
    assert veil.get_attribute("src") == words.last.get_attribute("data-veil")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    tab.close()
    assert messages == []
    assert [url for url in requests if not url.startswith(("data:", "file:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == 1
