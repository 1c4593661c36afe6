"""Weights in OpenAI's published format, written by open_clip and torch alone, for tests."""

import math
import warnings
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

VIT_B_16 = {
    "image_size": 224,
    "patch_size": 16,
    "width": 768,
    "layers": 12,
    "text_width": 512,
    "text_layers": 12,
    "embed_dim": 512,
    "logit_scale": math.log(100),
}
# Two blocks show what twelve do, at a quarter of the cost; the test of IRRA always takes twelve.
FULL_WIDTH = [
    pytest.param({**VIT_B_16, "layers": 2, "text_layers": 2}, id="two blocks"),
    pytest.param(VIT_B_16, id="ViT-B/16", marks=pytest.mark.slow),
]


def random_open_clip(
    *,
    image_size: int = 32,
    patch_size: int = 8,
    width: int = 64,
    layers: int | tuple[int, int, int, int] = 2,
    text_width: int = 64,
    text_layers: int = 2,
    context_length: int = 77,
    vocab_size: int = 49408,
    embed_dim: int = 32,
    quick_gelu: bool = True,
    head_width: int = 64,
    mlp_ratio: float = 4.0,
    logit_scale: float = math.log(1 / 0.07),
    seed: int = 0,
) -> open_clip.CLIP:
    """open_clip's CLIP in evaluation mode; biases and norms are random too, so that none hides.

    Args:
        layers: of the image tower, or the blocks of a ResNet's four layers.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vision = open_clip.CLIPVisionCfg(
            layers=layers,
            width=width,
            head_width=head_width,
            mlp_ratio=mlp_ratio,
            patch_size=patch_size,
            image_size=image_size,
        )
        text = open_clip.CLIPTextCfg(
            context_length=context_length,
            vocab_size=vocab_size,
            width=text_width,
            heads=text_width // head_width,
            layers=text_layers,
            mlp_ratio=mlp_ratio,
        )
        model = open_clip.CLIP(embed_dim, vision, text, quick_gelu=quick_gelu)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.1 * torch.randn_like(parameter)
        model.logit_scale.data.fill_(logit_scale)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                draw_batch_norm(module)
    return model.eval()


def draw_batch_norm(norm: torch.nn.BatchNorm2d) -> None:
    """Statistics as of a training, and a weight that lets its branch through."""
    torch.nn.init.normal_(norm.running_mean, std=0.1)
    torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    torch.nn.init.normal_(norm.bias, std=0.1)
    norm.num_batches_tracked += 7


def write_openai_archive(path: str | Path, **sizes: Any) -> open_clip.CLIP:
    """A TorchScript archive as OpenAI's `ViT-B-16.pt`, `RN50.pt`: fp16 tensors, three scalars.

    Args:
        sizes: of `random_open_clip`; `**VIT_B_16` for the full size.

    Returns:
        open_clip's model of the same (rounded) weights in float32.
    """
    model = random_open_clip(**sizes).half()
    size, length = model.visual.image_size, model.context_length
    if not isinstance(size, int):  # open_clip's ResNet has a number, its ViT rows and columns
        size = size[0]
    for name, value in (
        ("input_resolution", size),
        ("context_length", length),
        ("vocab_size", model.vocab_size),
    ):
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(value))
    image = torch.zeros(1, 3, size, size, dtype=torch.half)
    tokens = torch.zeros(1, length, dtype=torch.long)
    inputs = {
        "forward": (image, tokens),
        "encode_image": (image,),
        "encode_text": (tokens,),
    }
    with warnings.catch_warnings():  # of sizes that the trace makes constant, of TorchScript's age
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace_module(model, inputs, check_trace=False), str(path))
    return model.float()
