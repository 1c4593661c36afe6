"""The kind of a source of weights, as far as can be told without loading it.

Nothing heavy is imported, so that a configuration is checked without torch.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from errors import InputError
from model.trees import Tree
from text_utils.hub import is_repository, local_folders


def read_json(file: Path) -> Tree:
    """A JSON object.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: download it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds a {type(content).__name__}: download it again")
    return content


def read_model_type(source: str | Path) -> str | None:
    """The `model_type` in the config.json of a folder, or of a model in a cache.

    None if there is no such file, or none that can be read.
    """
    name = str(source)
    if not (os.path.isdir(Path(name).expanduser()) or is_repository(name)):
        return None
    with suppress(InputError):  # its loader says what is wrong
        for folder in local_folders(name):
            if (folder / "config.json").is_file():
                return str(read_json(folder / "config.json").get("model_type"))
    return None
