"""Attention of the towers' last block, and the embedding of the tokens that draw the most of it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model.batch_norm import BatchNorm, share_statistics
from model.clip import CLIP, TextShape
from model.heads import ImageTokenSelection, SelectionShape, TextTokenSelection, TokenSelection
from model.tbps_clip import TBPSCLIP, Selectors, join_embeddings
from model.vit import VisionShape
from model.weights.published.rde import HEAD_NAMES
from tests import GOLDEN_FILES
from tests.model.criteria.test_text_gather import Recording, Replaying

GOLDEN = np.load(GOLDEN_FILES / "rde.npz")
SHAPE = SelectionShape(64, 0.3)


def golden(name: str) -> Tensor:
    return torch.tensor(GOLDEN[f"t0/{name}"])


def published(head: TokenSelection, prefix: str) -> TokenSelection:
    """A head with the weights of RDE's: `V` of the image, whose `linear` is unused, or `T`."""
    names = {**dict(HEAD_NAMES), **({"linear.": "fc."} if prefix == "V" else {})}
    state = {}
    for name in head.state_dict():
        ours = next(ours for ours in names if name.startswith(ours))
        state[name] = golden(f"{prefix}.{name.replace(ours, names[ours], 1)}")
    head.load_state_dict(state)
    return head.eval()


def test_the_embedding_is_of_the_published_size():
    assert SelectionShape() == SelectionShape(embed_dim=1024, ratio=0.3)


def before_training(norm: BatchNorm, mean: Tensor, var: Tensor) -> None:
    """Take the update out of the running statistics: the golden ones are those after a step."""
    norm.running_mean = (norm.running_mean - 0.1 * mean) / 0.9
    norm.running_var = (norm.running_var - 0.1 * var) / 0.9


@pytest.fixture
def image_head() -> ImageTokenSelection:
    return published(ImageTokenSelection(32, SHAPE), "V")


def image_inputs() -> tuple[Tensor, Tensor]:
    return golden("image_tokens"), golden("image_attention")[:, 0]  # of the class token


def test_images_are_embedded_as_published(image_head):
    inputs, norm = image_inputs(), image_head.mlp[1]
    held = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    image_head.train()
    torch.testing.assert_close(image_head(*inputs), golden("image_out_train"), rtol=1e-4, atol=1e-4)
    mean = (norm.running_mean - 0.9 * held["running_mean"]) / 0.1
    var = (norm.running_var - 0.9 * held["running_var"]) / 0.1
    norm.load_state_dict(held)
    before_training(norm, mean, var)
    image_head.eval()
    torch.testing.assert_close(image_head(*inputs), golden("image_out"), rtol=1e-4, atol=1e-4)


def text_inputs() -> tuple[Tensor, Tensor, Tensor]:
    ends = golden("ids").argmax(dim=1)
    return golden("text_tokens"), golden("text_attention")[torch.arange(len(ends)), ends], ends


def test_captions_are_embedded_as_published():
    head = published(TextTokenSelection(32, SHAPE, context_length=20), "T")
    torch.testing.assert_close(head(*text_inputs()), golden("text_out"), rtol=1e-4, atol=1e-4)


def test_padding_that_is_cut_off_changes_nothing():
    head = published(TextTokenSelection(32, SHAPE, context_length=20), "T")
    tokens, attention, ends = (rows[2:3] for rows in text_inputs())  # of two words
    whole = head(tokens, attention, ends)
    torch.testing.assert_close(head(tokens[:, :4], attention[:, :4], ends), whole)


def test_a_caption_without_words_has_an_embedding():
    head = TextTokenSelection(32, SHAPE, context_length=20).eval()
    assert head(torch.randn(1, 8, 32), torch.rand(1, 8), torch.tensor([1])).isfinite().all()


def test_two_processes_embed_in_training_as_one(image_head):
    inputs = [rows[:4] for rows in image_inputs()]
    halves = list(zip(*(rows.split(2) for rows in inputs), strict=True))
    whole = image_head.train()(*inputs)
    parts = []
    for rank in range(2):
        other = Recording(1 - rank)
        share_statistics(image_head, other)
        image_head(*halves[1 - rank])
        share_statistics(image_head, Replaying(other))
        parts.append(image_head(*halves[rank]))
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.fixture
def clip() -> CLIP:
    torch.manual_seed(0)
    vision = VisionShape(32, 2, 4, patch_size=8, stride=8, image_size=(32, 16))
    return CLIP(vision, TextShape(32, 2, 4, context_length=12, vocab_size=50), embed_dim=16)


TOKENS = torch.tensor([[48, 5, 7, 9, 49, 0, 0, 0], [48, 3, 49, 0, 0, 0, 0, 0]])


def slow_attention(block: torch.nn.Module, x: Tensor, causal: bool) -> Tensor:
    """The mean over the heads of softmax(q k / sqrt d), (L, L), of one sample."""
    x = block.ln_1(x)
    heads = []
    for q, k in zip(
        block.attn.q_proj(x).chunk(4, dim=1), block.attn.k_proj(x).chunk(4, dim=1), strict=True
    ):
        logits = q @ k.T / q.shape[1] ** 0.5
        if causal:
            logits = logits.masked_fill(torch.ones_like(logits).triu(1).bool(), -torch.inf)
        heads.append(logits.softmax(dim=1))
    return torch.stack(heads).mean(dim=0)


def test_attention_is_that_of_the_last_block(clip):
    images = torch.randn(2, 3, 32, 16)
    image, text = clip.attend_image(images), clip.attend_text(TOKENS)
    for attended, encode, inputs in (
        (image, clip.encode_image, images),
        (text, clip.encode_text, TOKENS),
    ):
        features, every = encode(inputs, dense=True)
        torch.testing.assert_close(attended.features, features)
        torch.testing.assert_close(attended.tokens, every)
        assert not attended.attention.requires_grad
    _, before, _ = clip.visual.transformer.stream(clip.visual.ln_pre(clip.visual.embed(images)))
    expected = [slow_attention(clip.visual.transformer.blocks[1], x, False)[0] for x in before]
    torch.testing.assert_close(image.attention, torch.stack(expected))
    _, before, _ = clip.text.transformer.stream(clip.text.embed(TOKENS))
    ends = TOKENS.argmax(dim=1)
    expected = [
        slow_attention(clip.text.transformer.blocks[1], x, True)[end]
        for x, end in zip(before, ends, strict=True)
    ]
    torch.testing.assert_close(text.attention, torch.stack(expected))


def test_joined_embeddings_have_the_mean_cosine(clip):
    a, b = (torch.randn(4, width) for width in (16, 8)), (torch.randn(4, w) for w in (16, 8))
    (a1, a2), (b1, b2) = a, b
    joined = join_embeddings(a1, a2) @ join_embeddings(b1, b2).T
    cosine = torch.nn.functional.cosine_similarity
    mean = (cosine(a1[:, None], b1, dim=2) + cosine(a2[:, None], b2, dim=2)) / 2
    torch.testing.assert_close(joined, mean)


def test_a_model_embeds_twice(clip):
    selectors = Selectors(
        ImageTokenSelection(16, SelectionShape(8)), TextTokenSelection(16, SelectionShape(8), 12)
    )
    model = TBPSCLIP(clip, selectors=selectors).eval()
    images = torch.randn(2, 3, 32, 16)
    features = model.encode_image(images)
    assert features.shape == (2, 24)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    own = torch.nn.functional.normalize(clip.encode_image(images), dim=1)
    torch.testing.assert_close(features[:, :16], own / 2**0.5)
    assert model.encode_text(TOKENS).shape == (2, 24)
    before = model.encoder_hash()
    torch.nn.init.zeros_(model.image_selector.linear.weight)
    assert model.encoder_hash() != before
