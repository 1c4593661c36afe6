"""The server of the page: searches by its protocol, and all that it must refuse."""

import json
import os
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from errors import InputError
from misc.search.index import Index
from misc.search.page import server
from misc.search.page.server import address, is_loopback, listen, serving
from tests.search.page.conftest import THRESHOLD, served


class Browser:
    """The requests of a browser that fills in the form."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=20, trust_env=False)
        self.session = uuid4().hex

    def search(self, **fields: object) -> tuple[str, str]:
        """The verdict and the cards; in place of an error, `error:` and its sentence."""
        config = self.http.get("/config").json()
        parts = {part["id"]: part["props"] for part in config["components"]}
        ask = next(d for d in config["dependencies"] if len(d["inputs"]) > 5)
        labels = {parts[i].get("label"): i for i in ask["inputs"]}
        values = {i: parts[i].get("value") for i in ask["inputs"]}
        values |= {labels[label.replace("_", " ")]: value for label, value in fields.items()}
        body = {
            "data": [values[i] for i in ask["inputs"]],
            "fn_index": ask["id"],
            "session_hash": self.session,
        }
        assert self.http.post("/gradio_api/queue/join", json=body).status_code == 200
        with self.http.stream(
            "GET", f"/gradio_api/queue/data?session_hash={self.session}"
        ) as lines:
            for line in lines.iter_lines():
                event = json.loads(line.removeprefix("data: ") or "{}")
                if event.get("msg") == "process_completed":
                    output = event["output"]
                    if not event["success"]:
                        return "error:", str(output.get("error"))
                    _, verdict, cards, *_ = output["data"]
                    return verdict, cards
        raise AssertionError("no answer")

    def upload(self, name: str, content: bytes) -> httpx.Response:
        return self.http.post("/gradio_api/upload", files={"files": (name, content)})


def picture(path: str) -> dict[str, object]:
    """A field with a picture, as a browser sends it."""
    return {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}


def scores(cards: str) -> list[str]:
    return [part.partition("<")[0] for part in cards.split('class="score">')[1:]]


@pytest.fixture
def browser(url) -> Browser:
    return Browser(url)


PICTURE = "Or_a_picture,_or_both"


def test_words_find_what_the_index_finds(browser, index):
    _, cards = browser.search(Describe_a_person="a man in red", Hits=5)
    hits = index.search("a man in red", top=5)
    assert scores(cards) == [f"{hit.score:.3f}" for hit in hits]
    matches = sum(hit.score >= THRESHOLD for hit in hits)
    assert cards.count(">match<") == matches
    assert cards.count(">no match<") == 5 - matches
    assert cards.count("data:image/jpeg;base64,") == 5
    folder = str(Path(hits[0].path).parent)
    assert folder not in cards


def test_the_options_reach_the_search(browser, index, make_picture, monkeypatch):
    file = make_picture("her.png")
    (upload,) = browser.upload("her.png", file.read_bytes()).json()
    expected = index.search("a man in blue", file, top=12, weight=0.3)
    asked, search = [], Index.search

    def record(self, *query, **options):
        asked.append(options)
        return search(self, *query, **options)

    monkeypatch.setattr(Index, "search", record)
    options = {
        "Weight_of_the_words_beside_a_picture": 0.3,
        "Re-rank_the_best_100_(k-reciprocal)": True,
        "One_hit_per_track": True,
    }
    fields = {"Describe_a_person": "a man in blue", PICTURE: picture(upload)}
    _, cards = browser.search(**fields, **options)
    assert set(scores(cards)) == {f"{hit.score:.3f}" for hit in expected}
    (found,) = asked
    assert (found["weight"], found["rerank"], found["per_track"]) == (0.3, True, True)


def test_the_verdict_says_whether_somebody_is_there(browser, index):
    best = index.search("a man in red", top=1)[0].score
    label = {"A_match_from_this_score_on": best + 0.001}
    verdict, _ = browser.search(Describe_a_person="a man in red", **label)
    assert verdict == f"**No match**: the best score, {best:.3f}, is below {best + 0.001:.3f}"
    label = {"A_match_from_this_score_on": best - 1e-6}
    verdict, _ = browser.search(Describe_a_person="a man in red", **label)
    assert verdict.startswith("**1 match** among 12 hits")


def test_a_kind_of_query_that_is_not_calibrated_is_not_judged(browser, make_picture):
    (file,) = browser.upload("her.png", make_picture("her.png").read_bytes()).json()
    verdict, cards = browser.search(**{PICTURE: picture(file)})
    assert verdict.startswith("Not calibrated")
    assert 'class="mark"' not in cards


def test_filters_hold(browser):
    verdict, cards = browser.search(Describe_a_person="a man", Cameras=[2])
    assert cards.count("camera 2") == cards.count("<figure") == 4
    _, cards = browser.search(
        Describe_a_person="a man", From="2026-01-31 08:03", To="2026-01-31 08:05"
    )
    assert cards.count("<figure") == 3
    condition = {"Condition_in_SQL,_as_of_--where": "camera = 3 or camera = 1"}
    _, cards = browser.search(Describe_a_person="a man", Cameras=[2, 3], **condition)
    assert cards.count("camera 3") == cards.count("<figure") == 4
    verdict, cards = browser.search(Describe_a_person="a man", From="2027-01-01")
    assert (verdict, cards.count("<figure")) == ("No picture fulfils the filters", 0)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "The query is empty; describe a person in words, or give a picture"),
        ({"Describe_a_person": "  "}, "The query is empty"),
        ({"Describe_a_person": "a", "From": "noon"}, "'noon' is not a time; write it as"),
        (
            {"Describe_a_person": "a", "Condition_in_SQL,_as_of_--where": "hat < 3"},
            "--where 'hat &lt; 3' cannot be understood (there is no column hat)",
        ),
    ],
)
def test_mistakes_are_sentences(browser, capfd, fields, sentence):
    kind, message = browser.search(**fields)
    assert (kind, message[: len(sentence)]) == ("error:", sentence)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_broken_upload_is_named(browser):
    (file,) = browser.upload("broken.jpg", b"not a picture").json()
    _, message = browser.search(**{PICTURE: picture(file)})
    assert message == "broken.jpg cannot be read as a picture; give a JPEG, PNG or WebP file"


def test_an_upload_above_the_limit_is_refused(browser):
    answer = browser.upload("large.png", bytes(10 * 1024**2 + 1))
    assert (answer.status_code, "maximum allowed size" in answer.text) == (413, True)


def test_chinese_words_come_with_a_warning(browser):
    verdict, _ = browser.search(Describe_a_person="穿红色外套的女人")
    assert verdict.startswith("Chinese sentence: CLIP, the backbone of this model, reads English")


@pytest.mark.parametrize("name", ["/etc/passwd", "unindexed", "indexed"])
def test_no_file_of_the_disk_is_served(browser, index, make_picture, name):
    files = {
        "unindexed": str(make_picture("secret.png")),
        "indexed": index.search("a man", top=1)[0].path,
    }
    path = files.get(name, name)
    assert browser.http.get(f"/gradio_api/file={path}").status_code == 403
    assert browser.http.get(f"/gradio_api/file/{path}").status_code == 403
    # Nor by way of a field that Gradio would copy into its folder.
    for field in (PICTURE, "Describe_a_person", "Cameras"):
        kind, message = browser.search(**{field: picture(path)})
        assert kind == "error:"
        assert path not in message
    copied = [file.name for file in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*")]
    assert Path(path).name not in copied


def test_no_address_is_fetched(browser, monkeypatch):
    asked = []
    resolve, connect = socket.getaddrinfo, socket.socket.connect

    def record(host, *rest, **options):
        asked.append(host)
        return resolve("127.0.0.1", *rest, **options)

    def record_address(self, where):
        asked.append(where)
        return connect(self, where)

    monkeypatch.setattr(socket, "getaddrinfo", record)
    monkeypatch.setattr(socket.socket, "connect", record_address)
    foreign = "http://pictures.example/her.jpg"
    assert browser.http.get(f"/gradio_api/file={foreign}").status_code == 403
    assert browser.http.get(f"/gradio_api/proxy={foreign}").status_code in (400, 403, 404)
    for field in (PICTURE, "Describe_a_person"):
        assert browser.search(**{field: picture(foreign)})[0] == "error:"
    assert browser.search(Describe_a_person="a man")[1].count("<figure") == 12
    hosts = {where[0] if isinstance(where, tuple) else where for where in asked}
    assert hosts == {"127.0.0.1"}


def test_other_sites_cannot_pose_as_this_machine(browser):
    assert browser.http.get("/", headers={"Host": "elsewhere.example"}).status_code == 400
    assert browser.http.get("/").status_code == 200
    for page in ("/docs", "/openapi.json", "/monitoring", "/gradio_api/runs"):
        assert browser.http.get(page).status_code in (403, 404), page


def test_a_password_guards_everything(index, monkeypatch, make_picture):
    monkeypatch.setattr(server, "PAUSE", 0.0)
    with served(index, "秘密") as url:
        browser = Browser(url)
        assert "Describe a person" not in browser.http.get("/").text
        for page in ("config", "gradio_api/info", "gradio_api/file=/tmp", "gradio_api/queue/data"):
            assert browser.http.get(f"/{page}").status_code == 401, page
        assert browser.upload("her.png", b"x").status_code == 401
        assert browser.http.post("/gradio_api/queue/join", json={"data": []}).status_code == 401
        for word, status in (("wrong", 400), ("", 422), ("秘密", 200)):
            login = {"username": "anybody", "password": word}
            assert browser.http.post("/login", data=login).status_code == status, word
        assert browser.search(Describe_a_person="a man")[1].count("<figure") == 12


def test_uploads_lie_in_a_private_folder_that_is_deleted(index):
    with listen("127.0.0.1", 0) as listening, serving(index, listening):
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "upload.png").write_bytes(b"x")
    assert not folder.exists()


def test_twenty_people_at_once(url, index):
    """Searches take their turns; each is answered rightly, and the page itself at once."""
    expected = [f"{hit.score:.3f}" for hit in index.search("a man in red", top=12)]

    def ask(_: int) -> tuple[float, float, list[str]]:
        browser, start = Browser(url), time.monotonic()
        assert browser.http.get("/").status_code == 200
        opened = time.monotonic()
        _, cards = browser.search(Describe_a_person="a man in red")
        return opened - start, time.monotonic() - opened, scores(cards)

    with ThreadPoolExecutor(20) as people:
        answers = [*people.map(ask, range(40))]
    assert all(found == expected for *_, found in answers)
    opening, searching = (sorted(seconds)[37] for seconds in list(zip(*answers, strict=True))[:2])
    print(f"p95 of 20 people at once: page {opening:.2f} s, search {searching:.2f} s")
    assert searching < 15


def test_addresses():
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert address(listening) == f"http://127.0.0.1:{port}"
        assert is_loopback(listening)
        with pytest.raises(InputError, match=rf"cannot listen on 127.0.0.1:{port} \(.*--port"):
            listen("127.0.0.1", port)
    with listen("0.0.0.0", 0) as listening:
        assert not is_loopback(listening)
    for host, port in (("127.0.0.1", 70000), ("192.0.2.1", 7860)):
        with pytest.raises(InputError, match=f"cannot listen on {host}:{port}"):
            listen(host, port)
