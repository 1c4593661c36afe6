"""Requests that a browser never sends, to the page of `search.py serve`."""

import atexit
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from random import Random
from urllib.parse import quote, urlsplit

import httpx

from errors import InputError
from misc.job import Job
from misc.search.person_search import PersonSearch
from misc.synthetic.writing import write_dataset
from tests.command_line import parse
from tests.conftest import SMALL
from tests.search.conftest import CPU, DEMO
from tests.search.page.conftest import served
from tests.search.page.test_server import PICTURE, Browser, picture

COUNT, SAMPLE = 500, 40
SECRET = "cormorant-in-the-cellar"
OTHERS = 5.0  # seconds that somebody else waits for the page at most

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "X" * 50)
ENDPOINTS = (
    *("/", "/config", "/login", "/logout", "/info", "/upload", "/stream", "/assets", "/static"),
    *(
        "/queue/join",
        "/queue/data",
        "/queue/status",
        "/api/predict",
        "/run/predict",
        "/call/search",
    ),
    *("/gradio_api/file=", "/gradio_api/file/", "/gradio_api/proxy=", "/gradio_api/upload"),
    *("/gradio_api/upload_progress", "/gradio_api/heartbeat/x", "/gradio_api/startup-events"),
    *("/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/run/predict"),
    *("/gradio_api/component_server", "/gradio_api/reset", "/gradio_api/cancel", "/theme.css"),
    *(
        "/gradio_api/info",
        "/gradio_api/app_id",
        "/gradio_api/dev/reload",
        "/gradio_api/stream/x/1/a",
    ),
    *("/gradio_api/vibe-edit/", "/gradio_api/deep_link", "/gradio_api/call/search", "/svelte/"),
    *(
        "/custom_component/x/client/component/../../",
        "/mcp",
        "/monitoring",
        "/docs",
        "/openapi.json",
    ),
    *(
        "/favicon.ico",
        "/robots.txt",
        "/manifest.json",
        "/pwa_icon",
        "/x" * 2000,
        "//",
        "/%00",
        "/%ff",
    ),
)
CONDITIONS = (
    *("1=1; DROP TABLE people", "1=1 --", "' OR '1'='1", "camera = 1) OR (1 = 1", "vector IS NULL"),
    *("path = '" + "x" * 100_000 + "'", "(" * 5000 + "1=1" + ")" * 5000, "NOT " * 3000 + "true"),
    *("1/0 = 1", "camera IN (SELECT camera FROM people)", "UNION SELECT * FROM x", "\0", "\ud800"),
    *("read_parquet('/etc/passwd')", "camera = 1 AND camera = 'x'", "regexp_match(path, '(a+)+$')"),
    *(
        "repeat('x', 1000000000) = path",
        "人 = 1",
        "path LIKE '%c1%'",
        "camera = 2",
        "0x = /**/",
        ";",
    ),
)
ODD = (
    *(
        None,
        True,
        -1,
        0,
        10**30,
        1e308,
        "",
        "x" * 100_000,
        [],
        {},
        [[]],
        {"a": {"b": []}},
        "\ud800",
    ),
    *(
        "NaN",
        [None],
        {"path": None},
        {"path": ["x"]},
        {"url": "http://127.0.0.1:1/"},
        "/etc/passwd",
    ),
)
NAMES = (
    "../../x.png",
    "/etc/cron.d/x",
    "x" * 300,
    "a\0b",
    "a\nb.png",
    "",
    ".",
    "<script>.png",
    "人.png",
)


def case(random: Random, folder: Path) -> None:
    """One request, after which the page still answers somebody else, and holds no foreign file."""
    url, uploads = _page()
    ask = random.choice((_path, _path, _body, _body, _upload, _search, _search, _headers))
    with _somebody_else(url):
        status, text = ask(random, url)
    assert SECRET not in text, "a file outside was read"
    assert "root:" not in text, "a file outside was read"
    assert "Traceback" not in text
    assert 'File "' not in text
    # Gradio's own answer to names that no file may have; it tells nothing, and the page goes on.
    assert status < 500 or text == "Internal Server Error", f"status {status}: {text[:200]}"
    assert not (uploads.parent / "x.png").exists()
    if status >= 400:
        raise InputError(text[:200] or str(status))


@contextmanager
def _somebody_else(url: str) -> Iterator[None]:
    """Ask for the page again and again during the block, and once more after it.

    Raises:
        AssertionError: an answer took too long, or was another one.
    """
    ended, faults = threading.Event(), list[str]()

    def poll() -> None:
        with httpx.Client(trust_env=False, verify=False, timeout=OTHERS) as client:
            is_last = False
            while not is_last:
                is_last = ended.wait(0.2)
                begin = time.monotonic()
                try:
                    status = client.get(url).status_code
                except httpx.HTTPError as error:
                    status = repr(error)
                took = time.monotonic() - begin
                if status != 200 or took > OTHERS:
                    faults.append(f"{status} after {took:.1f} s")

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert not faults, f"somebody else got {faults[0]}"


def prepare() -> None:
    """Start the page."""
    _page()


def _path(random: Random, url: str) -> tuple[int, str]:
    """A file asked for in every spelling of a way out."""
    secret = str(_page()[1] / "secret.txt")
    up = random.choice(
        ("../" * 12, "..%2f" * 12, "%2e%2e/" * 12, "..\\" * 12, "%252e%252e/" * 12, "/")
    )
    target = up + random.choice(
        (secret, "etc/passwd", quote(secret, safe=""), "c1.jpg", "proc/self/environ")
    )
    return _raw(random.choice(METHODS[:7]), url, random.choice(ENDPOINTS) + target)


def _body(random: Random, url: str) -> tuple[int, str]:
    """A body that is no JSON, or JSON of another shape."""
    fields = (
        "data",
        "fn_index",
        "session_hash",
        "event_id",
        "trigger_id",
        "username",
        "simple_format",
    )
    drawn = {name: random.choice(ODD) for name in random.sample(fields, random.randint(0, 5))}
    body = random.choice(
        (
            json.dumps(drawn),
            json.dumps(drawn),
            json.dumps({"data": [], "fn_index": random.randint(-3, 9), "session_hash": "s"}),
            "{" * 10_000,
            "[" * 100_000 + "]" * 100_000,
            '{"data": ' + "1" * 10_000 + "}",
            "x" * 12_000_000,
            random.randbytes(1000).decode("latin-1"),
        )
    )
    kind = random.choice(("application/json",) * 4 + ("multipart/form-data", "text/xml", "x"))
    return _raw(
        random.choice(METHODS[1:5]), url, random.choice(ENDPOINTS), body, {"Content-Type": kind}
    )


def _headers(random: Random, url: str) -> tuple[int, str]:
    headers = random.choice(
        (
            {"X-Large": "x" * 100_000},
            {"Cookie": "access-token=" + "x" * 5000},
            {"Authorization": "Basic %%%"},
            {"Host": "elsewhere.example"},
            {"X-Forwarded-Host": "elsewhere.example", "X-Forwarded-Proto": '"><script>'},
            {"Range": "bytes=-1,5-,99999999999-"},
            {"Transfer-Encoding": "chunked, gzip"},
            {"Origin": "null"},
            {f"X-{n}": "y" for n in range(500)},
        )
    )
    return _raw(random.choice(METHODS), url, random.choice(ENDPOINTS), None, headers)


def _upload(random: Random, url: str) -> tuple[int, str]:
    """A file that is no picture, or has a hostile name, and a search by what became of it."""
    browser = Browser(url)
    content = random.choice(
        (b"", b"\x89PNG\r\n\x1a\n", random.randbytes(5000), bytes(11 * 1024**2), SVG)
    )
    answer = browser.upload(random.choice(NAMES), content)
    if answer.status_code != 200:
        return answer.status_code, answer.text
    (path,) = answer.json()
    assert Path(path).is_relative_to(os.environ["GRADIO_TEMP_DIR"]), path
    return _found(*browser.search(**{PICTURE: picture(path)}))


def _search(random: Random, url: str) -> tuple[int, str]:
    """A form with a hostile condition, or a value of another kind."""
    fields: dict[str, object] = {"Describe_a_person": "a man in red"}
    label = random.choice(
        (
            *("Condition_in_SQL,_as_of_--where",) * 4,
            *(
                "Describe_a_person",
                "Hits",
                "Cameras",
                "From",
                "A_match_from_this_score_on",
                PICTURE,
            ),
        )
    )
    fields[label] = random.choice(CONDITIONS if label.startswith("Cond") else ODD)
    try:
        return _found(*Browser(url).search(**fields))
    except UnicodeEncodeError:  # by the client: JSON has no such text
        return 400, "not sent"


def _found(kind: str, text: str) -> tuple[int, str]:
    return (400, text) if kind == "error:" else (200, text)


def _raw(
    method: str, url: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """The status and the beginning of an answer; streams that stay open are left."""
    target = httpx.URL(url).copy_with(raw_path=path.encode("utf-8", "replace") or b"/")
    try:
        with httpx.Client(trust_env=False, timeout=2.0) as client:
            content = None if body is None else body.encode("utf-8", "replace")
            request = client.build_request(method, target, content=content, headers=headers)
            answer = client.send(request, stream=True)
            try:
                return answer.status_code, _beginning(answer)
            finally:
                answer.close()
    except httpx.ReadTimeout:  # it waits for the rest of a body
        return 408, ""
    except (httpx.InvalidURL, httpx.LocalProtocolError, ValueError) as error:  # by the client
        return 400, type(error).__name__
    except (httpx.RemoteProtocolError, httpx.WriteError, httpx.ReadError):  # hung up on
        return 400, "refused"


def _beginning(answer: httpx.Response) -> str:
    text, until = b"", time.monotonic() + 1.0
    try:
        for part in answer.iter_bytes():
            text += part
            if len(text) > 1_000_000 or time.monotonic() > until:
                break
    except httpx.ReadTimeout:
        pass
    return text.decode("utf-8", "replace")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


@cache
def _page() -> tuple[str, Path]:
    """The URL of a page over twelve pictures, and their folder, in which a secret lies."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-page-")))
    written = write_dataset(
        "cuhk-pedes",
        folder / "drawn",
        identities={"train": 8, "val": 2, "test": 2},
        images=(2, 2),
        height=(40, 64),
    )
    places = (f"data.annotation_file={written.processed}", f"data.image_root={written.image_root}")
    few = ("schedule={epoch: 1, epoch_warmup: 0}", "evaluation.ranked_lists=0")
    config = parse(["--config", DEMO, *SMALL, *places, *few]).configure()
    Job(config, "small", CPU).train(folder / "run")
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, file in enumerate(sorted(written.image_root.rglob("*.jpg"))[:12]):
        shutil.copy(file, pictures / f"c{number % 3 + 1}_{number:02}.jpg")
    (pictures / "secret.txt").write_text(SECRET)
    index = PersonSearch(folder / "run", "cpu").index(folder / "index")
    index.add(pictures, camera=r"c(\d)_", workers=0)
    url = stack.enter_context(served(index))
    assert urlsplit(url).hostname == "127.0.0.1"
    return url, pictures
