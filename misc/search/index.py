"""An index of pictures, to be searched with the model that made it."""

import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Self

from PIL import Image

from errors import InputError
from misc.calibration import Calibration, QueryCalibration
from misc.runtime.distributed import Processes
from misc.search.about import About, check_model, describe
from misc.search.hit import Hit
from misc.search.lock import writing
from misc.search.ordering import RERANKED, best_of_tracks, rerank_best
from misc.search.person_search import PersonSearch
from misc.search.query import Query
from misc.search.table import PictureTable
from misc.search.updating import PathPatterns, Plan, Update, apply, plan_update
from misc.search.vectors import Found, Vectors

# Features in float16 turn cosine similarities by some 3e-5; scores keep three digits.
LEAST_HALF_SPREAD = 0.05


class Index:
    """An index of pictures and the model that encoded them.

    Args:
        table: its pictures.
        about: its description.
        people: the model.

    Raises:
        InputError: the index is of another model, or of the same with other settings.
    """

    def __init__(self, table: PictureTable, about: About, people: PersonSearch) -> None:
        check_model(about, table.location, people)
        self.table, self.about, self.people = table, about, people
        self._vectors: Vectors | None = None

    @classmethod
    def open(cls, location: str, people: PersonSearch, *, half: bool = False) -> Self:
        """The index at a location, a new one if there is none; see `PersonSearch.index`."""
        parts = people.parts
        if half and parts.spread < LEAST_HALF_SPREAD:
            raise InputError(
                f"{people.file} has features of pictures that differ by {parts.spread:.2g} only "
                "(1 - cosine), too little for float16: make the index without --half"
            )
        made = False
        if people.processes.is_main and not PictureTable.exists(location):
            with writing(location):
                if not PictureTable.exists(location):  # no other process has just made it
                    about = describe(people).to_json()
                    PictureTable.create(location, people.width, half=half, about=about)
            made = True
        people.processes.share(made)  # wait until it is there
        table = _open_table(location, half=half)
        return cls(table, About.from_json(table.about, location), people)

    def __len__(self) -> int:
        return len(self.table)

    def add(
        self,
        images_folder: str | Path,
        *,
        camera: str | None = None,
        time: str | None = None,
        batch_size: int | None = None,
        workers: int = 0,
    ) -> Update:
        """Add the pictures of a folder to the index, or update them.

        New and changed files are encoded, files that are gone are dropped, and the rest is left.
        The processes share the work. Fields of `crops.jsonl` files are taken over.

        Args:
            camera, time: regular expressions that read these out of a path, by their first group,
                from the folder's own name on; None: those of the last time, "": none.
            batch_size: pictures that a process encodes at once, and that an interruption loses.
            workers: further processes that read pictures. They are spawned, so the main script
                needs `if __name__ == "__main__"`.

        Raises:
            InputError: the folder has no pictures, a pattern is wrong, another process is writing,
                or the index cannot be written.
        """
        loading = self.people.loading
        loading = replace(
            loading,
            batch_size=batch_size or loading.batch_size,
            num_workers=workers,
        )
        processes = self.people.processes
        with writing(self.table.location) if processes.is_main else nullcontext():
            plan = None
            if processes.is_main:
                plan = self._plan(Path(images_folder), camera=camera, time=time)
            plan = processes.share(plan)
            assert plan is not None
            return apply(plan, self.table, self.people, loading)

    def remove(self, images_folder: str | Path) -> int:
        """Drop all pictures of a folder, whether or not it still exists; returns their number.

        Raises:
            InputError: the index has none of it, or cannot be written.
        """
        folder = Path(images_folder).resolve().as_posix()
        with writing(self.table.location):
            about = self._current()
            gone = [path for path in self.table.metadata() if path.startswith(f"{folder}/")]
            if not gone:
                known = ", ".join(about.folders) or "none"
                raise InputError(
                    f"the index {self.table.location} has no pictures of {folder}; its folders: "
                    f"{known}"
                )
            self.table.remove(gone)
            self.table.compact()
            kept = {name: each for name, each in about.folders.items() if name != folder}
            self._save(replace(about, folders=kept))
        return len(gone)

    def set_calibration(self, calibration: Calibration) -> None:
        """Store a calibration of the index's model; kinds of query that it lacks stay."""
        with writing(self.table.location):
            about = self._current()
            if about.calibration is not None:
                calibration = Calibration.from_tree(about.calibration).updated(calibration)
            self._save(replace(about, calibration=calibration.to_tree()))

    def set_false_alarms(self, share: float) -> None:
        """Store the allowed share of false alarms."""
        with writing(self.table.location):
            self._save(replace(self._current(), false_alarms=share))

    def search(
        self,
        text: str | None = None,
        image: str | Path | Image.Image | None = None,
        top: int = 10,
        where: str | None = None,
        *,
        weight: float = Query.weight,
        per_track: bool = False,
        rerank: bool = False,
        exact: bool = True,
        threshold: float | None = None,
    ) -> list[Hit]:
        """The pictures most similar to a person, best first.

        Args:
            text: a description.
            image: a file, or a picture in memory.
            top: hits at most.
            where: a condition on the columns of the index, in SQL.
            weight: of the words, from 0 to 1, where there is a picture as well.
            per_track: only the best hit of each track; pictures without one all count.
            rerank: put the best 100 in the order of k-reciprocal re-ranking; scores stay.
            exact: compare with every picture; False: by the approximate index, unless there is a
                picture and the index has an embedding of its own for it.
            threshold: of a match; None: that of the calibration.

        Raises:
            InputError: there is nothing to search for, the picture cannot be read, the model reads
                no text, or the condition cannot be understood.
        """
        if top < 1:
            raise InputError(f"top is {top}; give at least 1")
        query = Query(text, image, weight)
        if threshold is None:
            threshold = self.threshold(query.kind, where=where)
        asked, vectors = query.encode(self.people), self._latest()
        # A bit for each value does not tell features apart that are nearly the same.
        if image is not None and self.people.parts.words is not None:
            exact = True
        find = vectors.search if exact else vectors.search_approximately

        def search(number: int) -> list[Hit]:
            found = find(asked.features, max(number, RERANKED) if rerank else number, where)
            if rerank:
                found = rerank_best(found, asked.features, vectors.table, self.people.parts)
            found = found._replace(scores=found.scores + asked.offset)
            return _hits(found, vectors.table, threshold)

        hits = best_of_tracks(search, top) if per_track else search(top)
        return hits[:top]

    def threshold(
        self,
        kind: str,
        false_alarms: float | None = None,
        where: str | None = None,
    ) -> float | None:
        """The score from which on a best hit counts as a match; None if it is not calibrated.

        Args:
            false_alarms: the allowed share of them; None: that of the index.
            where: a condition on the pictures that are searched.

        Raises:
            InputError: the condition cannot be understood.
        """
        number, calibrated = self.table.count(where), self.calibrated(kind)
        if calibrated is None or not number:
            return None
        return calibrated.threshold(false_alarms or self.about.false_alarms, number)

    def calibrated(self, kind: str) -> QueryCalibration | None:
        """The calibration for a kind of query, if there is one; that of both is of their sum."""
        is_fused = kind.startswith("both") and self.people.fusion is not None
        if is_fused or self.about.calibration is None:
            return None
        return Calibration.from_tree(self.about.calibration).kinds.get(kind)

    def _plan(self, folder: Path, *, camera: str | None, time: str | None) -> Plan:
        """The update of a folder; the patterns that it uses are kept."""
        about, name = self._current(), folder.resolve().as_posix()
        kept = about.folders.get(name, {"camera": None, "time": None})
        given = {"camera": camera, "time": time}
        used = {key: kept[key] if given[key] is None else given[key] or None for key in kept}
        patterns = PathPatterns(*map(_compile, used.values()))
        plan = plan_update(folder, self.table.metadata(), patterns)
        self._save(replace(about, folders={**about.folders, name: used}))
        return plan

    def _current(self) -> About:
        """The description as it is now; another process may have changed it."""
        self.about = About.from_json(self.table.about, self.table.location)
        return self.about

    def _save(self, about: About) -> None:
        if about != self.about:
            self.table.about = about.to_json()
            self.about = about

    def _latest(self) -> Vectors:
        """The features of the latest commit."""
        version = self.table.version
        if self._vectors is None or self._vectors.version != version:
            self._vectors = Vectors(self.table.at(version))
        return self._vectors


def open_index(
    location: str,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    processes: Processes | None = None,
    fusion: str | Path | None = None,
    *,
    half: bool = False,
) -> Index:
    """An index that exists, with its model.

    Args:
        checkpoint: None: the one that the index was made with, where it was then.
        device, processes, fusion: as of `PersonSearch`.
        half: refuse an index whose features are float32.

    Raises:
        InputError: there is no index, its checkpoint is not there, or is of another model, or its
            features are float32 against `half`.
    """
    if not PictureTable.exists(location):
        raise InputError(f"{location} is not an index; make one with `search.py index`")
    table = _open_table(location, half=half)
    about = About.from_json(table.about, location)
    path = Path(checkpoint or about.checkpoint)
    if not path.exists():
        raise InputError(
            f"the model {path} of the index {location} does not exist; give --checkpoint"
        )
    people = PersonSearch(path, device, config=about.config, processes=processes, fusion=fusion)
    return Index(table, about, people)


def _open_table(location: str, *, half: bool) -> PictureTable:
    table = PictureTable(location)
    if half and table.bytes_per_value != 2:
        raise InputError(
            f"the index {location} has features in float32, which stay so; make a new index"
        )
    return table


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise InputError(f"{pattern!r} is not a regular expression ({error})") from None


def _hits(found: Found, table: PictureTable, threshold: float | None) -> list[Hit]:
    rows = [
        {name: value for name, value in row.items() if name not in ("size", "modified", "hash")}
        for row in table.take(found.rows)
    ]
    return [
        Hit(
            **{**row, "box": None if row["box"] is None else tuple(row["box"])},
            score=score,
            matched=None if threshold is None else score >= threshold,
        )
        for row, score in zip(rows, found.scores.tolist(), strict=True)
    ]
