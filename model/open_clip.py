"""Every model of open_clip that is not CLIP's, in a small wrapper.

Its towers are the library's, so that they have no places for prompts and adapters.
"""

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from errors import InputError
from model.batch_norm import BatchNorm
from model.clip import DualEncoder
from model.configured import ConfiguredShape, ConfiguredTextShape
from model.transformer import Attention
from model.trees import Tree
from model.tuning.description import LoraTarget

WITH_TOKENS = open_clip.transformer.TextTransformer | open_clip.transformer.VisionTransformer
BLOCKS = open_clip.transformer.ResidualAttentionBlock
_ATTENTION = re.compile(r"(^|\.)(attn|attention|self_attn|attn_pool|token_mixer)\.")
_NAME = re.compile(r"\w[\w.-]*")  # of timm itself: neither of a folder nor of the hub
_MLP = re.compile(r"\.(mlp|intermediate|output)\.")


class SplitAttention(Attention):
    """`nn.MultiheadAttention` with a linear layer for each projection, as LoRA needs them."""

    @classmethod
    def of(cls, joined: nn.MultiheadAttention) -> "SplitAttention":
        """The same attention, with the same weights."""
        split = cls(joined.embed_dim, joined.num_heads)
        weights, biases = joined.in_proj_weight, joined.in_proj_bias
        with torch.no_grad():
            for i, layer in enumerate((split.q_proj, split.k_proj, split.v_proj)):
                layer.weight.copy_(weights.chunk(3)[i])
                layer.bias.copy_(biases.chunk(3)[i])
        split.out_proj.load_state_dict(joined.out_proj.state_dict())
        return split

    def forward(  # type: ignore[override]  # as the library calls it
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Tokens (B, L, D); the mask is added to the logits, (L, L) or (B heads, L, L)."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, D / heads)
            for layer, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        if attn_mask is not None:
            if attn_mask.ndim == 3:
                attn_mask = attn_mask.unflatten(0, (-1, self.heads))
            attn_mask = attn_mask[..., : q.shape[2], : k.shape[2]]  # it is that of the longest
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.out_proj(y.transpose(1, 2).flatten(2)), None


class OpenCLIPTower(nn.Module):
    """A tower of open_clip, from its inputs to the joint space (B, D)."""

    tower: Any  # a module, whose parts have no types

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        if isinstance(tower, WITH_TOKENS):
            tower.output_tokens = True
        for module in list(tower.modules()):
            for name, part in list(module.named_children()):
                if isinstance(part, nn.MultiheadAttention) and isinstance(module, BLOCKS):
                    setattr(module, name, SplitAttention.of(part))
                elif isinstance(part, nn.BatchNorm2d):
                    setattr(module, name, _shared_norm(part))

    @property
    def gives_tokens(self) -> bool:
        """Whether single tokens have a feature in the joint space."""
        return isinstance(self.tower, WITH_TOKENS)

    def check_tokens(self) -> None:
        """Check that single tokens have features.

        Raises:
            InputError: they have none.
        """
        if not self.gives_tokens:
            raise InputError(
                f"experiment.mlm reads single tokens, for which a {type(self.tower).__name__} of "
                "open_clip has no features: set it to false, or give other weights"
            )

    def project(self, x: Tensor) -> Tensor:
        """The same features, which are in the joint space."""
        return x

    def forward(self, inputs: Tensor) -> Tensor:
        """Images (B, 3, H, W) or ids (B, L) -> features (B, D), not normalised."""
        features = self.tower(inputs)
        return features[0] if isinstance(features, tuple) else features


def _shared_norm(norm: nn.BatchNorm2d) -> nn.Module:
    """A batch norm whose statistics are those of all processes."""
    if isinstance(norm, BatchNormAct2d):  # of timm, with dropout and activation
        return nn.Sequential(BatchNorm.of(norm), norm.drop, norm.act)
    return BatchNorm.of(norm)


class OpenCLIPImageTower(OpenCLIPTower):
    """An image tower of open_clip.

    A token's feature is that of a picture which consists of this token alone.
    """

    def __init__(self, tower: nn.Module, shape: ConfiguredShape) -> None:
        super().__init__(tower)
        self.shape = shape

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> features (B, D), not normalised."""
        return self(images)

    @property
    def gives_tokens(self) -> bool:
        if isinstance(self.tower, open_clip.timm_model.TimmModel):
            is_fixed = hasattr(self.tower.head, "pool")  # made for so many tokens
            return not is_fixed and getattr(self.tower.trunk, "output_fmt", "NLC") != "NHWC"
        return super().gives_tokens and self.tower.attn_pool is None

    def encode_dense(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> the feature of each, then its N tokens' (B, 1+N, D).

        Raises:
            InputError: the tower gives no tokens.
        """
        self.check_tokens()
        tower = self.tower
        if isinstance(tower, open_clip.timm_model.TimmModel):
            features, tokens = _encode_by_timm(tower, images)
        else:
            features, tokens = tower(images)
            tokens = tower.ln_post(tokens) if tower.final_ln_after_pool else tokens
            tokens = tokens if tower.proj is None else tokens @ tower.proj
        return torch.cat([features[:, None], tokens], dim=1)


def _encode_by_timm(tower: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W) -> their features (B, D), and those of the tokens (B, N, D)."""
    trunk = tower.trunk
    x = trunk.forward_features(images)  # (B, prefix + N, width), or (B, width, rows, columns)
    if x.ndim == 4:
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, width)
        alone = tokens.flatten(0, 1)[:, :, None, None]
    else:
        prefix = getattr(trunk, "num_prefix_tokens", 0)
        tokens = x[:, prefix:]
        alone = tokens.flatten(0, 1)[:, None].expand(-1, prefix + 1, -1)
    every = tower.head(trunk.forward_head(alone)).unflatten(0, tokens.shape[:2])
    return tower.head(trunk.forward_head(x)), every


class OpenCLIPTextTower(OpenCLIPTower):
    """A text tower of open_clip."""

    def __init__(self, tower: nn.Module, shape: ConfiguredTextShape) -> None:
        super().__init__(tower)
        self.shape = shape

    @property
    def room(self) -> int:
        """Tokens of the longest caption that is read whole."""
        return self.shape.context_length

    def locate(self, tokens: Tensor) -> Tensor:
        """The first token, as the tower gives one feature a caption: ids (B, L) -> (B,)."""
        return tokens.new_zeros(tokens.shape[0])

    def encode_dense(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Ids (B, L) -> features (B, D), and every token's (B, L, D).

        Raises:
            InputError: the tower gives no tokens.
        """
        self.check_tokens()
        features, x = self.tower(tokens)
        if self.tower.cls_emb is not None:  # the library normalises its feature alone
            x = self.tower.ln_final(x)
        projection = self.tower.text_projection
        if projection is None:
            return features, x
        return features, projection(x) if isinstance(projection, nn.Linear) else x @ projection


class OpenCLIP(DualEncoder):
    """A model of open_clip with our interface.

    Args:
        model: with its own weights, or random ones.
    """

    visual: OpenCLIPImageTower
    text: OpenCLIPTextTower

    def __init__(
        self,
        model: open_clip.CustomTextCLIP,
        vision: ConfiguredShape,
        text: ConfiguredTextShape,
        gradient_checkpointing: bool = False,
    ) -> None:
        if gradient_checkpointing:
            model.set_grad_checkpointing(True)
        config = vision.config
        super().__init__(
            OpenCLIPImageTower(model.visual, vision),
            OpenCLIPTextTower(model.text, text),
            config["embed_dim"],
            "quickgelu" if config.get("quick_gelu") else "gelu",
        )
        self.logit_scale.data.copy_(model.logit_scale.data.reshape(()))
        if model.logit_bias is not None:
            self.logit_bias = nn.Parameter(model.logit_bias.data.reshape(()))
            self.largest_logit_scale = float("inf")  # as SigLIP's
        self.lora_layers = {
            "image": _linear_layers(self.visual),
            "text": _linear_layers(self.text),
        }

    def check_tokens(self) -> None:
        self.visual.check_tokens()
        self.text.check_tokens()

    def _dense_image(self, images: Tensor) -> tuple[Tensor, Tensor]:
        every = self.visual.encode_dense(images)
        return every[:, 0], every

    def _read_text(self, tokens: Tensor, dense: bool) -> tuple[Tensor, Tensor | None]:
        return self.text.encode_dense(tokens) if dense else (self.text(tokens), None)


def _linear_layers(tower: nn.Module) -> Mapping[LoraTarget, str]:
    """The linear layers of a tower by kind, as regular expressions of their names."""
    linear = [name for name, module in tower.named_modules() if isinstance(module, nn.Linear)]
    attention = [name for name in linear if _ATTENTION.search(name)]
    mlp = [name for name in linear if _MLP.search(name) and name not in attention]
    return {"attention": _any_of(attention), "mlp": _any_of(mlp)}


def _any_of(names: list[str]) -> str:
    return f"({'|'.join(map(re.escape, names))})" if names else "(?!)"  # which nothing matches


def build_open_clip(
    config: Mapping[str, Any], body: Mapping[str, Any] | None, dropout: float = 0.0
) -> open_clip.CustomTextCLIP:
    """open_clip's model of a configuration, with random weights; nothing is downloaded.

    Args:
        config: `model_cfg`.
        body: the config.json of a text tower of transformers.
        dropout: of that tower's attention weights; the others have none.

    Raises:
        InputError: open_clip cannot build it.
    """
    if "multimodal_cfg" in config:
        raise InputError("open_clip's CoCa writes captions: give a model of two towers")
    settings: Tree = deepcopy(dict(config))
    settings.pop("custom_text", None)
    if not _NAME.fullmatch(str(settings["vision_cfg"].get("timm_model_name", "vit"))):
        raise InputError("timm_model_name names no model of timm itself: give another model_cfg")
    if "timm_model_name" in settings["vision_cfg"]:
        settings["vision_cfg"]["timm_model_pretrained"] = False
    with TemporaryDirectory() as folder:
        if body is not None:
            own = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": dropout}
            (Path(folder) / "config.json").write_text(json.dumps({**body, **own}))
            settings["text_cfg"] |= {"hf_model_name": folder, "hf_model_pretrained": False}
        try:
            return open_clip.CustomTextCLIP(**settings)
        except Exception as error:  # of its own checks, of timm, of transformers
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise InputError(f"open_clip cannot build this model: {reason}") from error


def resize_images(model: open_clip.CustomTextCLIP, size: tuple[int, int]) -> None:
    """Make the image tower of timm read another size, by its own means.

    Raises:
        InputError: it cannot.
    """
    visual = model.visual
    if not isinstance(visual, open_clip.timm_model.TimmModel) or visual.image_size == size:
        return
    try:
        visual.set_input_size(size)
    except Exception as error:
        raise InputError(
            f"this image tower cannot read {size[0]} x {size[1]} pixels ({error}): set "
            f"data.image_size={list(visual.image_size)}"
        ) from error
