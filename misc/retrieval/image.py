"""Image-to-image retrieval: the evaluation of re-identification."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from misc.data.reid import ReIDItems
from misc.datasets.reid import ReIDDataset
from misc.datasets.reid_published import ReIDPicture
from misc.retrieval.base import (
    Encoded,
    Loading,
    Ranked,
    Rerank,
    Retrieval,
    encode_items,
    mean,
    reranked_metrics,
)
from misc.retrieval.features import Features
from misc.retrieval.ranked_lists import RankedList, ranked_lists
from misc.retrieval.shared_ranking import rank_together
from misc.retrieval.similarities import Similarities, count_similarities
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from model.clip_reid import CLIPReID
from model.interface import ReIDBatch

DIRECTION = "image to image"


@dataclass(frozen=True)
class Side:
    """The queries or the gallery, with their labels."""

    rows: Tensor  # (N,), their rows in the encoded features
    ids: Tensor  # (N,), identities
    cameras: Tensor | None  # (N,); None: matches from the query's own camera count, too

    def to(self, device: torch.device) -> "Side":
        """The same tensors on a device."""
        cameras = None if self.cameras is None else self.cameras.to(device)
        return Side(self.rows.to(device), self.ids.to(device), cameras)


class ImageRetrieval(Retrieval[CLIPReID]):
    """The queries and the gallery of a re-identification dataset.

    Where galleries are drawn at random (VehicleID), the metrics are means over the draws.

    Args:
        knows_cameras: whether the model was trained with the dataset's cameras and views; otherwise
            it is not given them.
        flip: average the features of a picture and its mirror image.
        seed: of the drawn galleries.
    """

    query_kind = "picture"

    def __init__(
        self,
        dataset: ReIDDataset,
        transform: Callable[[Image.Image], Tensor],
        *,
        loading: Loading,
        knows_cameras: bool = True,
        flip: bool = False,
        seed: int = 0,
    ) -> None:
        self.pictures = [*dataset.query, *dataset.gallery]
        self.items = ReIDItems(self.pictures, transform)
        rows = {picture.path: row for row, picture in enumerate(self.pictures)}

        def side(pictures: Sequence[ReIDPicture]) -> Side:
            cameras = torch.tensor([picture.camera for picture in pictures])
            return Side(
                torch.tensor([rows[picture.path] for picture in pictures]),
                torch.tensor([picture.identity for picture in pictures]),
                cameras if dataset.has_cameras else None,
            )

        drawn = (dataset.draw(seed, number) for number in range(dataset.num_draws))
        self.draws = [(side(query), side(gallery)) for query, gallery in drawn]
        self.loading, self.knows_cameras, self.flip = loading, knows_cameras, flip

    def encode(self, model: CLIPReID, processes: Processes, precision: Precision) -> Encoded:
        """Normalised features (N, D) of the queries, then the gallery, on the CPU."""
        model.eval()

        def encode(batch: ReIDBatch) -> Tensor:
            known = (batch.cameras, batch.views) if self.knows_cameras else ()
            features = model.encode_image(batch.images, *known)
            if self.flip:
                features = (features + model.encode_image(batch.images.flip(-1), *known)) / 2
            return features

        features = encode_items(
            self.items, encode, processes=processes, precision=precision, loading=self.loading
        )
        return (F.normalize(features, dim=-1),)

    def rank(self, encoded: Encoded, processes: Processes, rerank: Rerank | None = None) -> Ranked:
        device = processes.device
        features = encoded[0].to(device)
        draws = ((query.to(device), gallery.to(device)) for query, gallery in self.draws)
        ranked = [self._rank(features, *draw, processes, rerank) for draw in draws]
        each = [draw.results for draw in ranked]
        results = {row: mean([found[row] for found in each]) for row in each[0]}
        return Ranked(results, {DIRECTION: [draw.rankings[DIRECTION][0] for draw in ranked]})

    def _rank(
        self,
        features: Tensor,
        query: Side,
        gallery: Side,
        processes: Processes,
        rerank: Rerank | None,
    ) -> Ranked:
        labels = (query.ids, gallery.ids, query.cameras, gallery.cameras)
        args = features[query.rows], features[gallery.rows], *labels
        ranking = rank_together(*args, chunk=self.loading.chunk, processes=processes)
        results = {DIRECTION: ranking.metrics()}
        if rerank:
            metrics = reranked_metrics(rerank, *args, processes=processes)
            results[f"{DIRECTION}, re-ranked"] = metrics
        return Ranked(results, {DIRECTION: [ranking]})

    def similarities(self, encoded: Encoded, device: torch.device) -> Similarities:
        """Similarities of the queries to the gallery, of the first draw."""
        features = encoded[0].to(device)
        query, gallery = (side.to(device) for side in self.draws[0])
        labels = (query.ids, gallery.ids, query.cameras, gallery.cameras)
        return count_similarities(features[query.rows], features[gallery.rows], *labels)

    def lists_of(
        self, encoded: Encoded, rows: Sequence[int], device: torch.device, count: int = 10
    ) -> list[RankedList]:
        """The ranked lists of some queries of the first draw."""
        features = encoded[0].to(device)
        query, gallery = (side.to(device) for side in self.draws[0])
        paths = [Path(picture.path) for picture in self.pictures]
        chosen = query.rows[rows]
        return ranked_lists(
            features[chosen],
            features[gallery.rows],
            query_ids=query.ids[rows],
            gallery_ids=gallery.ids,
            queries=[paths[row] for row in chosen.tolist()],
            paths=[paths[row] for row in gallery.rows.tolist()],
            query_cams=None if query.cameras is None else query.cameras[rows],
            gallery_cams=gallery.cameras,
            count=count,
        )

    def features(self, encoded: Encoded, model: CLIPReID) -> Features:
        image = encoded[0]
        return Features(
            image=image,
            text=image.new_empty(0, image.shape[1]),
            image_ids=torch.tensor([picture.identity for picture in self.pictures]),
            text_ids=torch.empty(0, dtype=torch.long),
            image_paths=tuple(picture.path for picture in self.pictures),
            captions=(),
            model_hash=model.encoder_hash(),
        )
