"""Relevance of a picture's patches to a score, through the attention of our vision transformer.

Chefer, Gur & Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers, ICCV 2021, arXiv 2103.15679, the rules of self-attention.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from model.transformer import Attention, Transformer
from model.vit import VisionTransformer


def patch_relevance(
    tower: VisionTransformer, images: Tensor, score: Callable[[Tensor], Tensor]
) -> Tensor:
    """Relevance of each patch to the score of its image, at least 0.

    With A the attention of a block and G the gradient of the score to it, R = R + E_h[(G * A)+] R
    from block to block (equations 5 and 6), beginning with the identity; the result is the row of
    the class token.

    Args:
        tower: without prompts, which its blocks would exchange for others.
        images: (B, 3, H, W), normalised.
        score: images -> (B,), computed by `tower`, the score of a row from the image of that row.

    Returns:
        (B, rows, columns) of the grid of patches, float32.
    """
    assert tower.transformer.prompts is None
    with attention_recorded(tower.transformer) as attention, torch.enable_grad():
        # Where the tower is frozen, the images let a gradient flow.
        total = score(images.detach().requires_grad_()).sum()
        gradients = torch.autograd.grad(total, attention)
    relevance = roll_out([a.detach() for a in attention], gradients)[:, 0]
    rows, columns = tower.shape.grid
    return relevance[:, 1 : 1 + rows * columns].view(-1, rows, columns)


def roll_out(attention: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Relevance of the input tokens (columns) to those after the last block (rows), (B, K, L).

    Args:
        attention, gradients: of each block, (B, heads, L, L); of the last, (B, heads, K, L), where
            only the first K tokens may be computed.
    """
    relevance = torch.eye(attention[0].shape[-1], device=attention[0].device)
    for weights, gradient in zip(attention, gradients, strict=True):
        own = relevance[..., : weights.shape[2], :]
        relevance = own + (gradient * weights).clamp(min=0).mean(dim=1) @ relevance
    return relevance


@contextmanager
def attention_recorded(transformer: Transformer) -> Iterator[list[Tensor]]:
    """The attention (B, heads, K, L) of each block that runs within, in the graph of its output.

    Only there, blocks compute their attention step by step; their ordinary path does not keep it.
    """
    recorded: list[Tensor] = []

    def record(attention: Attention, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
        x, _, places = inputs
        output, weights = attend(attention, x, x if places is None else x[:, places])
        recorded.append(weights)
        return output

    checkpoints, transformer.gradient_checkpointing = transformer.gradient_checkpointing, False
    attentions = [part for part in transformer.modules() if isinstance(part, Attention)]
    hooks = [attention.register_forward_hook(record) for attention in attentions]
    try:
        yield recorded
    finally:
        transformer.gradient_checkpointing = checkpoints
        for hook in hooks:
            hook.remove()


def attend(attention: Attention, x: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """`Attention.forward` without a mask or dropout, and its weights (B, heads, K, L).

    Args:
        queries: (B, K, D), the tokens of `x` asked for.
    """
    assert not attention.causal
    B, _, D = x.shape
    split = (B, -1, attention.heads, D // attention.heads)
    q = attention.q_proj(queries).view(split).transpose(1, 2)  # (B, heads, L, D / heads)
    k = attention.k_proj(x).view(split).transpose(1, 2)
    v = attention.v_proj(x).view(split).transpose(1, 2)
    weights = (q @ k.transpose(2, 3) * q.shape[-1] ** -0.5).softmax(dim=-1)
    y = (weights @ v).transpose(1, 2).reshape(B, -1, D)
    return attention.out_proj(y), weights
