"""Messages of libraries about themselves, which mean nothing to whoever exports a model."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings, progress bars and log lines below an error to themselves."""
    before, shows = logging.root.manager.disable, transformers_logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shows:
            transformers_logging.enable_progress_bar()
        logging.disable(before)
