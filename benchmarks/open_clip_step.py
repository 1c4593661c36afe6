"""A training step of open_clip's model with the towers of a configuration, to compare with."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import torch

import options
from misc.runtime.precision import Precision
from misc.settings.model_sections import VisionTowerSettings

Step = Callable[[], None]
_step: Step  # of this process, which `in_own_process` has started


@contextmanager
def in_own_process(build: Callable[[], Step]) -> Iterator[Step]:
    """A step that a process of its own takes, in which nothing of this project's is set."""
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_keep, initargs=(build,)) as pool:
        yield lambda: pool.submit(_take).result()


def _keep(build: Callable[[], Step]) -> None:
    global _step
    _step = build()


def _take() -> None:
    _step()


def build_open_clip_step(
    config: options.Config, device: torch.device, views: int = 1, vocab_size: int = 49408
) -> Step:
    """A step of open_clip's CLIP with its plain contrastive loss, on one batch of noise.

    Its optimizer is the fused AdamW, as ours. It reads captions at full length, as its tokenizer
    gives them, and trains all parameters.

    Args:
        views: of each image; each has the loss with the captions, and their sum is the step's.
    """
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision, text, length = config.model.vision, config.model.text, config.experiment.text_length
    torch.manual_seed(0)
    model = CLIP(
        config.model.embed_dim,
        CLIPVisionCfg(**_vision_sizes(vision), image_size=config.data.image_size),
        CLIPTextCfg(
            context_length=length,
            vocab_size=vocab_size,
            width=text.width,
            heads=text.heads,
            layers=text.layers,
        ),
        quick_gelu=True,
    )
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    criterion, precision = ClipLoss(), Precision(config.experiment.precision, device)
    size = config.data.batch_size
    images = torch.randn(views * size, 3, *config.data.image_size, device=device)
    tokens = torch.randint(1, vocab_size, (size, length), device=device)

    def step() -> None:
        with precision.autocast():
            image, words, scale = model(images, tokens)[:3]
            losses = [criterion(view, words, scale) for view in image.chunk(views)]
        torch.stack(losses).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _vision_sizes(vision: VisionTowerSettings) -> dict[str, int]:
    assert isinstance(vision.layers, int)
    assert vision.patch_size is not None
    return {
        "layers": vision.layers,
        "width": vision.width,
        "head_width": vision.width // vision.heads,
        "patch_size": vision.patch_size,
    }
