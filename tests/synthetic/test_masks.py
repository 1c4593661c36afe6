"""Masks of garments, against the pictures that were written."""

import json

import numpy as np
import pytest

from errors import InputError
from misc.datasets.pictures import read_picture
from misc.synthetic.pedestrians.attributes import draw_identity
from misc.synthetic.pedestrians.cameras import draw_camera
from misc.synthetic.pedestrians.chance import Stream, generator
from misc.synthetic.pedestrians.drawing import draw_picture, draw_scene
from misc.synthetic.pedestrians.masks import draw_masks, repainted
from misc.synthetic.pedestrians.plan import Plan
from misc.synthetic.pedestrians.samples import draw_visits
from misc.synthetic.pedestrians.shots import draw_shot, draw_size
from misc.synthetic.writing import read_plan


@pytest.fixture
def plan(pedestrians):
    return read_plan(pedestrians.root)


def written(plan, root):
    """Identity, number and picture of every file of the test split."""
    for record in json.loads((root / "processed" / "test_reid.json").read_text()):
        number = int(record["file_path"].removesuffix(".jpg").rpartition("_")[2])
        yield record["id"], number, read_picture(root / "imgs" / record["file_path"])


def test_masks_fit_the_pictures_and_each_other(plan, pedestrians):
    for identity, number, picture in written(plan, pedestrians.root):
        masks = draw_masks(plan, identity, number)
        person = draw_identity(plan.seed, identity, plan.difficulty)
        assert {"upper", "shoes"} <= set(masks)
        assert ("hat" in masks) == (person.hat is not None)
        assert {mask.shape for mask in masks.values()} == {picture.size[::-1]}
        upper, shoes = masks["upper"], masks["shoes"]
        assert not (upper & shoes).any()
        if shoes.any():  # not behind a bush
            assert np.nonzero(upper)[0].mean() < np.nonzero(shoes)[0].mean()


def draw(plan, identity):
    """The person, the scene and the recorded picture of an identity's first picture."""
    person = draw_identity(plan.seed, identity, plan.difficulty)
    camera = draw_camera(plan.seed, draw_visits(plan, identity)[0], plan.difficulty)
    drawn = []
    for function in (draw_scene, draw_picture):
        rng = generator(plan.seed, Stream.PICTURE, identity, 0)
        shot = draw_shot(rng, camera, plan.difficulty)
        drawn.append(function(person, shot, draw_size(rng, person, plan.height), rng))
    return person, *drawn


def test_a_mask_lies_where_the_scene_has_the_colour():
    plan = Plan("cuhk-pedes", {"test": 12}, (1, 1), 5, (128, 128), 0.0)
    compared = set()
    for _, identity in plan.owners():
        person, scene, _ = draw(plan, identity)
        for name, mask in draw_masks(plan, identity, 0).items():
            item = getattr(person, name)
            distance = np.abs(np.asarray(scene, float) - item.colour.rgb).sum(axis=2)
            if item.pattern == "plain" and mask.mean() > 0.08:  # a strap is mostly its edge
                assert np.median(distance[mask]) < 100 < np.median(distance[~mask])
                compared.add(name)
    assert compared >= {"upper", "lower"}


def test_the_written_picture_is_the_scene_as_recorded(plan, pedestrians):
    """Drawing scenes apart has not changed a picture, JPEG's losses aside."""
    first = {
        identity: picture
        for identity, number, picture in written(plan, pedestrians.root)
        if number == 0
    }
    for identity, picture in first.items():
        _, scene, recorded = draw(plan, identity)
        assert scene.size == recorded.size == picture.size
        assert np.abs(np.asarray(recorded, float) - np.asarray(picture, float)).mean() < 12


def test_repainting_changes_one_thing_in_every_channel(plan):
    person = draw_identity(plan.seed, plan.owners()[0][1], plan.difficulty)
    other = repainted(person, "shoes")
    pairs = zip(other.shoes.colour.rgb, person.shoes.colour.rgb, strict=True)
    assert [abs(a - b) for a, b in pairs] == [128] * 3
    assert (other.upper, other.lower, other.hair) == (person.upper, person.lower, person.hair)


def test_a_folder_without_drawn_people_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no synthetic pedestrians: draw them with"):
        read_plan(tmp_path)
