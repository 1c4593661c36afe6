"""Prompts in the slots of a backbone's towers (Liu et al., CSKT, ICASSP 2024, arXiv 2309.09496)."""

import math

from errors import InputError
from model.clip import DualEncoder, TextTransformer
from model.resnet import ModifiedResNet
from model.tuning.bidirectional_prompts import BidirectionalPrompts, TowerPrompts
from model.tuning.description import Direction, PromptTuning
from model.vit import VisionTransformer
from text_utils.tokenizer import Tokenizer


def add_prompts(
    clip: DualEncoder, *, n_ctx: int = 4, depth: int = 12, direction: Direction = "both"
) -> BidirectionalPrompts:
    """Fill the prompt slots of the towers that have one.

    Args:
        n_ctx: vectors of each tower in each block.
        depth: blocks that get new ones, from the first on.

    Raises:
        InputError: the towers have no place for them.
    """
    visual, text = clip.visual, clip.text
    if not isinstance(visual, VisionTransformer):
        is_resnet = isinstance(visual, ModifiedResNet)
        other = "a ResNet" if is_resnet else f"a {type(visual).__name__}"
        raise InputError(
            "prompts go through the blocks of CLIP's ViT, and this image tower is "
            f"{other}: give a ViT, such as ViT-B-16.pt"
        )
    towers: list[VisionTransformer | TextTransformer] = [visual]
    if isinstance(text, TextTransformer):
        towers.append(text)
    elif direction != "independent":
        raise InputError(
            f"prompts.direction is {direction}, and this text tower takes no prompts: set "
            "prompts.direction=independent"
        )
    layers = min(tower.shape.layers for tower in towers)
    if not 1 <= depth <= layers:
        raise InputError(f"prompts.depth is {depth}: give 1 to {layers}, the blocks of the towers")
    text_width = text.shape.width if isinstance(text, TextTransformer) else None
    prompts = BidirectionalPrompts(visual.shape.width, text_width, n_ctx, depth, direction)
    clip.prompts = prompts.to(clip.logit_scale.device)
    patches = math.prod(visual.shape.grid)
    visual.transformer.prompts = TowerPrompts(prompts, "image", first=1 + patches)
    if isinstance(text, TextTransformer):
        text.transformer.prompts = TowerPrompts(prompts, "text", first=1)
        if text.room < 3:
            raise InputError(
                f"prompts.n_ctx={n_ctx} leaves {text.room} of {text.shape.context_length} tokens "
                "to a caption: give fewer, or a larger experiment.text_length"
            )
    return prompts


def start_from_words(clip: DualEncoder, tokenizer: Tokenizer, words: str) -> None:
    """Initialise the first block's text prompts with words, such as "a photo of a".

    Raises:
        InputError: there are no text prompts, or they are not as many as the words' tokens.
    """
    prompts, text = clip.prompts, clip.text
    if not isinstance(prompts, BidirectionalPrompts) or prompts.text is None:
        raise InputError("prompts.init=words is for text vectors, and prompts.direction gives none")
    assert isinstance(text, TextTransformer), "only its prompts have text vectors"
    tokens = tokenizer([words], text.shape.context_length)
    inner = tokens[0, 1 : int(tokenizer.lengths(tokens)[0]) - 1]
    if len(inner) != prompts.n_ctx:
        raise InputError(
            f'"{words}" are {len(inner)} tokens and prompts.n_ctx is {prompts.n_ctx}: make them '
            "equal"
        )
    prompts.start_from(text.token_embedding.weight[inner.to(text.token_embedding.weight.device)])


def describe_prompts(clip: DualEncoder) -> PromptTuning | None:
    """The prompts of a backbone, None if it has none."""
    prompts = clip.prompts
    if not isinstance(prompts, BidirectionalPrompts):
        return None
    return PromptTuning(prompts.n_ctx, prompts.depth, prompts.direction)
