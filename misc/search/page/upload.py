"""The field of the page for a picture."""

from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from errors import InputError
from misc.datasets.pictures import read_picture
from misc.search.page.message import message


def upload_field(label: str) -> gr.Image:
    """A field for a picture, read as the pictures of an index are."""
    # PNG keeps the pixels of an indexed picture, whose score is then 1.
    field = gr.Image(
        label=label,
        type="pil",
        format="png",
        sources=["upload", "clipboard"],
        height=200,
        buttons=[],
    )
    # Gradio's own does not explain a broken file. It is replaced here, not in a subclass: beside
    # the source of a subclass, Gradio writes a .pyi file.
    field.preprocess = _read  # type: ignore[assignment]
    return field


def _read(upload: ImageData | None) -> Image.Image | None:
    """The picture in RGB, upright.

    Raises:
        gr.Error: the file cannot be read.
    """
    if upload is None or upload.path is None:
        return None
    try:
        return read_picture(Path(upload.path))
    except InputError:  # its message names a file of the server's
        name = upload.orig_name or "The file"
        raise message(
            f"{name} cannot be read as a picture; give a JPEG, PNG or WebP file"
        ) from None
