"""Lookup of Hugging Face models in folders, in caches and on the hub.

Tokenizers need it as much as models do, hence it is below both.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from errors import InputError

_REVISION = re.compile(r"\w[\w.-]{0,99}")
_REPOSITORY = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}")  # the lengths are the hub's


def find_model(
    source: str | Path, wanted: Sequence[str], cache_dir: str | Path | None = None
) -> Path:
    """The local folder of a model; downloads the model if it is not found locally.

    Args:
        source: a folder in the hub's layout, the root of a cache, `ORG/NAME` or `hf:ORG/NAME`.
        wanted: patterns of file names, in order of preference; one of them must match.
        cache_dir: another folder or cache to search; downloads are stored there.

    Raises:
        InputError: the model is not found locally and cannot be downloaded.
    """
    source = str(source).removeprefix("hf:")
    cache = None if cache_dir is None else Path(cache_dir).expanduser()
    for folder in local_folders(source, cache):
        if _has(folder, wanted):
            return folder
    if os.path.isdir(Path(source).expanduser()):
        raise InputError(f"{source} has no {' or '.join(wanted)}: download the complete model")
    return _download(str(source), wanted, cache)


def is_repository(source: str) -> bool:
    """Whether a source is `ORG/NAME` or `hf:ORG/NAME`."""
    return _REPOSITORY.fullmatch(source.removeprefix("hf:")) is not None


def find_snapshot(folder: Path) -> Path:
    """The folder of a model, given that folder or the root of a cache.

    Raises:
        InputError: the cache has several models.
    """
    if (folder / "config.json").is_file():
        return folder
    models = [folder] if (folder / "snapshots").is_dir() else sorted(folder.glob("models--*"))
    found = [snapshot for model in models for snapshot in _snapshots(model)]
    if len(found) > 1:
        several = ", ".join(str(snapshot) for snapshot in found[:5])
        raise InputError(f"{folder} is a cache with several models: give one of {several}")
    return found[0] if found else folder


def _snapshots(model: Path) -> list[Path]:
    """The snapshot of the `main` revision of a cached model, or all snapshots if it has none."""
    main = model / "refs" / "main"
    if main.is_file():
        revision = main.read_text(encoding="utf-8", errors="replace").strip()
        if not _REVISION.fullmatch(revision):
            raise InputError(f"{main} names no revision of the model: download the model again")
        return [model / "snapshots" / revision]
    return sorted((model / "snapshots").glob("*"))


def local_folders(source: str | Path, cache: Path | None = None) -> Iterator[Path]:
    """Possible folders of a model: the given one, in `cache`, in the user's default cache."""
    source = str(source).removeprefix("hf:")
    path = Path(source).expanduser()
    if os.path.isdir(path):  # unlike `Path.is_dir`, False for a name that is too long
        yield find_snapshot(path)
        if cache is not None:
            with suppress(InputError):  # a cache with several models is no candidate
                yield find_snapshot(cache)
        return
    from huggingface_hub import constants

    if cache is not None:
        yield cache
    for root in (cache, Path(constants.HF_HUB_CACHE)):
        if root is not None:
            yield from _snapshots(root / f"models--{source.replace('/', '--')}")


def _has(folder: Path, wanted: Sequence[str]) -> bool:
    return any(any(map(os.path.isfile, folder.glob(pattern))) for pattern in wanted)


def _download(repository: str, wanted: Sequence[str], cache: Path | None) -> Path:
    if not _REPOSITORY.fullmatch(repository):
        fault = "is a file" if os.path.isfile(repository) else "does not exist"
        raise InputError(
            f"{repository} {fault}: give a folder, the root of a Hugging Face cache, or ORG/NAME"
        )
    from huggingface_hub import snapshot_download

    cause = None
    try:
        for pattern in wanted:
            patterns = ["*.json", pattern]
            folder = Path(snapshot_download(repository, cache_dir=cache, allow_patterns=patterns))
            if _has(folder, [pattern]):
                return folder
    except Exception as error:  # the client raises many types
        cause = error
    raise InputError(
        f"{repository}: {' or '.join(wanted)} not found locally or in the cache, and could not be "
        f"downloaded: run `hf download {repository} --local-dir FOLDER` on a machine with network "
        "access, and give FOLDER"
    ) from cause
