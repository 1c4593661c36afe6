"""Chinese-CLIP (Yang et al., 2022, arXiv 2211.01335): CLIP whose text tower is a Chinese BERT.

The image tower is our own, so that what is built on CLIP's works here; the body of the text tower
is transformers'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import ChineseCLIPTextConfig
from transformers.models.chinese_clip.modeling_chinese_clip import ChineseCLIPTextModel

from model.altclip import Output, PlainOutput
from model.clip import LORA_LAYERS, DualEncoder, TextShape
from model.transformer import Activation
from model.tuning.description import LoraTarget, Tower
from model.vit import VisionShape, VisionTransformer

# As transformers names them.
BERT_LAYERS: dict[LoraTarget, str] = {
    "attention": r"encoder\.layer\.\d+\.attention\.(self\.(query|key|value)|output\.dense)",
    "mlp": r"encoder\.layer\.\d+\.(intermediate|output)\.dense",
}


@dataclass(frozen=True)
class BertShape(TextShape):
    """Sizes of BERT; `eps` is that of its LayerNorms."""

    pad_id: int = 0
    eps: float = 1e-12


class BertTransformer(nn.Module):
    """A bidirectional transformer over token ids; a caption's feature stands at its first token.

    Dropout is that of the attention weights alone, as in TBPS-CLIP.
    """

    def __init__(
        self, shape: BertShape, embed_dim: int, gradient_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.shape = shape
        config = ChineseCLIPTextConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.width,
            intermediate_size=shape.mlp_width or 4 * shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.context_length,
            pad_token_id=shape.pad_id,
            layer_norm_eps=shape.eps,
            attention_probs_dropout_prob=shape.dropout,
            hidden_dropout_prob=0.0,
        )
        bert = ChineseCLIPTextModel(config, add_pooling_layer=False)
        bert.set_attn_implementation("sdpa")  # which takes a mask of booleans
        if gradient_checkpointing:
            bert.activation_checkpointing_enable({"use_reentrant": False})
        self.embeddings, self.encoder = bert.embeddings, bert.encoder
        # Buffers that `forward` makes needless, and that no state dict would fill.
        del self.embeddings.position_ids, self.embeddings.token_type_ids
        for layer in self.encoder.layer:
            layer.output = Output(cast(PlainOutput, layer.output))
        self.projection = nn.Linear(shape.width, embed_dim, bias=False)

    @property
    def room(self) -> int:
        """Tokens of the longest caption that is read whole."""
        return self.shape.context_length

    def locate(self, tokens: Tensor) -> Tensor:
        """The first token: ids (B, L) -> (B,)."""
        return tokens.new_zeros(tokens.shape[0])

    def project(self, x: Tensor) -> Tensor:
        """Tokens (..., width) -> the joint space (..., embed_dim)."""
        return self.projection(x)

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids (B, L), L up to the context length -> tokens after the last block (B, L, width).

        No token sees padding.
        """
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        segments = torch.zeros_like(tokens)
        x = self.embeddings(tokens, token_type_ids=segments, position_ids=positions)
        seen = (tokens != self.shape.pad_id)[:, None, None]  # (B, 1, 1, L)
        return self.encoder(x, attention_mask=seen).last_hidden_state


class ChineseCLIP(DualEncoder):
    """CLIP's vision transformer and BERT, with random weights.

    Args:
        embed_dim: D, the width of the joint space.
        activation: of the image tower's MLPs; the text tower's have GELU.
        gradient_checkpointing: recompute the blocks in the backward: less memory, more time.
    """

    visual: VisionTransformer
    text: BertTransformer
    lora_layers: Mapping[Tower, Mapping[LoraTarget, str]] = {
        "image": LORA_LAYERS,
        "text": BERT_LAYERS,
    }

    def __init__(
        self,
        vision: VisionShape,
        text: BertShape,
        embed_dim: int,
        activation: Activation = "quickgelu",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(
            VisionTransformer(vision, embed_dim, activation, gradient_checkpointing),
            BertTransformer(text, embed_dim, gradient_checkpointing),
            embed_dim,
            activation,
        )
