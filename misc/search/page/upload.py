"""The field of the page for a picture."""

from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from errors import InputError
from misc.datasets.pictures import read_picture
from misc.search.page.message import message


class Upload(gr.Image):
    """A picture that the user gives, read as the pictures of an index are."""

    is_template = True  # for Gradio: the browser shows it as its `Image`

    def preprocess(self, payload: ImageData | None) -> Image.Image | None:
        """The picture in RGB, upright.

        Raises:
            gr.Error: the file cannot be read.
        """
        if payload is None or payload.path is None:
            return None
        try:
            return read_picture(Path(payload.path))
        except InputError:  # its message names a file of the server's
            name = payload.orig_name or "the file"
            raise message(
                f"{name} cannot be read as a picture; give a JPEG, PNG or WebP file"
            ) from None
