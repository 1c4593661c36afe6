"""The ResNet tower against open_clip's, alone and out of every format that has one."""

import json
from dataclasses import replace

import open_clip
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from open_clip.modified_resnet import ModifiedResNet as Published
from torch import nn

from errors import InputError
from model.clip import CLIP, TextShape
from model.resnet import AttentionPool, Bottleneck, ModifiedResNet, ResNetShape
from model.weights import load_clip, resize_position_embedding
from model.weights.key_maps import from_openai, to_openai
from tests.archives import draw_batch_norm, random_open_clip, write_openai_archive

# Unlike numbers of blocks, so that no layer is taken for another; layer4 has 256 channels.
LAYERS = (1, 2, 3, 2)
SHAPE = ResNetShape(8, LAYERS, heads=4, image_size=(64, 64))
SIZES = {
    "image_size": 64,
    "width": 8,
    "layers": LAYERS,
    "text_width": 64,
    "text_layers": 1,
    "context_length": 20,
    "vocab_size": 100,
    "embed_dim": 48,
}
TEXT = TextShape(64, 1, 1, context_length=20, vocab_size=100)
CASES = [((224, 224), 2), ((256, 128), 2), ((256, 128), 1), ((75, 50), 1), ((75, 50), 2)]

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")


def pictures(image_size=(64, 64)):
    return torch.randn(2, 3, *image_size, generator=torch.Generator().manual_seed(1))


def random_pair(image_size, last_stride):
    """open_clip's tower, its layer4 and attention pool fitted to the case, and ours of its weights.

    Both are in evaluation mode.
    """
    torch.manual_seed(0)
    shape = replace(SHAPE, image_size=image_size, last_stride=last_stride)
    theirs = Published(list(LAYERS), 48, heads=4, image_size=224, width=8)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            draw_batch_norm(module)
    first = theirs.layer4[0]
    first.avgpool, first.downsample[0] = nn.AvgPool2d(last_stride), nn.AvgPool2d(last_stride)
    rows, columns = shape.grid
    positions = torch.randn(1 + rows * columns, 256)
    theirs.attnpool.positional_embedding = nn.Parameter(positions)
    state = from_openai({f"visual.{name}": value for name, value in theirs.state_dict().items()})
    ours = ModifiedResNet(shape, 48)
    ours.load_state_dict({name.removeprefix("visual."): value for name, value in state.items()})
    return theirs.eval(), ours.eval()


# The tower


@torch.no_grad()
@pytest.mark.parametrize(("image_size", "last_stride"), CASES)
def test_maps_and_pooled_token_as_open_clip(image_size, last_stride):
    theirs, ours = random_pair(image_size, last_stride)
    images = pictures(image_size)
    expected = theirs.forward_intermediates(images, indices=[3, 4])
    layer3, layer4 = expected["image_intermediates"]
    for map, like in zip(ours.maps(images), (layer3, layer4), strict=True):
        assert_allclose(map, like, atol=1e-5)
        assert map.std() > 0.1  # nothing is compared with zeros
    assert layer4.shape[2:] == ours.shape.grid

    averages = [map.flatten(2).mean(2) for map in (layer3, layer4)]
    for feature, like in zip(
        ours.features(images), (*averages, expected["image_features"]), strict=True
    ):
        assert_allclose(feature, like, atol=1e-5)
    assert_allclose(ours.project(ours(images)[:, 0]), expected["image_features"], atol=1e-5)


def test_grids():
    def grid(image_size, last_stride):
        return replace(SHAPE, image_size=image_size, last_stride=last_stride).grid

    assert grid((224, 224), 2) == (7, 7)
    assert grid((256, 128), 2) == (8, 4)
    assert grid((256, 128), 1) == (16, 8)
    assert grid((31, 62), 2) == (1, 1)
    with pytest.raises(
        InputError, match=r"\(30, 64\) pixels is too small .* of stride 32: set a larger"
    ):
        replace(SHAPE, image_size=(30, 64))


def test_training_as_open_clip():
    """A step's gradients, and the statistics that BatchNorm keeps of its batch."""
    pair = random_pair((64, 32), 1)
    images, probe = pictures((64, 32)), torch.randn(2, 48)
    for tower in pair:
        tower.train()
    theirs, ours = pair
    (theirs(images) * probe).sum().backward()
    (ours.features(images)[2] * probe).sum().backward()
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert expected.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        scale = expected[name].abs().max().item()
        assert_allclose(parameter.grad, expected[name], atol=1e-4 * scale + 1e-6, err_msg=name)
    kept = dict(theirs.named_buffers())
    assert kept.keys() == dict(ours.named_buffers()).keys()
    for name, buffer in ours.named_buffers():
        assert_allclose(buffer, kept[name], atol=1e-5, err_msg=name)


@torch.no_grad()
def test_attention_pool_token_by_token():
    torch.manual_seed(0)
    pool = AttentionPool(width=16, heads=4, cells=6, embed_dim=5)
    map = torch.randn(2, 16, 2, 3)
    cells = [map[:, :, row, column] for row in range(2) for column in range(3)]
    tokens = [torch.stack(cells).mean(0), *cells]
    tokens = torch.stack(
        [token + at for token, at in zip(tokens, pool.positional_embedding, strict=True)], 1
    )
    q, k, v = pool.q_proj(tokens), pool.k_proj(tokens), pool.v_proj(tokens)
    expected = torch.empty(2, 7, 16)
    for head in range(4):
        at = slice(4 * head, 4 * head + 4)
        for token in range(7):
            scores = torch.stack([(q[:, token, at] * k[:, i, at]).sum(1) / 2 for i in range(7)], 1)
            weights = scores.softmax(1)
            expected[:, token, at] = sum(weights[:, i : i + 1] * v[:, i, at] for i in range(7))
    assert_allclose(pool(map), expected, atol=1e-6)
    assert_allclose(pool(map, dense=False), expected[:, :1], atol=1e-6)


@torch.no_grad()
def test_random_weights():
    tower = ModifiedResNet(replace(SHAPE, width=16, heads=8), 64)
    pool = tower.attnpool
    for projection in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj):
        assert projection.weight.std().item() == pytest.approx(512**-0.5, rel=0.03)
    assert pool.positional_embedding.std().item() == pytest.approx(512**-0.5, rel=0.1)
    assert (tower.bn3.weight == 1).all()
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(Bottleneck(8, 2).eval()(x), F.relu(x))


def test_rn50_has_the_published_tensors():
    with torch.device("meta"):
        ours = ModifiedResNet(ResNetShape(64, (3, 4, 6, 3), 32, (224, 224)), 1024).state_dict()
        theirs = Published([3, 4, 6, 3], 1024, heads=32, image_size=224, width=64).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


# As CLIP's image tower


@torch.no_grad()
def test_clip_encodes_images():
    torch.manual_seed(0)
    clip = CLIP(replace(SHAPE, image_size=(64, 32), last_stride=1), TEXT, embed_dim=48).eval()
    images = pictures((64, 32))
    image, dense = clip.encode_image(images, dense=True)
    assert dense.shape == (2, 1 + 4 * 2, 48)
    assert torch.equal(image, dense[:, 0])
    assert_allclose(clip.encode_image(images), image, atol=1e-6)
    assert_allclose(clip.visual.features(images)[2], image, atol=1e-6)
    assert_allclose(clip.visual.project(clip.visual(images)), dense, atol=1e-6)


# Weights


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("openai") / "RN-tiny.pt"
    return path, write_openai_archive(path, **SIZES)


@torch.no_grad()
def assert_same_as_open_clip(clip, model):
    tokens = torch.randint(1, 99, (3, 20), generator=torch.Generator().manual_seed(1))
    clip.eval()
    assert (clip.visual.shape, clip.text.shape, clip.embed_dim) == (SHAPE, TEXT, 48)
    assert_allclose(clip.encode_image(pictures()), model.encode_image(pictures()), atol=1e-5)
    assert_allclose(clip.encode_text(tokens), model.encode_text(tokens), atol=1e-5)
    kept = dict(model.visual.named_buffers())
    for name, buffer in clip.visual.named_buffers():
        assert torch.equal(buffer, kept[name]), name
    assert clip.visual.bn1.num_batches_tracked == 7


def test_openai_archive(archive):
    path, model = archive
    state = torch.jit.load(path).state_dict()
    assert state["visual.bn1.running_var"].dtype == torch.half
    clip = load_clip(path, context_length=20)
    assert_same_as_open_clip(clip, model)
    floats = {value.dtype for value in clip.state_dict().values() if value.is_floating_point()}
    assert floats == {torch.float32}


@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_plain_state_dict(tmp_path, wrapper):
    model = random_open_clip(**SIZES)
    state = model.state_dict()
    torch.save({wrapper: state} if wrapper else state, tmp_path / "RN50.pth")
    assert_same_as_open_clip(load_clip(tmp_path / "RN50.pth", context_length=20), model)


def test_open_clip(tmp_path):
    """Heads of 32 channels, which no tensor tells."""
    model = random_open_clip(**SIZES, head_width=32)
    vision = {"image_size": 64, "patch_size": None, "width": 8, "layers": LAYERS, "head_width": 32}
    text = {"context_length": 20, "vocab_size": 100, "width": 64, "heads": 2, "layers": 1}
    config = {"embed_dim": 48, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "RN-tiny-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "RN-tiny-test.json")
    torch.save(model.state_dict(), tmp_path / "open_clip.pt")
    try:
        source = f"open_clip:RN-tiny-test/{tmp_path / 'open_clip.pt'}"
        clip = load_clip(source, context_length=20).eval()
    finally:
        open_clip.factory._MODEL_CONFIG_PATHS.remove(tmp_path / "RN-tiny-test.json")
        open_clip.factory._rescan_model_configs()
    assert (clip.visual.shape.heads, clip.text.shape.heads) == (8, 2)
    with torch.no_grad():
        assert_allclose(clip.encode_image(pictures()), model.encode_image(pictures()), atol=1e-5)


@pytest.mark.parametrize(
    ("image_size", "last_stride", "grid"),
    [(None, 2, (2, 2)), (None, 1, (4, 4)), ((256, 128), 1, (16, 8)), ((96, 32), 2, (3, 1))],
)
def test_image_size_and_last_stride(archive, image_size, last_stride, grid):
    path, model = archive
    tower = load_clip(path, image_size, last_stride=last_stride).visual
    assert tower.shape.grid == grid
    expected = resize_position_embedding(model.visual.attnpool.positional_embedding.data, grid)
    assert torch.equal(tower.attnpool.positional_embedding.data, expected)
    assert tower.maps(pictures(tower.shape.image_size))[1].shape[2:] == grid


def test_weights_travel_both_ways(archive):
    theirs = random_open_clip(**SIZES).state_dict()
    ours = from_openai(theirs)
    clip = CLIP(SHAPE, TEXT, 48)
    assert clip.state_dict().keys() == ours.keys()
    clip.load_state_dict(ours)
    back = to_openai(clip.state_dict())
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)


# Bad input


def test_strides_of_the_other_tower_are_refused(archive, tmp_path):
    with pytest.raises(InputError, match=r"RN-tiny\.pt has a ResNet.*model\.stride null instead"):
        load_clip(archive[0], stride=16)
    torch.save(random_open_clip(image_size=32, patch_size=8).state_dict(), tmp_path / "ViT.pt")
    with pytest.raises(InputError, match=r"ViT\.pt has a ViT.*last stride cannot be 1: leave"):
        load_clip(tmp_path / "ViT.pt", last_stride=1)


@pytest.mark.parametrize(
    ("lost", "changes", "message"),
    [
        ("visual.layer2.", {}, r"\(missing visual\.layer2\.0\.conv1\.weight\)"),
        ("visual.layer3.1.", {}, r"missing visual\.layer3\.1\..*; unexpected visual\.layer3\.2\."),
        ("visual.bn1.running_mean", {}, r"\(missing visual\.bn1\.running_mean\)"),
        ("visual.attnpool.positional_embedding", {}, r"missing visual\.attnpool\.positional_emb"),
        ("text_projection", {}, r"\(missing text_projection\)"),
        ((), {"visual.proj": torch.zeros(1)}, r"\(unexpected visual\.proj\)"),
        (
            (),
            {"visual.layer4.0.conv2.weight": torch.zeros(64, 64, 1, 1)},
            r"wrong shape visual\S+conv2\.weight \(64, 64, 1, 1\) instead of \(64, 64, 3, 3\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, lost, changes, message):
    state = random_open_clip(**SIZES).state_dict()
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(lost)}
    torch.save({**kept, **changes}, tmp_path / "spoilt.pt")
    with pytest.raises(InputError, match=message) as caught:
        load_clip(tmp_path / "spoilt.pt")
    assert str(tmp_path / "spoilt.pt") in str(caught.value)
