"""Where a model of the Hugging Face hub lies on this machine.

It stands below the models because tokenizers are read from there too.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from errors import InputError

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def find_model(
    source: str | Path, wanted: Sequence[str], cache_dir: str | Path | None = None
) -> Path:
    """The local folder of a model, fetched from the hub only if it is nowhere on this machine.

    Args:
        source: a folder in the hub's layout, the root of a cache, or `ORG/NAME`.
        wanted: patterns of file names, the best first; the folder has a file of one of them.
        cache_dir: another folder or root to look in; what is fetched goes there.

    Raises:
        InputError: it is not here, and cannot be fetched.
    """
    cache = None if cache_dir is None else Path(cache_dir).expanduser()
    for folder in _places(source, cache):
        if _has(folder, wanted):
            return folder
    if Path(source).expanduser().is_dir():
        raise InputError(f"{source} has no {' or '.join(wanted)}: download the whole model")
    return _download(str(source), wanted, cache)


def find_snapshot(folder: Path) -> Path:
    """The model's own folder, where `folder` may be the root of a cache.

    Raises:
        InputError: it is the root of a cache of several models.
    """
    if (folder / "config.json").is_file():
        return folder
    models = [folder] if (folder / "snapshots").is_dir() else sorted(folder.glob("models--*"))
    found = [snapshot for model in models for snapshot in _snapshots(model)]
    if len(found) > 1:
        several = ", ".join(str(snapshot) for snapshot in found[:5])
        raise InputError(f"{folder} is a cache of several models: give one of {several}")
    return found[0] if found else folder


def _snapshots(model: Path) -> list[Path]:
    """The snapshot that a cached model's `main` names, or all of them."""
    main = model / "refs" / "main"
    if main.is_file():
        return [model / "snapshots" / main.read_text(encoding="utf-8").strip()]
    return sorted((model / "snapshots").glob("*"))


def _places(source: str | Path, cache: Path | None) -> Iterator[Path]:
    """Where a model may lie: in the folder given, in `cache`, in the user's own cache."""
    path = Path(source).expanduser()
    if path.is_dir():
        yield find_snapshot(path)
        if cache is not None:
            with suppress(InputError):  # a cache of several models is not where to look for a part
                yield find_snapshot(cache)
        return
    from huggingface_hub import constants

    if cache is not None:
        yield cache
    for root in (cache, Path(constants.HF_HUB_CACHE)):
        if root is not None:
            yield from _snapshots(root / f"models--{str(source).replace('/', '--')}")


def _has(folder: Path, wanted: Sequence[str]) -> bool:
    return any(any(folder.glob(pattern)) for pattern in wanted)


def _download(repository: str, wanted: Sequence[str], cache: Path | None) -> Path:
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(
            f"there is no folder {repository}: give a folder, the root of a Hugging Face cache, or "
            "ORG/NAME"
        )
    from huggingface_hub import snapshot_download

    cause = None
    try:
        for pattern in wanted:
            patterns = ["*.json", pattern]
            folder = Path(snapshot_download(repository, cache_dir=cache, allow_patterns=patterns))
            if _has(folder, [pattern]):
                return folder
    except Exception as error:  # whatever the network makes the client raise
        cause = error
    raise InputError(
        f"{repository} is no folder, and no {' or '.join(wanted)} of it is cached or can be "
        f"fetched: run `hf download {repository} --local-dir FOLDER` where there is a network and "
        "give FOLDER"
    ) from cause
