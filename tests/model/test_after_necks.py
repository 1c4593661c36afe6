"""Features before or after the BN necks, as `reid.after_necks` says, in new and restored models."""

from pathlib import Path

import pytest
import torch

import options
from misc.tasks.reid.model import TrainingCounts, build_clip_reid, restore_clip_reid
from model.clip_reid import CLIPReID
from tests.command_line import parse
from tests.conftest import SMALL

COUNTS = TrainingCounts(num_identities=5, num_cameras=2, num_views=1)


def build(after_necks: bool) -> tuple[CLIPReID, CLIPReID]:
    """A model to train and one that is built for a checkpoint, with the same random weights."""
    recipe = str(Path(options.RECIPES) / "clipreid_vit.yaml")
    choice = f"reid.after_necks={str(after_necks).lower()}"
    words = ["--config", recipe, *SMALL, "model.clip_pretrained=null", choice]
    config = parse(words).configure()
    torch.manual_seed(0)
    new = build_clip_reid(config, COUNTS)
    for neck in (new.image_head.neck, new.projected_head.neck):
        neck.running_mean.normal_()
        neck.running_var.uniform_(0.5, 2)
    restored = restore_clip_reid(config, new.describe())
    restored.load_state_dict(new.state_dict())
    return new.eval(), restored.eval()


@pytest.mark.parametrize("after_necks", [False, True])
@torch.no_grad()
def test_pictures_are_compared_by_the_features_that_the_configuration_names(after_necks):
    images = torch.rand(3, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    for model in build(after_necks):
        _, image, projected = model.visual.features(images)
        if after_necks:
            image, projected = model.image_head.neck(image), model.projected_head.neck(projected)
        expected = torch.cat([image, projected], dim=1)
        torch.testing.assert_close(model.encode_image(images), expected)
        assert torch.equal(image, model.visual.features(images)[1]) is not after_necks


@torch.no_grad()
def test_the_spread_is_what_strangers_lack_of_the_greatest_similarity():
    model, _ = build(after_necks=False)
    generator = torch.Generator().manual_seed(0)
    heads = model.image_head, model.projected_head
    common = [torch.randn(head.neck.num_features, generator=generator) for head in heads]
    shape = 2000, model.width
    features = torch.cat(common) + 0.2 * torch.randn(shape, generator=generator)
    for head, part in zip(heads, features.split([len(each) for each in common], 1), strict=True):
        head.neck.running_mean.copy_(part.mean(dim=0))
        head.neck.running_var.copy_(part.var(dim=0))
    unit = features / features.norm(dim=1, keepdim=True)
    similarity = unit @ unit.T
    mean = (similarity.sum() - len(unit)) / (len(unit) * (len(unit) - 1))
    assert 0.01 < model.spread < 0.2
    assert model.spread == pytest.approx(1 - mean.item(), rel=0.05)
    necks, _ = build(after_necks=True)
    assert necks.spread == 1
