import math

import pytest
import torch
from torch import nn

from model.transformer import Attention, Block, QuickGELU, Transformer

WIDTH, HEADS = 32, 4


def reference_attention(attention: Attention) -> nn.MultiheadAttention:
    """torch's own attention with the same weights."""
    reference = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    reference.in_proj_weight.data = torch.cat([part.weight for part in parts])
    reference.in_proj_bias.data = torch.cat([part.bias for part in parts])
    reference.out_proj.load_state_dict(attention.out_proj.state_dict())
    return reference


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_torch(causal):
    torch.manual_seed(0)
    attention = Attention(WIDTH, HEADS, causal)
    reference = reference_attention(attention)
    x = torch.randn(3, 7, WIDTH)
    mask = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
    expected, _ = reference(x, x, x, attn_mask=mask, need_weights=False)
    torch.testing.assert_close(attention(x), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("places", [slice(1), slice(None, None, 6)])
def test_tokens_asked_for_alone_are_those_of_the_whole(places, checkpointing):
    torch.manual_seed(0)
    transformer = Transformer(WIDTH, 3, HEADS, gradient_checkpointing=checkpointing)
    for parameter in transformer.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(3, 7, WIDTH, requires_grad=True)
    mask = torch.rand(7, 7) > 0.3
    mask.fill_diagonal_(True)

    def last(tokens):
        pieces = (x, *transformer.parameters())
        return tokens.detach(), torch.autograd.grad(tokens.square().sum(), pieces)

    *_, every = transformer.stream(x, mask)
    *before, asked = transformer.stream(x, mask, places)
    assert [tokens.shape for tokens in (*before, asked)] == [x.shape] * 3 + [every[:, places].shape]
    torch.testing.assert_close(last(asked), last(every[:, places]), atol=1e-5, rtol=1e-4)


def test_attention_dropout_is_for_training_only():
    torch.manual_seed(0)
    attention = Attention(WIDTH, HEADS, dropout=0.5)
    plain = Attention(WIDTH, HEADS)
    plain.load_state_dict(attention.state_dict())
    x = torch.randn(2, 5, WIDTH)
    assert torch.equal(attention.eval()(x), plain(x))
    attention.train()
    assert not torch.allclose(attention(x), attention(x))


def test_attention_refuses_uneven_heads():
    with pytest.raises(AssertionError, match="not a multiple"):
        Attention(WIDTH, 5)


def test_quickgelu():
    x = torch.tensor([-3.0, 0.0, 1.0])
    expected = torch.tensor([-3 / (1 + math.exp(3 * 1.702)), 0.0, 1 / (1 + math.exp(-1.702))])
    torch.testing.assert_close(QuickGELU()(x), expected)


def test_adapter_slot_adds_a_branch_to_the_mlp():
    torch.manual_seed(0)
    block = Block(WIDTH, HEADS, "gelu", causal=False, dropout=0.0)
    names = set(block.state_dict())
    x = torch.randn(2, 5, WIDTH)
    attended = x + block.attn(block.ln_1(x))
    plain = attended + block.mlp(block.ln_2(attended))
    torch.testing.assert_close(block(x), plain)
    block.adapter = nn.Linear(WIDTH, WIDTH)
    torch.testing.assert_close(block(x), plain + block.adapter(attended))
    assert set(block.state_dict()) - names == {"adapter.weight", "adapter.bias"}


def test_prompts_slot_comes_before_every_later_block():
    torch.manual_seed(0)
    transformer = Transformer(WIDTH, 3, HEADS)
    x = torch.randn(2, 5, WIDTH)
    fresh = torch.randn(3, 1, WIDTH)
    calls = []

    def prompts(layer, x):
        calls.append(layer)
        return torch.cat([x[:, :-1], fresh[layer].expand(len(x), -1, -1)], dim=1)

    expected = x
    for i, block in enumerate(transformer.blocks):
        expected = block(prompts(i, expected) if i else expected)
    calls.clear()
    transformer.prompts = prompts
    assert torch.equal(transformer(x), expected)
    assert calls == [1, 2]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_stream_is_given_out_between_blocks(checkpointing):
    torch.manual_seed(0)
    transformer = Transformer(WIDTH, 3, HEADS, gradient_checkpointing=checkpointing)
    expected = [torch.randn(2, 5, WIDTH)]
    for block in transformer.blocks:
        expected.append(block(expected[-1]))
    for ours, after in zip(transformer.stream(expected[0]), expected, strict=True):
        assert torch.equal(ours, after)
    assert torch.equal(transformer(expected[0]), expected[-1])


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpointing_gives_equal_gradients(dropout):
    def gradients(checkpointing):
        torch.manual_seed(0)
        transformer = Transformer(
            WIDTH, 2, HEADS, causal=True, dropout=dropout, gradient_checkpointing=checkpointing
        )
        x = torch.randn(2, 5, WIDTH, requires_grad=True)
        transformer(x).square().mean().backward()
        return [x.grad, *(parameter.grad for parameter in transformer.parameters())]

    for plain, recomputed in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, recomputed)


def test_checkpointing_keeps_only_block_inputs():
    def saved_elements(checkpointing):
        transformer = Transformer(WIDTH, 2, HEADS, gradient_checkpointing=checkpointing)
        total = 0

        def pack(tensor):
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            transformer(torch.randn(2, 5, WIDTH, requires_grad=True))
        return total

    assert saved_elements(True) < saved_elements(False) / 5


def test_stream_stays_float32_under_autocast():
    torch.manual_seed(0)
    transformer = Transformer(WIDTH, 2, HEADS, causal=True)
    dtypes = {}
    for name, module in transformer.named_modules():
        module.register_forward_hook(
            lambda _, __, output, name=name: dtypes.update({name: output.dtype})
        )
    x = torch.randn(2, 5, WIDTH)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = transformer(x)
    assert {dtypes[name] for name in ("blocks.0", "blocks.1")} == {torch.float32}
    assert {dtypes[name] for name in dtypes if ".ln_" in name} == {torch.float32}
    assert dtypes["blocks.0.attn"] == dtypes["blocks.0.mlp"] == torch.bfloat16
    torch.testing.assert_close(rounded, transformer(x), atol=0.05, rtol=0.05)


def test_initialisation_is_scaled_by_width_and_depth():
    torch.manual_seed(0)
    width, layers = 256, 8
    block = Transformer(width, layers, 4).blocks[3]
    stds = {
        block.attn.q_proj: width**-0.5,
        block.attn.out_proj: (2 * layers * width) ** -0.5,
        block.mlp.c_fc: (2 * width) ** -0.5,
        block.mlp.c_proj: (2 * layers * width) ** -0.5,
    }
    for linear, std in stds.items():
        assert linear.weight.std().item() == pytest.approx(std, rel=0.02)
        assert not linear.bias.any()
