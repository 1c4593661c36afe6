"""`search.py serve`: it starts without a network, ends with Ctrl-C, and explains what is wrong."""

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

import search
from misc.search.page.server import listen
from tests import ROOT

DEAD = "http://127.0.0.1:9"  # a port where nobody listens


def refusal(capsys, *words: str) -> str:
    assert search.main(["serve", *words]) == 2
    return capsys.readouterr().err


def test_it_serves_until_it_is_interrupted(index):
    """Behind proxies that do not answer, on an address that others reach."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "search.py", "serve", "--device", "cpu", "--host", "0.0.0.0"]
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), DEAD)
    process = subprocess.Popen(
        [*command, "--index", index.table.location, "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **proxies, "no_proxy": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith(f"http://0.0.0.0:{port} "), process.stderr.read()
        with httpx.Client(trust_env=False, timeout=20) as browser:
            local = f"http://127.0.0.1:{port}"
            assert "Person search" in browser.get(local).text
            # As an open page does: its connection must not keep the server alive.
            with browser.stream("GET", f"{local}/gradio_api/heartbeat/session"):
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    warning = "warning: whoever reaches this machine can search the pictures; set --password\n"
    assert errors == warning + "interrupted\n"


def test_a_port_in_use_is_a_sentence(index, capsys):
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        message = refusal(capsys, "--index", index.table.location, "--port", port)
    assert re.fullmatch(rf"error: cannot listen on 127.0.0.1:{port} \(.*\); give .*\n", message)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--index", "nowhere"], "nowhere is not an index; make one with `search.py index`"),
        (["--index", "nowhere", "--password", ""], "the --password is empty; give a word"),
        (["--index", "nowhere", "--host", "no-such-host.invalid"], "cannot listen on no-such-host"),
        (["--index", "nowhere", "--port", "0"], "argument --port: '0' is not a whole number"),
        (["--index", "nowhere", "--port", "70000"], "cannot listen on 127.0.0.1:70000"),
    ],
)
def test_mistakes_are_sentences(capsys, words, sentence):
    if words[-1] == "nowhere":
        words = [*words, "--port", "47860"]
    assert sentence in refusal(capsys, *words)


def test_a_missing_gradio_is_a_sentence(capsys, monkeypatch):
    monkeypatch.setattr("misc.search.commands.serve.find_spec", lambda name: None)
    message = refusal(capsys, "--index", "nowhere")
    assert message == (
        "error: the page needs Gradio; install it by `pip install --no-deps -r "
        "requirements-page.txt`\n"
    )
