"""The web server of a page."""

import asyncio
import hmac
import ipaddress
import os
import socket
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import NoReturn

import gradio as gr
import safehttpx
import uvicorn
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from errors import InputError
from misc.search.index import Index
from misc.search.page.look import CSS, THEME
from misc.search.page.page import Page

LARGEST = "10mb"  # upload
PAUSE = 1.0  # seconds after a wrong password
LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the port is taken or not allowed, or the host is none of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        return socket.create_server((address[0], port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host}:{port} ({reason}); give another --port or --host"
        ) from None


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine can reach a socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def address(listening: socket.socket) -> str:
    """The URL to open."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def serving(
    index: Index, listening: socket.socket, password: str | None = None
) -> Iterator[uvicorn.Server]:
    """A server of an index's page, to be run with `sockets=[listening]`.

    Uploads lie in a folder that only this user can read, and that is deleted in the end.

    Args:
        password: asked for, with any user name; None: none.
    """
    with tempfile.TemporaryDirectory(prefix="person-search-") as folder:
        # Gradio serves whatever lies in these two.
        os.environ["GRADIO_TEMP_DIR"] = os.environ["GRADIO_EXAMPLES_CACHE"] = folder
        app = _app(Page(index).build(), password, is_loopback(listening))
        # Browsers keep a connection open, for which a server that is stopped would wait.
        yield uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))


def _app(blocks: gr.Blocks, password: str | None, is_local: bool) -> FastAPI:
    # Gradio fetches addresses that a browser names in place of an upload. This page never does.
    safehttpx.get = safehttpx.async_validate_url = _refuse
    # Only a launched page checks that a file which a browser names was uploaded. `launch` itself
    # asks the page for its address, through a proxy where there is one, and takes no socket.
    blocks.has_launched = True
    app = FastAPI(openapi_url=None)
    if is_local:  # else a foreign site could give itself the address of this machine
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK)
    return gr.mount_gradio_app(
        app,
        blocks,
        "/",
        footer_links=[],
        run_history=False,
        app_kwargs={"openapi_url": None},
        auth=None if password is None else _checker(password),
        auth_message="Any user name, and the password",
        show_error=False,
        max_file_size=LARGEST,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=THEME,
        css=CSS,
    )


def _checker(password: str) -> Callable[[str, str], Coroutine[None, None, bool]]:
    async def check(_: str, word: str) -> bool:
        is_right = hmac.compare_digest(word.encode(), password.encode())
        if not is_right:
            await asyncio.sleep(PAUSE)
        return is_right

    return check


async def _refuse(url: str, *_: object, **__: object) -> NoReturn:
    raise ValueError(f"{url} is not fetched")
