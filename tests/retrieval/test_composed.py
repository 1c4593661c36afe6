"""Composed retrieval: one feature a picture, metrics by hand, the weight that is best."""

import pytest
import torch
from torch import Tensor

from misc.datasets.composed import ComposedPicture, ComposedSplit
from misc.retrieval.composed import (
    ComposedFeatures,
    choose_weight,
    encode_composed,
)
from misc.retrieval.parts import Parts, weighted_sum

PERSON, COAT, BAG = torch.eye(4)[:3]


def unit(*features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(torch.stack(features), dim=-1)


@pytest.fixture
def features() -> ComposedFeatures:
    """Two queries of one person: in a coat, and with a bag; the gallery has the person as before,
    the two targets, and strangers in a coat and with a bag.
    """
    return ComposedFeatures(
        parts=Parts(4),
        image=unit(PERSON, PERSON),
        text=unit(COAT, BAG),
        ids=torch.tensor([5, 6]),
        gallery=unit(PERSON, PERSON + COAT, PERSON + BAG, COAT, BAG),
        gallery_ids=torch.tensor([-1, 5, 6, -1, -1]),
    )


def test_metrics_by_hand(features):
    alone = features.evaluate(lambda image, text: image)
    # The unchanged person is first; then both targets, of which the first in the gallery leads.
    assert (alone["R1"], alone["R5"]) == (0, 100)
    assert alone["mAP"] == pytest.approx(100 * (1 / 2 + 1 / 3) / 2)
    words = features.evaluate(lambda image, text: text)
    assert words["mAP"] == pytest.approx(100 / 2)  # the stranger is first
    both = features.evaluate(lambda image, text: weighted_sum(image, text, 0.5))
    assert (both["R1"], both["mAP"]) == (100, 100)


def test_the_least_weight_with_the_best_map_is_chosen(features):
    weight = choose_weight(features)
    assert features.evaluate(lambda i, t: weighted_sum(i, t, weight))["mAP"] == 100
    less = features.evaluate(lambda i, t: weighted_sum(i, t, weight - 0.05))
    assert less["mAP"] < 100


def test_a_reference_is_encoded_once():
    encoded = []

    def encode(items: list[str]) -> Tensor:
        encoded.append(items)
        return torch.tensor([[float(len(item)), 1.0] for item in items])

    def picture(path: str, instance: int, text: str = "") -> ComposedPicture:
        return ComposedPicture("test", path, instance, text, "")

    split = ComposedSplit(
        [picture("bbb", 1, "x"), picture("a", 2, "xx"), picture("bbb", 3, "xxx")],
        [picture("cc", 3), picture("d", 1), picture("ee", 2)],
    )
    features = encode_composed(split, encode, encode, Parts(2))
    assert encoded == [["bbb", "a"], ["x", "xx", "xxx"], ["cc", "d", "ee"]]
    assert features.image[:, 0].tolist() == [3, 1, 3]
    assert features.text[:, 0].tolist() == [1, 2, 3]
    assert features.ids.tolist() == [1, 2, 3]
    assert features.gallery[:, 0].tolist() == [2, 1, 2]
    assert features.gallery_ids.tolist() == [3, 1, 2]
