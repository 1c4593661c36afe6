"""Ranked lists, drawn: a query and the nearest gallery pictures, nearest first."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from itertools import islice
from pathlib import Path

from PIL import Image
from torch import Tensor

from errors import InputError
from misc.datasets.pictures import read_content, read_picture
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
Place = tuple[int, int, float]  # rank, gallery index, similarity
MISSED = 5  # right pictures drawn that are not among the first


@dataclass(frozen=True)
class Found:
    """A gallery picture of a ranked list; `right` if it shows the query's identity."""

    rank: int  # from 1
    path: Path
    identity: int
    right: bool
    similarity: float


@dataclass(frozen=True)
class RankedList:
    """The pictures found for a query, nearest first.

    Args:
        query: a path or a caption.
        found: the first few.
        matches: all right ones.
        language: of the caption, where a dataset has several.
    """

    query: Path | str
    identity: int
    found: Sequence[Found]
    matches: Sequence[Found] = ()
    language: str | None = None

    @property
    def missed(self) -> list[Found]:
        """The right pictures that are not among the first few."""
        ranks = {item.rank for item in self.found}
        return [item for item in self.matches if item.rank not in ranks]


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
    """The first `count` pictures for each of a few queries, and all right ones, ranked as by
    `rank_features`.

    Of pictures whose files are the same, the first is in the list; the ranks count all.

    Args:
        query, gallery: features (Q, D) and (G, D), L2-normalised.
        query_ids, gallery_ids: identities (Q,) and (G,), int64.
        queries: Q paths or captions.
        paths: those of the G pictures.
        query_cams, gallery_cams: cameras (Q,) and (G,), int64.

    Raises:
        InputError: a picture cannot be read.
    """
    labels = query_ids, gallery_ids, query_cams, gallery_cams
    order = nearest(query, gallery, *labels, count=len(gallery))
    indices, similarities = (block.tolist() for block in order)
    rows = zip(queries, query_ids.tolist(), indices, similarities, strict=True)
    identities: list[int] = gallery_ids.tolist()
    digest = cache(lambda index: _digest(paths[index]))
    lists = []
    for shown, identity, own, values in rows:
        ranked = enumerate(zip(own, values, strict=True), 1)
        counted = [(rank, index, value) for rank, (index, value) in ranked if index >= 0]
        right = [place for place in counted if identities[place[1]] == identity]
        found, matches = (
            tuple(
                Found(rank, paths[index], identities[index], identities[index] == identity, value)
                for rank, index, value in kept
            )
            for kept in (islice(_distinct(counted, digest), count), _distinct(right, digest))
        )
        lists.append(RankedList(shown, identity, found, matches))
    return lists


def _distinct(places: Iterable[Place], digest: Callable[[int], bytes]) -> Iterator[Place]:
    """The places without those whose files are the same as that of one before."""
    seen = set()
    for place in places:
        content = digest(place[1])
        if content not in seen:
            seen.add(content)
            yield place


def _digest(file: Path) -> bytes:
    return hashlib.blake2b(read_content(file), digest_size=16).digest()


def write_ranked_lists(folder: Path, lists: Mapping[str, Sequence[RankedList]]) -> list[Path]:
    """Draw the lists of each group, `sample-01.jpg`, `sample-02.jpg`, ... for `sample`, and write
    their contents to `ranked_lists.jsonl`, one list a line. Each file is written atomically.

    Returns:
        The pictures' files.

    Raises:
        InputError: if the folder cannot be written or a picture cannot be read.
    """
    index, files = [], []
    for group, ranked_of_group in lists.items():
        for number, ranked in enumerate(ranked_of_group, 1):
            file = folder / f"{group}-{number:02}.jpg"
            jpeg = BytesIO()
            draw_ranked_list(ranked).save(jpeg, "JPEG", quality=90, subsampling=0)
            _write(file, jpeg.getvalue())
            files.append(file)
            index.append(_index_line(file.name, ranked))
    # Half a surrogate pair in a path is not text; it is escaped as JSON escapes it.
    _write(folder / INDEX, "".join(index).encode("utf-8", "backslashreplace"))
    return files


def draw_ranked_list(ranked: RankedList) -> Image.Image:
    """The query, a gap, the pictures found, a gap, and right pictures that are not among them.

    All are in cells of one size. Right pictures are framed in green with a check mark beside their
    rank, wrong ones in red with a cross; below is the similarity.

    Raises:
        InputError: if a picture cannot be read.
    """
    items = [*ranked.found, *ranked.missed[:MISSED]]
    pictures = [read_picture(item.path) for item in items]
    query = None if isinstance(ranked.query, str) else read_picture(ranked.query)
    width = cell_width([*pictures, *([query] if query else [])])
    query_width = width if query else CAPTION_WIDTH
    start = MARGIN + query_width + 3 * GAP
    lefts = [start + place * (width + GAP) for place in range(len(ranked.found))]
    start += len(lefts) * (width + GAP) + 2 * GAP
    lefts += [start + place * (width + GAP) for place in range(len(items) - len(lefts))]
    end = max([MARGIN + query_width + 2 * GAP, *(left + width for left in lefts)])
    sheet = Image.new("RGB", (end + MARGIN, 2 * MARGIN + HEIGHT + 2 * LINE), PAPER)

    box = MARGIN, MARGIN, MARGIN + query_width, MARGIN + HEIGHT
    if query:
        draw_picture(sheet, box, query, GREY)
    else:
        draw_caption(sheet, box, str(ranked.query))
    draw_labels(sheet, box, "query", f"identity {ranked.identity}")
    for item, picture, left in zip(items, pictures, lefts, strict=True):
        box = left, MARGIN, left + width, MARGIN + HEIGHT
        colour = RIGHT if item.right else WRONG
        draw_picture(sheet, box, picture, colour)
        draw_labels(sheet, box, f"rank {item.rank}", f"{item.similarity:.3f}", colour)
    return sheet


def _index_line(name: str, ranked: RankedList) -> str:
    kind = "caption" if isinstance(ranked.query, str) else "picture"
    row = {
        "file": name,
        kind: ranked.query,
        **({"language": ranked.language} if ranked.language else {}),
        "identity": ranked.identity,
        "found": [asdict(item) for item in ranked.found],
        "matches": [asdict(item) for item in ranked.matches],
    }
    return json.dumps(row, ensure_ascii=False, default=str) + "\n"


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot write {file} ({error}); choose another folder") from error
