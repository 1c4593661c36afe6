import copy

import pytest
import torch
from torch import Tensor

from model.tuning.bidirectional_prompts import BidirectionalPrompts, TowerPrompts

IMAGE, TEXT = 6, 4  # widths


def build(direction: str, depth: int = 2) -> BidirectionalPrompts:
    torch.manual_seed(0)
    prompts = BidirectionalPrompts(IMAGE, TEXT, n_ctx=3, depth=depth, direction=direction)
    for parameter in prompts.parameters():
        torch.nn.init.normal_(parameter)
    return prompts


def mapped(linear: torch.nn.Linear, vectors: Tensor) -> Tensor:
    return vectors @ linear.weight.T + linear.bias


@pytest.mark.parametrize("layer", [0, 1])
def test_a_tower_is_given_its_own_vectors_and_the_others(layer):
    prompts = build("both")
    text, image = prompts.text[layer], prompts.image[layer]
    to_image = mapped(prompts.text_to_image[layer], text)
    to_text = mapped(prompts.image_to_text[layer], image)
    given = {"image": torch.cat([to_image, image]), "text": torch.cat([text, to_text])}
    for tower, expected in given.items():
        torch.testing.assert_close(prompts.vectors(tower, layer), expected)


@pytest.mark.parametrize(
    ("direction", "names"),
    [
        ("text_to_image", {"text", "text_to_image"}),
        ("image_to_text", {"image", "image_to_text"}),
        ("independent", {"text", "image"}),
    ],
)
def test_half_of_it(direction, names):
    """The rest is as in both, and no parameter is there that would not train."""
    prompts, both = build(direction), build("both")
    assert {name.split(".")[0] for name in prompts.state_dict()} == names
    both.load_state_dict(prompts.state_dict(), strict=False)
    for tower, own_first in (("text", True), ("image", False)):
        ours, whole = prompts.vectors(tower, 1), both.vectors(tower, 1)
        assert ours.shape == (3, TEXT if tower == "text" else IMAGE)
        own = whole[:3] if own_first else whole[3:]
        other = whole[3:] if own_first else whole[:3]
        torch.testing.assert_close(ours, own if tower in names else other)


def test_an_image_tower_alone():
    prompts = BidirectionalPrompts(IMAGE, None, n_ctx=3, depth=2, direction="independent")
    assert list(prompts.state_dict()) == ["image"]
    assert torch.equal(prompts.vectors("image", 1), prompts.image[1])


@pytest.mark.parametrize(("tower", "first"), [("text", 1), ("image", 5)])
def test_tokens_are_inserted_renewed_and_removed(tower, first):
    prompts = build("both")
    slot = TowerPrompts(prompts, tower, first)
    width = TEXT if tower == "text" else IMAGE
    x = torch.randn(2, 5, width)
    assert slot.count == 6
    inserted = slot(0, x)
    assert inserted.shape == (2, 11, width)
    assert torch.equal(slot.remove(inserted), x)
    assert torch.equal(inserted[1, first : first + 6], prompts.vectors(tower, 0))
    later = torch.randn(2, 11, width)
    renewed = slot(1, later)
    assert torch.equal(slot.remove(renewed), slot.remove(later))
    assert torch.equal(renewed[0, first : first + 6], prompts.vectors(tower, 1))
    assert slot(2, later) is later  # beyond the depth
    assert not torch.equal(renewed, later)


def test_a_copy_has_vectors_of_its_own():
    holder = torch.nn.Module()
    holder.prompts = build("both")
    holder.slot = TowerPrompts(holder.prompts, "text", 1)
    again = copy.deepcopy(holder)
    assert again.slot.prompts is again.prompts
    assert again.prompts is not holder.prompts
    assert len(list(again.parameters())) == len(list(again.prompts.parameters()))


def test_words_are_where_the_first_block_begins():
    prompts = build("both")
    later, words = prompts.text[1].clone(), torch.randn(3, TEXT)
    prompts.start_from(words)
    assert torch.equal(prompts.text[0], words)
    assert torch.equal(prompts.text[1], later)
