"""An index of pictures, to be searched with the model that made it."""

import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from errors import InputError
from misc.calibration import Calibration, QueryCalibration
from misc.reranking import k_reciprocal
from misc.retrieval.calibration import FILE as CALIBRATION
from misc.runtime.distributed import Processes
from misc.search.about import About
from misc.search.hit import Hit
from misc.search.lock import writing
from misc.search.person_search import PersonSearch
from misc.search.query import Kind, Query
from misc.search.table import PictureTable
from misc.search.updating import PathPatterns, Update, apply, plan_update
from misc.search.vectors import Found, Vectors

RERANKED = 100  # best hits that re-ranking puts in order


class Index:
    """An index of pictures and the model that encoded them.

    Args:
        table: its pictures.
        about: its description.
        people: the model.

    Raises:
        InputError: the index is of another model.
    """

    def __init__(self, table: PictureTable, about: About, people: PersonSearch) -> None:
        if about.model_hash != people.encoder.model_hash:
            raise InputError(
                f"the index {table.location} was made with another model, {about.checkpoint} "
                f"({about.model_hash[:12]}), and not with {people.checkpoint.file} "
                f"({people.encoder.model_hash[:12]}); give the former, or make a new index"
            )
        self.table, self.about, self.people = table, about, people
        self._vectors: Vectors | None = None

    @classmethod
    def open(cls, location: str, people: PersonSearch, *, half: bool = False) -> Self:
        """The index at a location, a new one if there is none; see `PersonSearch.index`."""
        made = False
        if people.processes.is_main and not PictureTable.exists(location):
            with writing(location):
                if not PictureTable.exists(location):  # no other process has just made it
                    about = _describe(people).to_json()
                    PictureTable.create(location, people.width, half=half, about=about)
            made = True
        people.processes.share(made)  # wait until it is there
        table = PictureTable(location)
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
        workers: int | None = None,
    ) -> Update:
        """Bring the pictures of a folder into the index.

        New and changed files are encoded, files that are gone are dropped, and the rest is left.
        The processes share the work. Fields of `crops.jsonl` files are taken over.

        Args:
            camera, time: regular expressions that read these out of a path, by their first group;
                None: those of the last time.
            batch_size: pictures that a process encodes at once, and that an interruption loses.
            workers: processes that read pictures; None: as many as there are cores, up to 8.

        Raises:
            InputError: the folder has no pictures, a pattern is wrong, another process is writing,
                or the index cannot be written.
        """
        loading = self.people.loading
        loading = replace(
            loading,
            batch_size=batch_size or loading.batch_size,
            num_workers=min(8, os.cpu_count() or 1) if workers is None else workers,
        )
        about = replace(
            self.about, camera=camera or self.about.camera, time=time or self.about.time
        )
        patterns = PathPatterns(_compile(about.camera), _compile(about.time))
        processes = self.people.processes
        with writing(self.table.location) if processes.is_main else nullcontext():
            plan = None
            if processes.is_main:
                plan = plan_update(Path(images_folder), self.table.metadata(), patterns)
                self._save(about)
            plan = processes.share(plan)
            assert plan is not None
            return apply(plan, self.table, self.people, loading)

    def set_calibration(self, calibration: Calibration) -> None:
        """Store a calibration of the index's model."""
        with writing(self.table.location):
            self._save(replace(self.about, calibration=calibration.to_tree()))

    def set_false_alarms(self, share: float) -> None:
        """Store the share of searches in vain that may be answered with a match."""
        with writing(self.table.location):
            self._save(replace(self.about, false_alarms=share))

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
            exact: compare with every picture; False: by the approximate index.
            threshold: of a match; None: that of the calibration.

        Raises:
            InputError: there is nothing to search for, the picture cannot be read, the model reads
                no text, or the condition cannot be understood.
        """
        query = Query(text, image, weight)
        if threshold is None:
            threshold = self.threshold(query.kind)
        feature, vectors = query.encode(self.people), self._latest()
        find = vectors.search if exact else vectors.search_approximately

        def search(number: int) -> list[Hit]:
            found = find(feature, max(number, RERANKED) if rerank else number, where)
            if rerank:
                found = _rerank(found, feature, vectors.table)
            return _hits(found, vectors.table, threshold)

        hits = _of_tracks(search, top) if per_track else search(top)
        return hits[:top]

    def threshold(self, kind: Kind | None, false_alarms: float | None = None) -> float | None:
        """The score from which on a best hit counts as a match; None if it is not calibrated.

        Args:
            false_alarms: the share of searches in vain that are answered wrongly; None: that of
                the index.
        """
        calibrated = self.calibrated(kind)
        if calibrated is None or not len(self):
            return None
        return calibrated.threshold(false_alarms or self.about.false_alarms, len(self))

    def calibrated(self, kind: Kind | None) -> QueryCalibration | None:
        """The calibration for a kind of query, if there is one."""
        if kind is None or self.about.calibration is None:
            return None
        return Calibration.from_tree(self.about.calibration).kinds.get(kind)

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
) -> Index:
    """An index that exists, with its model.

    Args:
        checkpoint: None: the one that the index was made with, where it was then.
        device, processes: as of `PersonSearch`.

    Raises:
        InputError: there is no index, its checkpoint is not there, or is of another model.
    """
    if not PictureTable.exists(location):
        raise InputError(f"{location} is not an index; make one with `search.py index`")
    table = PictureTable(location)
    about = About.from_json(table.about, location)
    path = Path(checkpoint or about.checkpoint)
    if not path.exists():
        raise InputError(
            f"the model {path} of the index {location} does not exist; give --checkpoint"
        )
    return Index(table, about, PersonSearch(path, device, config=about.recipe, processes=processes))


def _describe(people: PersonSearch) -> About:
    """The description of a new index; a calibration of the run goes along."""
    file = people.checkpoint.file.resolve()
    calibration = None
    if (file.parent / CALIBRATION).is_file():
        found = Calibration.load(file.parent / CALIBRATION)
        if found.model_hash == people.encoder.model_hash:
            calibration = found.to_tree()
    return About(
        people.encoder.model_hash,
        str(file),
        None if people.recipe is None else str(people.recipe.resolve()),
        people.width,
        false_alarms=people.config.evaluation.false_alarms or About.false_alarms,
        calibration=calibration,
    )


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


def _of_tracks(search: Callable[[int], list[Hit]], top: int) -> list[Hit]:
    """The best hit of each track."""
    number = 4 * top
    while True:
        found = search(number)
        best: dict[object, Hit] = {}
        for hit in found:
            best.setdefault(hit.path if hit.track is None else (hit.video, hit.track), hit)
        if len(best) >= top or len(found) < number:
            return list(best.values())
        number *= 4


def _rerank(found: Found, query: Tensor, table: PictureTable) -> Found:
    """The best hits in the order of k-reciprocal re-ranking (Zhong et al. 2017)."""
    if not len(found.rows):
        return found
    gallery = table.take_features(found.rows[:RERANKED]).float()
    order = k_reciprocal(query[None], gallery)[0].argsort(stable=True)
    order = torch.cat([order, torch.arange(len(order), len(found.rows))])
    return Found(found.rows[np.asarray(order)], found.scores[order])
