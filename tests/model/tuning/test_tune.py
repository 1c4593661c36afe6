"""CSKT whole: a small one against the published code, and every choice by a slow reference."""

import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from errors import InputError
from misc.optim import freeze
from model.altclip import AltCLIP, AltTextShape
from model.clip import CLIP, TextShape
from model.criteria.text import TextCriterion
from model.heads import Classifier, MaskedLanguageDecoder
from model.interface import TextBatch
from model.resnet import ResNetShape
from model.tbps_clip import TBPSCLIP
from model.tuning.adapters import add_adapters
from model.tuning.description import AdapterTuning, PromptTuning, Tuning
from model.tuning.prompts import add_prompts, start_from_words
from model.tuning.tune import describe_tuning, frozen_names, tune
from model.vit import VisionShape
from model.weights.published.cskt import from_cskt, to_cskt
from tests import GOLDEN_FILES
from text_utils.tokenizer import ClipTokenizer

GOLDEN = np.load(GOLDEN_FILES / "tiny_cskt.npz")
VISION = VisionShape(64, 3, 1, patch_size=16, stride=16, image_size=(64, 32))
TEXT = TextShape(64, 3, 1, context_length=40, vocab_size=600)
ADAPTERS = {
    "image_adapters": {"reduction": 8, "scale": 0.1},
    "text_adapters": {"reduction": 8, "scale": 4.0},
}
PUBLISHED = {"prompts": {"n_ctx": 4, "depth": 3, "direction": "both"}, **ADAPTERS}


def golden(name: str) -> Tensor:
    return torch.tensor(GOLDEN[f"a_nctx4_depth3_layers3/{name}"])


def golden_weights() -> dict[str, Tensor]:
    names = [name for name in GOLDEN.files if name.startswith("weights/")]
    return {name.removeprefix("weights/"): torch.tensor(GOLDEN[name]) for name in names}


def assert_close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours.double(), expected.double(), rtol=1e-4, atol=1e-4)


def tuned(tuning: dict, **heads: torch.nn.Module) -> TBPSCLIP:
    """A small model with random weights, what was added among them, of a training."""
    torch.manual_seed(0)
    clip = CLIP(VISION, TEXT, embed_dim=32)
    tune(clip, Tuning.from_tree(tuning))
    clip.set_temperature(0.02)
    model = TBPSCLIP(clip, **heads)
    freeze(model, frozen_names(model))
    return model


@pytest.fixture
def published() -> TBPSCLIP:
    model = tuned(PUBLISHED)
    state = from_cskt(golden_weights())
    model.load_state_dict(state | {"clip.logit_scale": model.clip.logit_scale})
    return model


@pytest.fixture
def batch() -> TextBatch:
    return TextBatch(golden("images")[None], golden("tokens_in"), golden("pids"))


# As published


@torch.no_grad()
def test_features_are_the_published_ones(published, batch):
    clip, tokens = published.clip, batch.tokens.clone()
    image, every_image = clip.encode_image(batch.images[0], dense=True)
    assert_close(image, golden("image_feat"))
    assert_close(every_image, golden("image_dense"))
    assert_close(clip.encode_image(batch.images[0]), image)
    text, every_text = clip.encode_text(batch.tokens, dense=True)
    assert_close(text, golden("text_feat"))
    # there the prompts are among the words, here only on the way
    assert_close(every_text, golden("text_dense")[:, [0, *range(9, 40)]])
    assert_close(clip.encode_text(batch.tokens), text)
    assert torch.equal(clip.text.locate(tokens) + 8, golden("eot_after"))
    assert torch.equal(batch.tokens, tokens)


def test_prompts_are_the_published_ones(published):
    prompts = published.clip.prompts
    theirs = ("shared_ctx", "vision"), ("ctx", "shared_vision")
    for tower, names in zip(("image", "text"), theirs, strict=True):
        expected = torch.cat([golden(f"prompt/{name}") for name in names])
        assert_close(prompts.vectors(tower, 0), expected)
    for i in (0, 1):
        names = f"prompt/deep_vision_from_text.{i}", f"prompt/deep_vision.{i}"
        assert_close(prompts.vectors("image", i + 1), torch.cat([golden(n) for n in names]))
        names = f"prompt/deep_text.{i}", f"prompt/deep_text_from_vision.{i}"
        assert_close(prompts.vectors("text", i + 1), torch.cat([golden(n) for n in names]))


def cross_modal_triplet(image: Tensor, text: Tensor) -> Tensor:
    """CSKT's option: a picture and its caption are nearer by 1 than the hardest other pair."""
    distances = torch.cdist(image, text)
    others = distances.masked_fill(torch.eye(len(image), dtype=torch.bool), torch.inf)
    gaps = distances.diag()[:, None] - torch.stack([others.amin(dim=0), others.amin(dim=1)], dim=1)
    return F.relu(gaps + 1).mean(dim=0).sum()


def test_a_step_is_the_published_one(published, batch):
    """Losses, and the gradients of all that trains."""
    outputs = published.train()(batch)
    criterion = TextCriterion({"sdm": 1.0, "itc": 1.0})
    losses = criterion(outputs, batch)
    losses["triplet"] = cross_modal_triplet(outputs.image_features[0], outputs.text_features)
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(golden(f"{name}_loss").item(), rel=1e-4), name
    total = sum(losses.values())
    assert total.item() == pytest.approx(golden("total").item(), rel=1e-4)
    total.backward()

    every = {name: torch.zeros_like(value) for name, value in published.state_dict().items()}
    gradients = {n: p.grad for n, p in published.named_parameters() if p.grad is not None}
    theirs = to_cskt(every | gradients)
    digests = [name for name in GOLDEN.files if "/gstat/" in name]
    for key in digests:
        name = key.split("/gstat/")[1]
        gradient = theirs.pop(name).double().numpy()
        seed = zlib.crc32(f"probe.{name}".encode())
        probe = np.random.RandomState(seed).standard_normal(gradient.shape)
        parts = gradient.sum(), np.abs(gradient).sum(), np.linalg.norm(gradient)
        tolerance = 1e-4 * GOLDEN[key][1] + 1e-6  # sums that cancel round with what they are of
        np.testing.assert_allclose(
            [*parts, (gradient * probe).sum()],
            GOLDEN[key],
            rtol=1e-4,
            atol=tolerance,
            err_msg=name,
        )
    assert not any(gradient.any() for gradient in theirs.values())


def test_the_published_share_trains():
    """ViT-B/16 at 384 x 128."""
    vision = VisionShape(768, 12, 12, patch_size=16, stride=16, image_size=(384, 128))
    text = TextShape(512, 12, 8, context_length=77, vocab_size=49408)
    with torch.device("meta"):
        clip = CLIP(vision, text, embed_dim=512)
        add_prompts(clip)
        add_adapters(clip.visual, clip.visual.shape.width)
        add_adapters(clip.text, clip.text.shape.width)
        model = TBPSCLIP(clip)
    freeze(model, frozen_names(model))
    parameters = list(model.parameters())
    assert sum(p.numel() for p in parameters if p.requires_grad) == 12_117_888
    assert sum(p.numel() for p in parameters) == 161_735_553


# By a slow reference


def slow_tower(transformer, x: Tensor, prompts, tower: str, first: int) -> Tensor:
    """Tokens (L, width), one at a time, through blocks that know neither prompts nor adapters."""
    tokens, count = list(x), 0
    for i, block in enumerate(transformer.blocks):
        if prompts is not None and 0 < i < prompts.depth:
            tokens[first : first + count] = prompts.vectors(tower, i)
        elif prompts is not None and i == 0:
            count = len(prompts.vectors(tower, 0))
        x = torch.stack(tokens)[None]
        x = x + block.attn(block.ln_1(x))
        out = x + block.mlp(block.ln_2(x))
        if (a := block.adapter) is not None:
            hidden = a.ln_3(x) @ a.down.weight.T + a.down.bias
            out = out + a.scale * (hidden.clamp(min=0) @ a.up.weight.T + a.up.bias)
        tokens = list(out[0])
    return torch.stack(tokens)


def slow_image(clip: CLIP, image: Tensor) -> Tensor:
    visual, prompts = clip.visual, clip.prompts
    patches = visual.conv1(image[None])[0].flatten(1).T
    x = torch.cat([visual.class_embedding[None], patches]) + visual.positional_embedding
    if prompts is not None:
        x = torch.cat([x, prompts.vectors("image", 0)])
    first = len(visual.positional_embedding)
    tokens = slow_tower(visual.transformer, visual.ln_pre(x), prompts, "image", first)
    return visual.ln_post(tokens[0]) @ visual.proj


def slow_text(clip: CLIP, tokens: Tensor) -> Tensor:
    """The words of one caption, without padding: it follows the end and is not seen."""
    text, prompts = clip.text, clip.prompts
    words = text.token_embedding(tokens[: tokens.argmax() + 1])
    if prompts is not None:
        new = prompts.vectors("text", 0)
        room = len(text.positional_embedding) - len(new)
        if len(words) > room:
            words = torch.cat([words[: room - 1], words[-1:]])
        words = torch.cat([words[:1], new, words[1:]])
    x = words + text.positional_embedding[: len(words)]
    last = slow_tower(text.transformer, x, prompts, "text", 1)[-1]
    return text.ln_final(last) @ text.projection


@torch.no_grad()
@pytest.mark.parametrize("direction", ["both", "text_to_image", "image_to_text", "independent"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_features_of_every_direction_and_depth(direction, depth, batch):
    clip = tuned({"prompts": {"n_ctx": 4, "depth": depth, "direction": direction}}).clip
    for p in clip.prompts.parameters():
        p.add_(torch.randn_like(p) * 0.2)
    image, text = clip.encode_image(batch.images[0]), clip.encode_text(batch.tokens)
    for i in range(len(batch)):
        torch.testing.assert_close(image[i], slow_image(clip, batch.images[0, i]))
        torch.testing.assert_close(text[i], slow_text(clip, batch.tokens[i]))


@torch.no_grad()
@pytest.mark.parametrize("blocks", [None, (0, 2), (1,)])
@pytest.mark.parametrize("tower", ["visual", "text"])
def test_adapters_of_one_tower_and_of_some_blocks(tower, blocks, batch):
    clip = tuned({}).clip
    before = clip.encode_image(batch.images[0]), clip.encode_text(batch.tokens)
    adapted = getattr(clip, tower)
    add_adapters(adapted, adapted.shape.width, reduction=4, scale=20.0, blocks=blocks)
    has = [block.adapter is not None for block in adapted.transformer.blocks]
    assert has == [blocks is None or i in blocks for i in range(3)]
    after = clip.encode_image(batch.images[0]), clip.encode_text(batch.tokens)
    unchanged = [torch.equal(*pair) for pair in zip(before, after, strict=True)]
    assert unchanged == [tower == "text", tower == "visual"]
    for i in range(len(batch)):
        torch.testing.assert_close(after[0][i], slow_image(clip, batch.images[0, i]))
        torch.testing.assert_close(after[1][i], slow_text(clip, batch.tokens[i]))


@torch.no_grad()
def test_the_length_of_the_padding_changes_nothing(batch):
    """Short batches come without padding to the context length."""
    text, tokens = tuned(PUBLISHED).clip.encode_text, batch.tokens[:2, :16]
    short, every = text(tokens, dense=True)
    torch.testing.assert_close(short, text(batch.tokens[:2]))
    torch.testing.assert_close(every, text(batch.tokens[:2], dense=True)[1][:, :16])


def test_text_vectors_begin_as_words():
    torch.manual_seed(0)
    clip = CLIP(VISION, TextShape(64, 3, 1, context_length=40, vocab_size=49408), embed_dim=32)
    with pytest.raises(InputError, match="gives none"):
        start_from_words(clip, ClipTokenizer(), "a photo of a")
    prompts = add_prompts(clip, n_ctx=4, depth=3)
    deeper = prompts.text[1:].clone()
    start_from_words(clip, ClipTokenizer(), "a photo of a")
    ids = ClipTokenizer()(["a photo of a"])[0, 1:5]
    assert torch.equal(prompts.text[0], clip.text.token_embedding.weight[ids])
    assert torch.equal(prompts.text[1:], deeper)
    assert prompts.text.requires_grad
    with pytest.raises(InputError, match=r'"a photo" are 2 tokens and prompts.n_ctx is 4'):
        start_from_words(clip, ClipTokenizer(), "a photo")


# Training


def test_everything_added_starts_small():
    torch.manual_seed(0)
    clip = CLIP(VISION, TEXT, embed_dim=32)
    tune(clip, Tuning.from_tree(PUBLISHED))
    added = {n: p for n, p in clip.named_parameters() if "adapter" in n or "prompts" in n}
    assert len(added) == 2 * 3 * 6 + 2 + 2 * 3 * 2
    for name, parameter in added.items():
        if "ln_3" in name:
            assert torch.equal(parameter, torch.full_like(parameter, float("weight" in name)))
        elif name.endswith("bias"):
            assert not parameter.any()
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.15), name


ALL_LOSSES = {"sdm": 1.0, "itc": 1.0, "nitc": 1.0, "ritc": 1.0, "citc": 0.1, "id": 1.0, "mlm": 1.0}


@pytest.mark.parametrize(
    "tuning",
    [
        PUBLISHED,
        *({"prompts": {"n_ctx": 2, "depth": 2, "direction": d}} for d in ("text_to_image",)),
        {"prompts": {"n_ctx": 2, "depth": 1, "direction": "image_to_text"}},
        ADAPTERS,
    ],
)
def test_every_loss_trains_what_was_added_and_nothing_else(tuning, batch):
    """As DDP demands, everything that trains has a gradient."""
    heads = {
        "classifier": Classifier(32, 4),
        "mlm_decoder": MaskedLanguageDecoder(32, 1, 1, TEXT.vocab_size),
    }
    model = tuned(tuning, **heads).train()
    room = model.clip.text.room
    tokens = model.clip.text.cut(batch.tokens)
    assert tokens.shape[1] == room
    labels = torch.full_like(tokens, -100)
    labels[:, 1] = tokens[:, 1]
    masked = TextBatch(
        batch.images.expand(2, *batch.images.shape[1:]), tokens, batch.ids, None, labels
    )
    before = {name: tensor.clone() for name, tensor in masked.present().items()}
    criterion, outputs = TextCriterion(ALL_LOSSES), model(masked)
    criterion.total(criterion(outputs, masked), outputs).backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in masked.present().items())
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {name for name, p in model.named_parameters() if p.requires_grad}
    backbone = set(CLIP(VISION, TEXT, 32).state_dict())
    assert not trained & {f"clip.{name}" for name in backbone}
    assert len(trained) == len(list(model.parameters())) - len(backbone)


def test_the_scale_stays_where_it_was_put(published, batch):
    assert published.clip.logit_scale.exp().item() == pytest.approx(50)
    optimizer = torch.optim.SGD(p for p in published.parameters() if p.requires_grad)
    criterion, outputs = TextCriterion({"sdm": 1.0}), published(batch)
    criterion.total(criterion(outputs, batch), outputs).backward()
    optimizer.step()
    published.constrain()
    assert published.clip.logit_scale.exp().item() == pytest.approx(50)
    assert "clip.logit_scale" in frozen_names(published)
    assert "clip.logit_scale" not in frozen_names(published, learns_scale=True)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_comes_before_the_first_adapter_builds_no_graph(checkpointing, batch):
    torch.manual_seed(0)
    clip = CLIP(VISION, TEXT, embed_dim=32, gradient_checkpointing=checkpointing)
    add_adapters(clip.visual, clip.visual.shape.width, blocks=[2])
    add_adapters(clip.text, clip.text.shape.width, blocks=[1])
    model = TBPSCLIP(clip)
    freeze(model, frozen_names(model))
    image = clip.visual.ln_pre(clip.visual.embed(batch.images[0]))
    text = clip.text.embed(batch.tokens)
    graphs = [
        [x.requires_grad for x in tower.transformer.stream(x)]
        for tower, x in ((clip.visual, image), (clip.text, text))
    ]
    assert graphs == [[False, False, False, True], [False, False, True, True]]


def test_checkpointing_and_autocast_go_with_it(batch):
    plain = tuned(PUBLISHED)
    state = plain.state_dict()
    clip = CLIP(VISION, TEXT, embed_dim=32, gradient_checkpointing=True)
    tune(clip, Tuning.from_tree(PUBLISHED))
    again = TBPSCLIP(clip)
    again.load_state_dict(state)
    freeze(again, frozen_names(again))
    gradients = []
    for model in (plain, again):
        criterion, outputs = TextCriterion({"sdm": 1.0}), model(batch)
        criterion.total(criterion(outputs, batch), outputs).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    torch.testing.assert_close(*gradients)
    with torch.autocast("cpu", torch.bfloat16):
        visual = plain.clip.visual
        tokens = visual.transformer.stream(visual.ln_pre(visual.embed(batch.images[0])))
        assert {x.dtype for x in tokens} == {torch.float32}
        rounded = plain(batch)
    exact = plain(batch).image_features
    torch.testing.assert_close(rounded.image_features.float(), exact, atol=0.1, rtol=0.1)


# Its description


@pytest.mark.parametrize(
    "tuning",
    [
        {},
        {"prompts": {"n_ctx": 2, "depth": 1, "direction": "text_to_image"}},
        {
            "prompts": {"n_ctx": 3, "depth": 2, "direction": "both"},
            "image_adapters": {"reduction": 4, "scale": 0.5, "blocks": [1, 2]},
            "text_adapters": {"reduction": 8, "scale": 4.0, "blocks": [0, 1, 2]},
        },
    ],
)
def test_a_description_makes_the_like_of_it(tuning):
    clip = tuned(tuning).clip
    assert describe_tuning(clip) == Tuning.from_tree(tuning)
    assert describe_tuning(clip).to_tree() == tuning
    again = CLIP(VISION, TEXT, embed_dim=32)
    tune(again, describe_tuning(clip))
    again.load_state_dict(clip.state_dict())


@pytest.mark.parametrize(
    ("tuning", "told"),
    [
        ({"prompts": {"depth": 4}}, "prompts.depth is 4: give 1 to 3"),
        ({"prompts": {"depth": 0}}, "prompts.depth is 0"),
        ({"prompts": {"depth": 1, "n_ctx": 19}}, "n_ctx=19 leaves 2 of 40 tokens"),
        ({"image_adapters": {"blocks": [0, 3]}}, "cannot sit in block 3: the tower has 3 blocks"),
        ({"text_adapters": {"reduction": 65}}, "adapters.reduction is 65: give 1 to 64"),
    ],
)
def test_what_has_no_place_is_refused(tuning, told):
    with pytest.raises(InputError, match=told):
        tune(CLIP(VISION, TEXT, embed_dim=32), Tuning.from_tree(tuning))


def test_a_resnet_has_no_place_for_either():
    shape = ResNetShape(8, (1, 1, 1, 1), heads=4, image_size=(64, 32))
    clip = CLIP(shape, TEXT, embed_dim=32)
    with pytest.raises(InputError, match="this image tower is a ResNet"):
        add_prompts(clip, depth=1)
    with pytest.raises(InputError, match="cannot sit in a ResNet"):
        add_adapters(clip.visual, clip.visual.shape.width)


# On AltCLIP


def small_altclip() -> AltCLIP:
    torch.manual_seed(0)
    text = AltTextShape(64, 2, 1, context_length=40, vocab_size=600, transformed_width=48)
    return AltCLIP(VISION, text, embed_dim=32)


def test_altclip_has_prompts_in_its_image_tower_and_adapters_in_both(batch):
    clip = small_altclip()
    names = clip.state_dict().keys()
    images, tokens = batch.images[0], batch.tokens.clamp(min=2)
    text, image = clip.encode_text(tokens), clip.encode_image(images)
    with pytest.raises(InputError, match=r"takes no prompts: set prompts.direction=independent"):
        add_prompts(clip, depth=2)
    tune(clip, Tuning(prompts=PromptTuning(4, 3, "independent")))
    assert torch.equal(clip.encode_text(tokens), text)
    torch.testing.assert_close(clip.encode_image(images)[0], slow_image(clip, images[0]))
    assert not torch.allclose(clip.encode_image(images), image, atol=1e-3)
    tune(clip, Tuning.from_tree(ADAPTERS))
    assert describe_tuning(clip).text_adapters == AdapterTuning(8, 4.0, (0, 1))
    model = TBPSCLIP(clip)
    freeze(model, frozen_names(model))
    outputs, criterion = (
        model(TextBatch(batch.images, tokens, batch.ids)),
        TextCriterion({"sdm": 1.0}),
    )
    criterion.total(criterion(outputs, batch), outputs).backward()
    trained = {
        name.removeprefix("clip.") for name, p in model.named_parameters() if p.requires_grad
    }
    assert trained == clip.state_dict().keys() - names
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@torch.no_grad()
def test_an_adapter_in_xlm_roberta_stands_beside_the_mlp(batch):
    clip = small_altclip()
    add_adapters(clip.text, clip.text.shape.width, scale=4.0)
    layer, x = clip.text.encoder.layers[0], torch.randn(2, 5, 64)
    attended = layer.attention(x)
    out = layer.output
    branch = out.dense(layer.intermediate(attended)) + out.adapter(attended)
    torch.testing.assert_close(layer(x), out.LayerNorm(attended + branch))
