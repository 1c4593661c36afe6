"""AltCLIP: CLIP with a multilingual text tower (Chen et al., 2022, arXiv 2211.06679).

The image tower is our own, so that what is built on CLIP's works here; the text tower's body,
XLM-RoBERTa, is transformers'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from transformers import AltCLIPTextConfig
from transformers.models.altclip.modeling_altclip import AltRobertaModel

from model.clip import LORA_LAYERS, DualEncoder, TextShape
from model.transformer import Activation
from model.tuning.description import LoraTarget, Tower
from model.vit import VisionShape, VisionTransformer

# As transformers names them.
XLM_ROBERTA_LAYERS: dict[LoraTarget, str] = {
    "attention": r"encoder\.layers\.\d+\.attention\.(self\.(query|key|value)|output\.dense)",
    "mlp": r"encoder\.layers\.\d+\.(intermediate|output)\.dense",
}


@dataclass(frozen=True)
class AltTextShape(TextShape):
    """Sizes of XLM-RoBERTa and of what `transformation` makes of its width."""

    transformed_width: int = 768
    pad_id: int = 1


class PlainOutput(Protocol):
    """The output layer of a block of BERT or RoBERTa in transformers."""

    dense: nn.Linear
    dropout: nn.Dropout
    LayerNorm: nn.LayerNorm


class Output(nn.Module):
    """The output layer of the blocks of BERT or RoBERTa with an adapter slot.

    x = LayerNorm(x + mlp(x) + adapter(x))

    Args:
        plain: the same without the slot, whose weights and names these are.
    """

    def __init__(self, plain: PlainOutput) -> None:
        super().__init__()
        self.dense, self.dropout, self.LayerNorm = plain.dense, plain.dropout, plain.LayerNorm
        self.adapter: nn.Module | None = None

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        branch = self.dropout(self.dense(hidden))
        if self.adapter is not None:
            branch = branch + self.adapter(x)
        return self.LayerNorm(branch + x)


class AltTextTransformer(nn.Module):
    """A bidirectional transformer over token ids; a caption's feature stands at its first token.

    Dropout is that of the attention weights alone, as in TBPS-CLIP; XLM-RoBERTa was trained with
    0.1 everywhere.
    """

    def __init__(
        self, shape: AltTextShape, embed_dim: int, gradient_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.shape = shape
        config = AltCLIPTextConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.width,
            intermediate_size=shape.mlp_width or 4 * shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.pad_id + 1 + shape.context_length,  # from pad_id + 1 on
            pad_token_id=shape.pad_id,
            attention_probs_dropout_prob=shape.dropout,
            hidden_dropout_prob=0.0,
        )
        roberta = AltRobertaModel(config, add_pooling_layer=False)
        roberta.set_attn_implementation("sdpa")  # which takes a mask of booleans
        if gradient_checkpointing:
            roberta.activation_checkpointing_enable({"use_reentrant": False})
        self.embeddings, self.encoder = roberta.embeddings, roberta.encoder
        # Buffers that `forward` makes needless, and that no state dict would fill.
        del self.embeddings.position_ids, self.embeddings.token_type_ids
        for layer in self.encoder.layers:
            layer.output = Output(cast(PlainOutput, layer.output))
        self.pre_LN = nn.LayerNorm(shape.width)
        self.transformation = nn.Linear(shape.width, shape.transformed_width)
        self.projection = nn.Linear(shape.transformed_width, embed_dim, bias=False)

    @property
    def room(self) -> int:
        """Tokens of the longest caption that is read whole."""
        return self.shape.context_length

    def locate(self, tokens: Tensor) -> Tensor:
        """The first token: ids (B, L) -> (B,)."""
        return tokens.new_zeros(tokens.shape[0])

    def project(self, x: Tensor) -> Tensor:
        """Tokens (..., width) -> the joint space (..., embed_dim)."""
        return self.projection(self.transformation(self.pre_LN(x)))

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids (B, L), L up to the context length -> tokens after the last block (B, L, width).

        No token sees padding.
        """
        x = self.embeddings(tokens, token_type_ids=torch.zeros_like(tokens))
        seen = (tokens != self.shape.pad_id)[:, None, None]  # (B, 1, 1, L)
        return self.encoder(x, attention_mask=seen).last_hidden_state


class AltCLIP(DualEncoder):
    """CLIP's vision transformer and XLM-RoBERTa, with random weights.

    Args:
        embed_dim: D, the width of the joint space.
        activation: of the image tower's MLPs; the text tower's have GELU.
        gradient_checkpointing: recompute the blocks in the backward: less memory, more time.
    """

    visual: VisionTransformer
    text: AltTextTransformer
    lora_layers: Mapping[Tower, Mapping[LoraTarget, str]] = {
        "image": LORA_LAYERS,
        "text": XLM_ROBERTA_LAYERS,
    }

    def __init__(
        self,
        vision: VisionShape,
        text: AltTextShape,
        embed_dim: int,
        activation: Activation = "quickgelu",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(
            VisionTransformer(vision, embed_dim, activation, gradient_checkpointing),
            AltTextTransformer(text, embed_dim, gradient_checkpointing),
            embed_dim,
            activation,
        )
