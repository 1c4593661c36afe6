"""The command that serves a web page over an index."""

import argparse
import os
import sys
from importlib.util import find_spec

from errors import InputError
from misc.runtime.script import given, positive
from misc.search.commands.base import Command


class Serve(Command):
    """`search.py serve`."""

    name = "serve"
    summary = "serve a web page that searches an index, by words, by a picture, or by both"
    example = """\
python search.py serve --index people.index
python search.py serve --index people.index --host 0.0.0.0 --port 8080 --password WORD"""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("--index", type=given, required=True, metavar="INDEX", help="the index to search")
        known = "address to listen on; 0.0.0.0: every one (default: 127.0.0.1, this machine alone)"
        add("--host", default="127.0.0.1", help=known)
        add("--port", type=positive, default=7860, metavar="N", help="port (default: 7860)")
        add("--password", metavar="WORD", help="ask for a password; any user name goes with it")
        known = "a run's folder or a checkpoint, if it is no longer where it was"
        add("--checkpoint", type=given, metavar="PATH", help=known)
        add("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")

    def run(self, options: argparse.Namespace) -> int | None:
        if find_spec("gradio") is None:
            raise InputError(
                "the page needs Gradio; install it by `pip install --no-deps -r "
                "requirements-page.txt`"
            )
        if options.password is not None and not options.password:
            raise InputError("the --password is empty; give a word")
        # Before Gradio is imported: it would report its use.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        from misc.search.index import open_index
        from misc.search.page.server import address, is_loopback, listen, serving

        with listen(options.host, options.port) as listening:  # before a model is loaded
            index = open_index(options.index, options.checkpoint, options.device)
            if options.password is None and not is_loopback(listening):
                print(
                    "warning: whoever reaches this machine can search the pictures; set --password",
                    file=sys.stderr,
                )
            with serving(index, listening, options.password) as server:
                print(f"{address(listening)}  (Ctrl-C ends it)", flush=True)
                server.run(sockets=[listening])
        # The server ends on Ctrl-C alone, of which it does not always tell.
        raise KeyboardInterrupt
