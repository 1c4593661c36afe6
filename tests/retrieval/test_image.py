"""Queries and gallery of a re-identification dataset, ranked by features that are known."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from misc.data.transforms import EvaluationTransform
from misc.datasets.reid import ReIDDataset
from misc.datasets.reid_published import ReIDPicture
from misc.evaluation import retrieval_metrics
from misc.reranking import k_reciprocal
from misc.retrieval.base import Loading, mean
from misc.retrieval.image import ImageRetrieval
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision

ALONE = Processes(0, 1, torch.device("cpu"))
PRECISION = Precision("fp32", ALONE.device)
LOADING = Loading(batch_size=3, num_workers=0, chunk=2)


class Pixels(nn.Module):
    """The pixels themselves; it remembers the cameras and views that it is given."""

    def encode_image(self, images: Tensor, *known: Tensor) -> Tensor:
        self.known = known
        return images.flatten(1) + 0.5


@pytest.fixture
def dataset(tmp_path) -> ReIDDataset:
    """Noise of 4 identities, three pictures of each, the first one a query."""
    rng = torch.Generator().manual_seed(1)
    pictures = []
    for identity in range(4):
        for number in range(3):
            file = tmp_path / f"{identity}_{number}.png"
            pixels = torch.randint(0, 255, (4, 2, 3), generator=rng, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(file)
            pictures.append(ReIDPicture(str(file), identity, camera=number % 2, view=identity))
    query, gallery = pictures[::3], [p for i, p in enumerate(pictures) if i % 3]
    return ReIDDataset("noise", pictures, query, gallery, num_cameras=2, num_views=4)


def retrieve(dataset: ReIDDataset, **settings) -> ImageRetrieval:
    return ImageRetrieval(dataset, EvaluationTransform((4, 2), "half"), loading=LOADING, **settings)


def read(pictures: list[ReIDPicture]) -> Tensor:
    transform = EvaluationTransform((4, 2), "half")
    images = [transform(Image.open(picture.path)) for picture in pictures]
    return torch.stack(images)


def known(pictures: list[ReIDPicture]) -> tuple[Tensor, Tensor]:
    return torch.tensor([p.identity for p in pictures]), torch.tensor([p.camera for p in pictures])


def test_the_metrics_are_those_of_the_protocol(dataset):
    retrieval, model = retrieve(dataset), Pixels()
    encoded = retrieval.encode(model, ALONE, PRECISION)
    query, gallery = (
        F.normalize(model.encode_image(read(side)), dim=1)
        for side in (dataset.query, dataset.gallery)
    )
    torch.testing.assert_close(encoded[0], torch.cat([query, gallery]))
    (query_ids, query_cams), (gallery_ids, gallery_cams) = map(
        known, (dataset.query, dataset.gallery)
    )
    known_of = query_ids, gallery_ids, query_cams, gallery_cams
    expected = retrieval_metrics(query @ gallery.T, *known_of)
    assert retrieval.rank(encoded, ALONE).results["image to image"] == pytest.approx(expected)

    def rerank(query: Tensor, gallery: Tensor) -> Tensor:
        return k_reciprocal(query, gallery, 3, 2, 0.3)

    results = retrieval.rank(encoded, ALONE, rerank).results
    expected = retrieval_metrics(-rerank(query, gallery), *known_of)
    assert results["image to image, re-ranked"] == pytest.approx(expected)


def test_a_model_is_given_the_cameras_that_it_knows(dataset):
    model = Pixels()
    retrieve(dataset).encode(model, ALONE, PRECISION)  # the last batch is remembered
    assert [tensor.tolist() for tensor in model.known] == [[0, 1, 0], [2, 3, 3]]
    retrieve(dataset, knows_cameras=False).encode(model, ALONE, PRECISION)
    assert model.known == ()


def test_a_mirror_image_counts_as_much(dataset):
    encoded = retrieve(dataset, flip=True).encode(Pixels(), ALONE, PRECISION)[0]
    images = read([*dataset.query, *dataset.gallery])
    features = (images + images.flip(-1)).flatten(1) / 2 + 0.5
    torch.testing.assert_close(encoded, F.normalize(features, dim=1))


def test_drawn_galleries_are_averaged_over(dataset):
    drawn = ReIDDataset(
        "drawn", (), dataset.query, dataset.gallery, num_cameras=1, num_views=1, num_draws=5
    )
    model = Pixels()
    retrieval = retrieve(drawn, seed=3)
    expected = []
    for number in range(5):
        query, gallery = drawn.draw(3, number)
        assert (len(query), len(gallery)) == (8, 4)
        similarity = F.normalize(model.encode_image(read(query)), dim=1) @ (
            F.normalize(model.encode_image(read(gallery)), dim=1).T
        )
        expected.append(retrieval_metrics(similarity, known(query)[0], known(gallery)[0]))
    assert len({row["mAP"] for row in expected}) > 1
    ranked = retrieval.rank(retrieval.encode(model, ALONE, PRECISION), ALONE)
    results = ranked.results["image to image"]
    assert results == pytest.approx(mean(expected))
    curve = ranked.cmc()["image to image"]
    assert [curve[0], curve[4]] == pytest.approx([results["R1"], results["R5"]])


@pytest.mark.parametrize("knows_cameras", [True, False])
def test_similarities_are_those_of_the_protocol(dataset, knows_cameras):
    """A picture of the query's identity and camera is neither a match nor another pair."""
    if not knows_cameras:
        dataset = replace(dataset, num_cameras=0)
    retrieval = retrieve(dataset)
    counted = retrieval.similarities(retrieval.encode(Pixels(), ALONE, PRECISION), ALONE.device)
    pairs = [(query, picture) for query in dataset.query for picture in dataset.gallery]
    same = [pair for pair in pairs if pair[0].identity == pair[1].identity]
    matches = [pair for pair in same if not knows_cameras or pair[0].camera != pair[1].camera]
    assert int(counted.matches.sum()) == len(matches)
    assert int(counted.others.sum()) == len(pairs) - len(same)
    assert counted.gallery_size == len(dataset.gallery)


def test_the_worst_queries_are_shown_with_what_they_find(dataset):
    retrieval = retrieve(dataset)
    encoded = retrieval.encode(Pixels(), ALONE, PRECISION)
    ranked = retrieval.rank(encoded, ALONE)
    lists = retrieval.ranked_lists(encoded, ranked, ALONE.device, count=2, seed=1)
    assert {group: len(found) for group, found in lists.items()} == {"sample": 2, "worst": 2}
    queries = {picture.path: picture for picture in dataset.query}
    for ranked in (*lists["sample"], *lists["worst"]):
        query = queries[str(ranked.query)]
        others = {p.path for p in dataset.gallery} - {
            p.path
            for p in dataset.gallery
            if (p.identity, p.camera) == (query.identity, query.camera)
        }
        assert {str(found.path) for found in ranked.found} == others
        for found in ranked.found:
            assert found.right is (Path(found.path).name[0] == Path(query.path).name[0])
