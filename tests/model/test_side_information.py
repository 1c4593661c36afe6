import pytest
import torch

from model.side_information import SideInformation
from model.vit import VisionShape, VisionTransformer

CAMERAS, VIEWS = torch.tensor([0, 2, 1, 2]), torch.tensor([4, 0, 3, 3])


def test_every_view_of_every_camera_has_a_vector():
    torch.manual_seed(0)
    side = SideInformation(8, num_cameras=3, num_views=5, weight=2.5)
    expected = []
    for camera, view in zip(CAMERAS.tolist(), VIEWS.tolist(), strict=True):
        places = [(c, v) for c in range(3) for v in range(5)]
        expected.append(2.5 * side.embedding[places.index((camera, view))])
    assert torch.equal(side(CAMERAS, VIEWS), torch.stack(expected))
    assert len({tuple(row) for row in side.embedding.tolist()}) == 15


def test_of_cameras_alone_the_view_means_nothing():
    side = SideInformation(8, num_cameras=3)
    assert torch.equal(side(CAMERAS, VIEWS), side.embedding[CAMERAS])


def test_initialisation():
    torch.manual_seed(0)
    embedding = SideInformation(512, num_cameras=15, num_views=8).embedding
    assert embedding.std().item() == pytest.approx(0.02, rel=0.02)


@torch.no_grad()
def test_it_is_added_to_the_class_token_before_the_positions():
    """Against a tower whose class embedding is changed by hand, picture by picture."""
    torch.manual_seed(0)
    tower = VisionTransformer(VisionShape(32, 2, 2, 8, 6, (32, 20)), embed_dim=16)
    images, offset = torch.randn(4, 3, 32, 20), torch.randn(4, 32)
    plain, embedded = tower.embed(images), tower.embed(images, offset)
    assert torch.equal(embedded[:, 1:], plain[:, 1:])
    torch.testing.assert_close(embedded[:, 0] - plain[:, 0], offset, atol=1e-6, rtol=1e-5)
    features, class_embedding = tower.features(images, offset), tower.class_embedding.clone()
    for i, image in enumerate(images):
        tower.class_embedding.copy_(class_embedding + offset[i])
        for ours, expected in zip(features, tower.features(image[None]), strict=True):
            torch.testing.assert_close(ours[i], expected[0], atol=1e-5, rtol=1e-5)
