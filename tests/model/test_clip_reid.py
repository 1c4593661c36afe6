"""CLIP-ReID whole: a small one with a ViT against the published code, one with a ResNet by hand."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from misc.optim import freeze
from model.architecture import ReIDArchitecture, read_architecture
from model.clip import CLIP, TextShape
from model.clip_reid import CLIPReID, from_architecture
from model.criteria.reid import ReIDCriterion
from model.identity_prompts import IdentityPrompts, read_sentence
from model.interface import PromptBatch, PromptOutputs, ReIDBatch, ReIDOutputs
from model.resnet import ResNetShape
from model.side_information import SideInformation
from model.vit import VisionShape
from model.weights.published.clip_reid import from_clip_reid, to_clip_reid
from tests import GOLDEN_FILES
from text_utils.tokenizer import ClipTokenizer

GOLDEN = np.load(GOLDEN_FILES / "tiny_clipreid_vit.npz")
ARCHITECTURE = ReIDArchitecture(
    backbone="clip",
    vision=VisionShape(64, 12, 1, patch_size=16, stride=16, image_size=(64, 32)),
    text=TextShape(64, 2, 1, context_length=77, vocab_size=77),
    embed_dim=32,
    activation="quickgelu",
    num_identities=7,
)
SECOND_STAGE = {"id": 0.25, "triplet": 1.0, "i2t": 1.0}


def golden(name: str) -> Tensor:
    return torch.tensor(GOLDEN[name])


def assert_close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours.double(), expected.double(), rtol=1e-4, atol=1e-4)


def golden_weights() -> dict[str, Tensor]:
    names = [name for name in GOLDEN.files if name.startswith("weights/")]
    return {name.removeprefix("weights/"): golden(name) for name in names}


@pytest.fixture
def published() -> CLIPReID:
    """The golden weights without their side information, in evaluation mode."""
    state = golden_weights()
    del state["cv_embed"]
    model = from_architecture(ARCHITECTURE)
    model.load_state_dict(from_clip_reid(state))
    return model.eval()


@pytest.fixture
def batch() -> ReIDBatch:
    cameras = golden("in/cam")
    return ReIDBatch(golden("in/images"), golden("in/labels"), cameras, torch.zeros_like(cameras))


# As published


@torch.no_grad()
def test_features_are_the_published_ones(published, batch):
    tokens = ("s16/x11", "s16/x12", "s16/xproj")
    for ours, name in zip(published.visual.features(batch.images), tokens, strict=True):
        assert_close(ours, golden(name)[:, 0])
    assert_close(published.project_image(batch.images), golden("s16/get_image"))
    assert_close(published.encode_image(batch.images), golden("s16/eval_concat_before"))
    published.after_necks = True
    assert_close(published.encode_image(batch.images), golden("s16/eval_concat_after"))
    published.fix_text_features()
    assert_close(published.text_features, golden("text/all_class_text_features"))


def test_first_stage_is_the_published_one(published, batch):
    freeze(published, published.frozen(learns_prompts=True))
    features = published.project_image(batch.images)
    outputs = published(PromptBatch(features, batch.ids))
    assert_close(outputs.image_features, golden("stage1/image_features"))
    assert_close(outputs.text_features, golden("stage1/text_features"))
    criterion = ReIDCriterion({"sup_con": 1.0})
    losses = criterion(outputs, batch)
    assert_close(losses["sup_con"], golden("stage1/loss_i2t") + golden("stage1/loss_t2i"))
    criterion.total(losses, outputs).backward()
    assert_close(published.prompts.words.grad, golden("stage1/grad_cls_ctx"))
    learnt = [name for name, p in published.named_parameters() if p.grad is not None]
    assert learnt == ["prompts.words"]


def test_second_stage_is_the_published_one(published, batch):
    """Features, logits, the weighted loss and every gradient."""
    freeze(published, published.frozen(learns_prompts=False))
    published.fix_text_features()
    outputs = published.train()(batch)
    for ours, name in (
        (outputs.penultimate_features, "feat_last"),
        (outputs.image_features, "feat"),
        (outputs.projected_features, "feat_proj"),
        (outputs.image_logits, "cls_score"),
        (outputs.projected_logits, "cls_score_proj"),
        (outputs.text_logits, "i2t_logits"),
    ):
        assert_close(ours, golden(f"stage2/{name}"))
    criterion = ReIDCriterion(SECOND_STAGE)
    total = criterion.total(criterion(outputs, batch), outputs)
    assert_close(total, golden("stage2/loss"))
    total.backward()

    gradients = {n: p.grad for n, p in published.named_parameters() if p.grad is not None}
    theirs = to_clip_reid(gradients)
    digests = {n.removeprefix("stage2/gstat/") for n in GOLDEN.files if "/gstat/" in n}
    assert theirs.keys() == digests
    for name, gradient in theirs.items():
        seed = zlib.crc32(f"probe.{name}".encode())
        gradient = gradient.double().numpy()
        probe = np.random.RandomState(seed).standard_normal(gradient.shape)
        parts = gradient.sum(), np.abs(gradient).sum(), np.linalg.norm(gradient)
        expected = GOLDEN[f"stage2/gstat/{name}"]
        tolerance = 1e-4 * expected[1] + 1e-6  # sums that cancel round with what they are of
        np.testing.assert_allclose(
            [*parts, (gradient * probe).sum()], expected, rtol=1e-4, atol=tolerance, err_msg=name
        )


@torch.no_grad()
def test_side_information_is_the_published_one(batch):
    """As the neck saw it: its statistics are of a step with side information of weight 3."""
    model = from_architecture(replace(ARCHITECTURE, num_cameras=4), side_weight=3.0)
    model.load_state_dict(from_clip_reid(golden_weights()))
    model.train()(batch)
    neck = model.image_head.neck
    assert_close(neck.running_mean, golden("stage2/bn_running_mean_after"))
    assert_close(neck.running_var, golden("stage2/bn_running_var_after"))


# By hand

SHAPE = ResNetShape(8, (1, 1, 1, 1), heads=4, image_size=(64, 32), last_stride=1)
TEXT = TextShape(64, 1, 1, context_length=16, vocab_size=49408)


def small_resnet(with_prompts: bool = True) -> CLIPReID:
    torch.manual_seed(0)
    clip = CLIP(SHAPE, TEXT, embed_dim=48)
    prompts = None
    if with_prompts:
        prompts = IdentityPrompts(read_sentence(clip.text, ClipTokenizer(), "vehicle"), 5)
    return CLIPReID(clip.visual, clip.embed_dim, clip.activation, 5, prompts=prompts)


def pictures(size: int = 6) -> ReIDBatch:
    images = torch.randn(size, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(size) % 3
    return ReIDBatch(images, ids, ids, ids)


def test_a_resnet_gives_its_last_maps_and_its_pooled_token():
    model, batch = small_resnet(), pictures()
    model.fix_text_features(chunk=2)
    assert model.text_features.shape == (5, 48)
    outputs = model(batch)
    shapes = {name: tuple(tensor.shape) for name, tensor in outputs.present().items()}
    assert shapes == {
        "penultimate_features": (6, 128),
        "image_features": (6, 256),
        "projected_features": (6, 48),
        "image_logits": (6, 5),
        "projected_logits": (6, 5),
        "text_logits": (6, 5),
    }
    model.eval()
    layer3, layer4 = model.visual.maps(batch.images)
    assert layer4.shape[2:] == (4, 2)
    token = model.visual.project(model.visual(batch.images)[:, 0])
    torch.testing.assert_close(model.project_image(batch.images), token)
    pooled = layer4.flatten(2).mean(2)
    torch.testing.assert_close(model.encode_image(batch.images), torch.cat([pooled, token], 1))
    outputs = model(batch)
    torch.testing.assert_close(outputs.penultimate_features, layer3.flatten(2).mean(2))
    torch.testing.assert_close(outputs.text_logits, token @ model.text_features.T)


def test_every_parameter_of_the_second_stage_has_a_gradient():
    """As DDP demands: with a ResNet, with a ViT and its side information, with and without text."""
    batch = pictures()
    for model in (
        small_resnet(),
        small_resnet(with_prompts=False),
        from_architecture(replace(ARCHITECTURE, num_cameras=3, num_views=3)),
        from_architecture(replace(ARCHITECTURE, text=None)),
    ):
        freeze(model, model.frozen(learns_prompts=False))
        weights = SECOND_STAGE
        if model.prompts is None:
            weights = {"id": 1.0, "triplet": 1.0}
        else:
            model.fix_text_features()
        criterion, outputs = ReIDCriterion(weights), model(batch)
        assert (outputs.text_logits is None) == (model.prompts is None)
        criterion.total(criterion(outputs, batch), outputs).backward()
        trained = {name for name, p in model.named_parameters() if p.grad is not None}
        assert trained == {name for name, p in model.named_parameters() if p.requires_grad}
        frozen = {name for name, _ in model.named_parameters()} - trained
        assert {name for name in frozen if not name.startswith("prompts.")} == {
            "image_head.neck.bias",
            "projected_head.neck.bias",
        }


def test_necks_normalise_over_the_batch_and_classifiers_start_small():
    model = small_resnet()
    head = model.image_head
    assert not head.neck.bias.any()
    assert not head.neck.bias.requires_grad
    assert head.classifier.bias is None
    assert head.classifier.weight.std().item() == pytest.approx(0.001, rel=0.1)
    features = 3 + 2 * torch.randn(6, 256, generator=torch.Generator().manual_seed(1))
    centred = features - features.mean(dim=0)
    expected = centred / (centred.square().mean(dim=0) + 1e-5).sqrt()
    torch.testing.assert_close(head.neck(features), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        head(features), F.linear(expected, head.classifier.weight), atol=1e-5, rtol=1e-4
    )


def test_side_information_is_for_pictures_of_known_cameras_only():
    torch.manual_seed(0)
    architecture = replace(ARCHITECTURE, num_cameras=3, num_views=3)
    model = from_architecture(architecture, side_weight=2.0).eval()
    batch = pictures()
    told = model.encode_image(batch.images, batch.cameras, batch.views)
    offset = 2 * model.side_information.embedding[[0, 4, 8] * 2]
    _, image, projected = model.visual.features(batch.images, offset)
    torch.testing.assert_close(told, torch.cat([image, projected], dim=1))
    torch.testing.assert_close(model(batch).projected_features, projected)
    plain = model.encode_image(batch.images)
    assert not torch.allclose(plain, told, atol=1e-3)
    torch.testing.assert_close(model.project_image(batch.images), plain[:, 64:])


def test_text_logits_are_precise_under_autocast():
    model = small_resnet().eval()
    model.fix_text_features()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(pictures())
    assert outputs.projected_features.dtype == torch.bfloat16
    expected = outputs.projected_features.float() @ model.text_features.T
    assert torch.equal(outputs.text_logits, expected)


def test_checkpoints_hold_no_text_features():
    """They come from the prompts, in whichever run goes on with the second stage."""
    model = small_resnet()
    names = model.state_dict().keys()
    model.fix_text_features()
    assert model.state_dict().keys() == names


@pytest.mark.parametrize(
    "changes", [{}, {"text": None}, {"num_cameras": 6}, {"num_cameras": 20, "num_views": 9}]
)
def test_an_architecture_makes_the_like_of_it(changes):
    architecture = replace(ARCHITECTURE, **changes)
    assert from_architecture(architecture).describe() == architecture
    assert read_architecture(architecture.to_tree()) == architecture


def test_a_resnet_is_rebuilt_from_its_architecture():
    model = small_resnet()
    again = from_architecture(model.describe())
    again.load_state_dict(model.state_dict())
    images = pictures().images
    assert torch.equal(again.eval().encode_image(images), model.eval().encode_image(images))


def test_side_information_stands_beside_a_tower_of_clip(batch):
    """Assembled as for training, from a CLIP that is there."""
    torch.manual_seed(0)
    shape = from_architecture(ARCHITECTURE).visual.shape
    clip = CLIP(shape, TEXT, embed_dim=32)
    expected = clip.encode_image(batch.images)
    side = SideInformation(shape.width, num_cameras=4)
    model = CLIPReID(clip.visual, 32, clip.activation, 7, side_information=side)
    torch.testing.assert_close(model.project_image(batch.images), expected)
    assert model.describe() == replace(ARCHITECTURE, text=None, num_cameras=4)


def test_batches_and_outputs_are_parted_and_joined_again():
    model, batch = small_resnet().eval(), pictures()
    model.fix_text_features()
    parts = batch.split(4)
    assert [len(part) for part in parts] == [4, 2]
    prompts = [PromptBatch(model.project_image(part.images), part.ids) for part in parts]
    for pieces, whole, kind in ((parts, batch, ReIDOutputs), (prompts, None, PromptOutputs)):
        again = type(pieces[0]).join(pieces)
        if whole is not None:
            assert all(torch.equal(again.present()[n], t) for n, t in whole.present().items())
        outputs = [model(piece) for piece in pieces]
        joined = kind.join(outputs)
        torch.testing.assert_close(joined.present(), model(again).present(), rtol=1e-4, atol=1e-5)
        for part, other in zip(joined.split_like(outputs), outputs, strict=True):
            assert all(torch.equal(part.present()[n], t) for n, t in other.present().items())
