"""The second class token of the image tower, for every format of weights that fills our ViT."""

from dataclasses import replace

import pytest
import torch
import transformers
from torch import Tensor

from model.backbone_loader import TowerOptions
from model.backbones import find_kind
from model.clip import DualEncoder
from model.vit import VisionShape, VisionTransformer
from tests.altclip_folders import write_altclip_folder
from tests.archives import random_open_clip, write_openai_archive
from tests.backbone_folders import write_chinese_clip_folder

SHAPE = VisionShape(32, 3, 2, patch_size=8, stride=8, image_size=(32, 16))


def images(rows: int, columns: int) -> Tensor:
    return torch.randn(3, 3, rows, columns, generator=torch.Generator().manual_seed(1))


def write_state_dict(file):
    model = random_open_clip(quick_gelu=True).eval()
    torch.save(model.state_dict(), file)
    return model.encode_image


def write_huggingface(folder):
    text = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1}
    text |= {"num_hidden_layers": 1, "eos_token_id": 99, "vocab_size": 100}
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1}
    vision |= {"num_hidden_layers": 2, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=48)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(folder)
    return lambda pictures: model.get_image_features(pixel_values=pictures).pooler_output


def write_altclip(folder):
    write_altclip_folder(folder, vision_layers=2)
    model = transformers.AltCLIPModel.from_pretrained(folder).eval()
    return lambda pictures: model.get_image_features(pixel_values=pictures).pooler_output


def write_chinese(folder):
    model = write_chinese_clip_folder(folder)
    return lambda pictures: model.get_image_features(pixel_values=pictures).pooler_output


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("clip", lambda path: write_openai_archive(path, text_layers=1).encode_image),
        ("clip", write_state_dict),
        ("clip", write_huggingface),
        ("altclip", write_altclip),
        ("chinese-clip", write_chinese),
    ],
)
def test_unused_it_changes_no_feature(tmp_path, kind, write):
    reference = write(tmp_path / "weights")
    clip = find_kind(kind).loader().load(str(tmp_path / "weights"), TowerOptions()).eval()
    pictures = images(32, 32)
    before = clip.encode_image(pictures), clip.encode_image(pictures, dense=True)[1]
    torch.testing.assert_close(before[0], reference(pictures), rtol=1e-5, atol=1e-5)
    clip.visual.add_class_token()
    assert torch.equal(clip.encode_image(pictures), before[0])
    assert torch.equal(clip.encode_image(pictures, dense=True)[1], before[1])
    assert_used_it_changes_no_other(clip, pictures)


def assert_used_it_changes_no_other(clip: DualEncoder, pictures: Tensor) -> None:
    """At the start it sees the patches as the first does, so that its features are the first's."""
    visual = clip.visual
    assert isinstance(visual, VisionTransformer)
    torch.testing.assert_close(visual.features(pictures)[2], clip.encode_image(pictures))
    visual.second_class += torch.randn(visual.second_class.shape)
    others = visual.ln_pre(visual.embed(pictures))
    second = visual.ln_pre(visual.second_class.expand(len(pictures), 1, -1))
    x = torch.cat([others, second], dim=1)
    *_, last = visual.transformer.stream(x, visual._mask(x.shape[1], x.device))
    torch.testing.assert_close(last[:, :-1], visual(pictures), rtol=1e-6, atol=1e-6)
    first, features = visual.both_features(pictures)
    torch.testing.assert_close(features[1], visual.ln_post(last[:, -1]), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(first, clip.encode_image(pictures), rtol=1e-6, atol=1e-6)
    assert (visual.features(pictures)[2] - first).abs().max() > 1e-3


def plainly(visual: VisionTransformer, picture: Tensor) -> Tensor:
    """The second class token of one picture after the blocks, from its own queries alone."""
    assert visual.second_class is not None
    token = visual.ln_pre(visual.second_class)
    for block, x in zip(
        visual.transformer.blocks,
        visual.transformer.stream(visual.ln_pre(visual.embed(picture[None]))),
        strict=False,
    ):
        attn, seen = block.attn, torch.cat([x[0, 1:], token[None]])  # the patches and itself
        seen = block.ln_1(seen)
        heads = [
            (attn.k_proj(seen) * attn.q_proj(seen[-1]))[:, part].sum(dim=1).div(16**0.5).softmax(0)
            @ attn.v_proj(seen)[:, part]
            for part in (slice(0, 16), slice(16, 32))
        ]
        token = token + attn.out_proj(torch.cat(heads))
        token = token + block.mlp(block.ln_2(token))
    return token


def test_it_sees_the_patches_and_itself():
    torch.manual_seed(0)
    visual = VisionTransformer(replace(SHAPE, class_tokens=2), 24).eval()
    pictures = images(32, 16)
    below, top, projected = visual.features(pictures)
    for row, picture in enumerate(pictures):
        expected = visual.ln_post(plainly(visual, picture))
        torch.testing.assert_close(top[row], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(projected, top @ visual.proj)
    assert (below - top).abs().max() > 1e-3


def test_it_starts_as_a_copy_of_the_first():
    torch.manual_seed(0)
    visual = VisionTransformer(SHAPE, 24)
    visual.add_class_token()
    copy = visual.class_embedding + visual.positional_embedding[0]
    assert visual.second_class is not None
    assert torch.equal(visual.second_class, copy)
    assert visual.shape == replace(SHAPE, class_tokens=2)


def test_each_loss_reaches_its_own_token():
    torch.manual_seed(0)
    visual = VisionTransformer(replace(SHAPE, class_tokens=2), 24)
    pictures, (first, second) = images(32, 16), (visual.class_embedding, visual.second_class)
    visual.project(visual(pictures)[:, 0]).square().sum().backward()
    assert first.grad.abs().max() > 0
    assert second.grad is None
    visual.zero_grad()
    visual.features(pictures)[2].square().sum().backward()
    assert second.grad.abs().max() > 0
    assert first.grad.abs().max() > 0  # through the patches, which see the first


def test_gradient_checkpointing_changes_nothing():
    torch.manual_seed(0)
    visual = VisionTransformer(replace(SHAPE, class_tokens=2), 24)
    expected = visual.features(images(32, 16))[2]
    visual.transformer.gradient_checkpointing = True
    torch.testing.assert_close(visual.features(images(32, 16))[2], expected)
    visual.features(images(32, 16))[2].sum().backward()
    assert visual.second_class.grad.abs().max() > 0
