"""Ranked lists, drawn: a query and the nearest gallery pictures, nearest first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from torch import Tensor

from errors import InputError
from misc.datasets.pictures import read_picture
from misc.evaluation import nearest
from misc.retrieval.cells import (
    CAPTION_WIDTH,
    GAP,
    GREY,
    HEIGHT,
    LINE,
    MARGIN,
    PAPER,
    RIGHT,
    WRONG,
    cell_width,
    draw_caption,
    draw_labels,
    draw_picture,
)
from misc.runtime.atomic import atomic_write

INDEX = "ranked_lists.jsonl"


@dataclass(frozen=True)
class Found:
    """A gallery picture of a ranked list; `right` if it shows the query's identity."""

    path: Path
    identity: int
    right: bool
    similarity: float


@dataclass(frozen=True)
class RankedList:
    """The pictures found for a query, nearest first; the query is a path or a caption."""

    query: Path | str
    identity: int
    found: Sequence[Found]


def ranked_lists(
    query: Tensor,
    gallery: Tensor,
    *,
    query_ids: Tensor,
    gallery_ids: Tensor,
    queries: Sequence[Path | str],
    paths: Sequence[Path],
    query_cams: Tensor | None = None,
    gallery_cams: Tensor | None = None,
    count: int = 10,
) -> list[RankedList]:
    """The first `count` pictures for each of a few queries, ranked as by `rank_features`.

    Args:
        query, gallery: features (Q, D) and (G, D), L2-normalised.
        query_ids, gallery_ids: identities (Q,) and (G,), int64.
        queries: Q paths or captions.
        paths: those of the G pictures.
        query_cams, gallery_cams: cameras (Q,) and (G,), int64.
    """
    labels = query_ids, gallery_ids, query_cams, gallery_cams
    rows = zip(
        *(block.tolist() for block in nearest(query, gallery, *labels, count=count)), strict=True
    )
    identities: list[int] = gallery_ids.tolist()
    lists = []
    for shown, identity, row in zip(queries, query_ids.tolist(), rows, strict=True):
        found = tuple(
            Found(paths[index], identities[index], identities[index] == identity, similarity)
            for index, similarity in zip(*row, strict=True)
            if index >= 0
        )
        lists.append(RankedList(shown, identity, found))
    return lists


def write_ranked_lists(folder: Path, lists: Mapping[str, Sequence[RankedList]]) -> None:
    """Draw the lists of each group, `sample-01.jpg`, `sample-02.jpg`, ... for `sample`, and write
    their contents to `ranked_lists.jsonl`, one list a line. Each file is written atomically.

    Raises:
        InputError: if the folder cannot be written or a picture cannot be read.
    """
    index = []
    for group, ranked_of_group in lists.items():
        for number, ranked in enumerate(ranked_of_group, 1):
            name = f"{group}-{number:02}.jpg"
            jpeg = BytesIO()
            draw_ranked_list(ranked).save(jpeg, "JPEG", quality=90, subsampling=0)
            _write(folder / name, jpeg.getvalue())
            index.append(_index_line(name, ranked))
    # Half a surrogate pair in a path is not text; it is escaped as JSON escapes it.
    _write(folder / INDEX, "".join(index).encode("utf-8", "backslashreplace"))


def draw_ranked_list(ranked: RankedList) -> Image.Image:
    """The query, a gap, and the pictures found, in cells of one size.

    Right pictures are framed in green with a check mark beside their rank, wrong ones in red with a
    cross; below is the similarity.

    Raises:
        InputError: if a picture cannot be read.
    """
    found = [read_picture(item.path) for item in ranked.found]
    query = None if isinstance(ranked.query, str) else read_picture(ranked.query)
    width = cell_width([*found, *([query] if query else [])])
    query_width = width if query else CAPTION_WIDTH
    start = MARGIN + query_width + 3 * GAP
    end = start + len(found) * (width + GAP) - GAP
    sheet = Image.new("RGB", (end + MARGIN, 2 * MARGIN + HEIGHT + 2 * LINE), PAPER)

    box = MARGIN, MARGIN, MARGIN + query_width, MARGIN + HEIGHT
    if query:
        draw_picture(sheet, box, query, GREY)
    else:
        draw_caption(sheet, box, str(ranked.query))
    draw_labels(sheet, box, "query", f"identity {ranked.identity}")
    for rank, (item, picture) in enumerate(zip(ranked.found, found, strict=True), 1):
        left = start + (rank - 1) * (width + GAP)
        box = left, MARGIN, left + width, MARGIN + HEIGHT
        colour = RIGHT if item.right else WRONG
        draw_picture(sheet, box, picture, colour)
        draw_labels(sheet, box, str(rank), f"{item.similarity:.3f}", colour)
    return sheet


def _index_line(name: str, ranked: RankedList) -> str:
    kind = "caption" if isinstance(ranked.query, str) else "picture"
    found = [{"rank": rank, **asdict(item)} for rank, item in enumerate(ranked.found, 1)]
    row = {"file": name, kind: ranked.query, "identity": ranked.identity, "found": found}
    return json.dumps(row, ensure_ascii=False, default=str) + "\n"


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot write {file} ({error}); choose another folder") from error
