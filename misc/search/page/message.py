"""Messages about mistakes of the user, as the page shows them."""

import html
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from errors import InputError


def message(sentence: str) -> gr.Error:
    """An error that the browser shows for ten seconds, without a traceback in the terminal."""
    return gr.Error(html.escape(sentence, quote=False), title="", print_exception=False)


@contextmanager
def shown() -> Iterator[None]:
    """Show an `InputError` on the page."""
    try:
        yield
    except InputError as error:
        sentence = str(error)
        raise message(sentence[0].upper() + sentence[1:]) from None
