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


CLIP_WORDS = 49408  # in CLIP's vocabulary
# Of CLIP's towers in open_clip's configurations; other keys have their defaults, or make others.
_SIZES = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"}
_SIZES |= {"context_length", "vocab_size", "heads"}
_DEFAULTS = {"pool_type": ("tok", "argmax"), "pos_embed_type": ("learnable",)}


def find_open_clip_folder(source: str) -> Path | None:
    """The folder of `local-dir:FOLDER`, or one with an open_clip_config.json."""
    folder = Path(source.removeprefix("local-dir:")).expanduser()
    if source.startswith("local-dir:") or os.path.isfile(folder / "open_clip_config.json"):
        return folder
    return None


def is_model_folder(source: str) -> bool:
    """Whether a source is a folder of transformers or of open_clip, described by its files."""
    described = (os.path.join(source, n) for n in ("config.json", "open_clip_config.json"))
    return any(map(os.path.isfile, described))


def split_open_clip_name(source: str) -> tuple[str, str]:
    """ARCH and TAG of `open_clip:ARCH/TAG`; TAG may be a file, too, and is empty if it lacks."""
    arch, _, tag = source.removeprefix("open_clip:").partition("/")
    return arch, tag


def read_open_clip_config(source: str) -> Tree | None:
    """The `model_cfg` of a model of open_clip; None if there is none, or none that can be read."""
    folder = find_open_clip_folder(source)
    config: object = None
    if folder is not None:
        with suppress(InputError):  # its loader says what is wrong
            config = read_json(folder / "open_clip_config.json").get("model_cfg")
    elif source.startswith("open_clip:"):
        import open_clip

        config = open_clip.get_model_config(split_open_clip_name(source)[0])
    return config if isinstance(config, dict) else None


def is_of_open_clip(source: str) -> bool:
    """Whether a source is a model of open_clip whose towers are not CLIP's."""
    config = read_open_clip_config(source)
    return config is not None and not is_plain_clip(config)


def has_clip_words(source: str) -> bool:
    """Whether a model of open_clip has CLIP's vocabulary; True where nothing tells it."""
    text = (read_open_clip_config(source) or {}).get("text_cfg")
    if not isinstance(text, dict):
        return True  # its loader says what is wrong
    names = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    return not names and text.get("vocab_size", CLIP_WORDS) == CLIP_WORDS


def is_plain_clip(config: Tree) -> bool:
    """Whether a `model_cfg` of open_clip describes CLIP's own towers, in their own names."""
    others = config.keys() - {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}
    towers = [config.get("vision_cfg"), config.get("text_cfg")]
    return not any(config[key] for key in others) and all(
        not value or key in _SIZES or value in _DEFAULTS.get(key, ())
        for tower in towers
        if isinstance(tower, dict)
        for key, value in tower.items()
    )
