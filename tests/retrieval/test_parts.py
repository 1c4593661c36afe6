"""Queries of pictures that have one embedding, or one for sentences and one for other pictures."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from misc.retrieval.calibration import calibrate
from misc.retrieval.features import Features, load_features, save_features
from misc.retrieval.parts import Parts

ONE, TWO = Parts(6), Parts(6, words=2, spread=0.1)


def unit(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def gallery(count: int, seed: int = 0) -> Tensor:
    """Pictures with two embeddings."""
    return torch.cat([unit(count, 2, seed=seed), unit(count, 4, seed=seed + 1)], dim=1)


def test_one_embedding_serves_all_queries():
    text, picture, pictures = unit(3, 6, seed=0), unit(3, 6, seed=1), unit(5, 6, seed=2)
    assert ONE.query(text, None, 0.3) == (text, 0)
    assert ONE.query(None, picture, 0.3) == (picture, 0)
    both = F.normalize(0.3 * text + 0.7 * picture, dim=-1)
    torch.testing.assert_close(ONE.query(text, picture, 0.3).features, both)
    query, same = ONE.comparable(text[0], pictures)
    assert torch.equal(query, text[0])
    assert torch.equal(same, pictures)


def test_of_two_embeddings_words_ask_the_first_and_a_picture_the_second():
    text, picture, pictures = unit(3, 2, seed=4), gallery(3, seed=5), gallery(5)
    by_words = text @ pictures[:, :2].T
    by_picture = 1 - (1 - picture[:, 2:] @ pictures[:, 2:].T) / 0.1
    for query, scores in (
        (TWO.query(text, None, 0.3), by_words),
        (TWO.query(None, picture, 0.3), by_picture),
        (TWO.query(text, picture, 0.3), 0.3 * by_words + 0.7 * by_picture),
        (TWO.query(text, picture, 0), by_picture),
        (TWO.query(text, picture, 1), by_words),
    ):
        torch.testing.assert_close(query.features @ pictures.T + query.offset, scores)
    assert TWO.query(text[0], picture[0], 0.3).features.shape == (6,)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_distances_are_comparable_among_pictures_and_with_the_query(weight):
    pictures = gallery(5)
    query = TWO.query(unit(2, seed=7), gallery(1, seed=8)[0], weight)
    own, theirs = TWO.comparable(query.features, pictures)
    lacking = 1 - (pictures @ query.features + query.offset)
    torch.testing.assert_close((own - theirs).square().sum(dim=1), 2 * lacking)
    among, offset = TWO.query(pictures[:, :2], pictures, weight)
    squared = (theirs[:, None] - theirs).square().sum(dim=2)
    lacking = 1 - (among @ pictures.T + offset)
    torch.testing.assert_close(squared, 2 * lacking, rtol=1e-4, atol=1e-5)


def test_each_kind_of_query_is_calibrated_by_its_own_embedding(tmp_path):
    """People are told apart by words alone, or by a picture alone."""
    ids = torch.arange(8).repeat_interleave(2)
    codes = F.normalize(torch.eye(8)[ids] + 0.1, dim=1)  # a person's two pictures are alike
    same = F.normalize(torch.ones(16, 8), dim=1)
    for words, pictures, kept in ((codes, same, (1, 0)), (same, codes, (0, 1))):
        features = Features(
            image=torch.cat([words, pictures], dim=1),
            text=codes,
            image_ids=ids,
            text_ids=ids.clone(),
            image_paths=tuple(map(str, range(16))),
            captions=tuple(map(str, range(16))),
            model_hash="hash",
            parts=Parts(16, 8, spread=0.5),
        )
        save_features(tmp_path / "features.safetensors", features)
        kinds = calibrate(load_features(tmp_path / "features.safetensors")).kinds
        assert (kinds["words"].kept(), kinds["picture"].kept()) == kept
        assert kinds["both"].kept() == 1
