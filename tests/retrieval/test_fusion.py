"""A learned fusion: it learns what no sum can, and its file is for one model."""

import json
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from errors import InputError
from misc.retrieval.composed import WEIGHTS, ComposedFeatures
from misc.retrieval.fusion import METADATA, Fusion, _draw_targets, train_fusion
from misc.retrieval.parts import Parts, weighted_sum
from misc.runtime.seeding import Purpose, generator

WIDTH = 16


def unit(*size: int) -> torch.Tensor:
    return F.normalize(torch.randn(*size), dim=-1)


def draw_split(seed: int, number: int) -> ComposedFeatures:
    """Queries with one of 8 words, each of which stands for an addition unlike its own feature."""
    torch.manual_seed(9)
    words, additions = unit(8, WIDTH), unit(8, WIDTH)
    torch.manual_seed(seed)
    image, said = unit(number, WIDTH), torch.randint(8, (number,))
    noise = torch.randn(2, number, WIDTH) * 0.05
    targets = F.normalize(image + additions[said] + noise, dim=-1).flatten(0, 1)
    others = F.normalize(image + additions[(said + 1) % 8], dim=-1)  # after another change
    return ComposedFeatures(
        parts=Parts(WIDTH),
        image=image,
        text=words[said],
        ids=torch.arange(number),
        gallery=torch.cat([targets, others, image]),
        gallery_ids=torch.cat([torch.arange(number).repeat(2), torch.full((2 * number,), -1)]),
    )


@pytest.fixture(scope="module")
def fusion() -> Fusion:
    return train_fusion(draw_split(0, 1000), "model", seed=1)


def test_it_learns_what_no_sum_can(fusion):
    test = draw_split(1, 100)
    sums = [
        test.evaluate(lambda i, t, w=weight: weighted_sum(i, t, w))["mAP"] for weight in WEIGHTS
    ]
    assert test.evaluate(fusion)["mAP"] > max(sums) + 10


def test_a_seed_is_a_fusion():
    split = draw_split(0, 20)
    first, again, other = (train_fusion(split, "model", seed=s, epochs=2) for s in (3, 3, 4))
    query = first(split.image, split.text)
    assert torch.equal(query, again(split.image, split.text))
    assert not torch.equal(query, other(split.image, split.text))
    torch.testing.assert_close(query[0], first(split.image[0], split.text[0]))
    torch.testing.assert_close(query.norm(dim=-1), torch.ones(20))


def test_targets_are_drawn_among_those_of_the_instance():
    split = draw_split(0, 10)
    drawn = torch.stack(
        [_draw_targets(split, generator(0, Purpose.ORDER, epoch)) for epoch in range(20)]
    )
    assert (split.gallery_ids[drawn] == split.ids).all()
    assert all(len(own.unique()) == 2 for own in drawn.T)


def test_a_file_is_for_its_model(fusion, tmp_path):
    split = draw_split(2, 5)
    fusion.save(tmp_path / "fusion.safetensors")
    loaded = Fusion.load(tmp_path / "fusion.safetensors", "model")
    assert torch.equal(loaded(split.image, split.text), fusion(split.image, split.text))
    with pytest.raises(InputError, match="is a fusion for another model"):
        Fusion.load(tmp_path / "fusion.safetensors", "other")
    with pytest.raises(InputError, match="cannot write"):
        fusion.save(tmp_path / "no" / "fusion.safetensors")


def tensors(fusion: Fusion, change: Callable[[torch.Tensor], torch.Tensor]) -> dict:
    return {name: change(value) for name, value in fusion.combiner.state_dict().items()}


@pytest.mark.parametrize(
    ("width", "change"),
    [
        (10**7, torch.clone),  # of petabytes, if it were believed
        (WIDTH + 1, torch.clone),
        ("16", torch.clone),
        (WIDTH, torch.Tensor.half),
        (WIDTH, lambda tensor: tensor / 0),
    ],
)
def test_a_file_of_other_tensors_is_refused(fusion, tmp_path, width, change):
    file = tmp_path / "fusion.safetensors"
    description = json.dumps({"model_hash": "model", "width": width})
    save_file(tensors(fusion, change), file, metadata={METADATA: description})
    with pytest.raises(InputError, match="is not a fusion or is damaged"):
        Fusion.load(file, "model")


@pytest.mark.parametrize("keep", [0, 100, -10])
def test_a_damaged_file_is_refused(fusion, tmp_path, keep):
    file = tmp_path / "fusion.safetensors"
    fusion.save(file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="is not a fusion or is damaged"):
        Fusion.load(file, "model")
    with pytest.raises(InputError, match="does not exist"):
        Fusion.load(tmp_path / "no", "model")
