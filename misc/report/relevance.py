"""The patches of a picture that speak for each word of a caption."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from misc.data.text import TokenDataset
from misc.datasets.pictures import read_picture
from misc.report.markup import data_address, inline_picture, paragraph
from misc.report.measured import EncodedSet, Measured
from misc.retrieval.text import TextRetrieval
from model.relevance import patch_relevance
from model.tbps_clip import TBPSCLIP
from model.vit import VisionTransformer
from text_utils.words import split_words

CAPTIONS = 5
STRONGEST = 6  # words of a caption that are shown side by side, at most
AT_ONCE = 8  # words whose gradients are held together
WEAKEST = 0.1  # of them, as a share of the strongest
VEIL = 195  # of 255: how dark a patch without relevance is
ABOUT = (
    "The patches that speak for a word: those that raise the similarity of picture and caption "
    "against the caption without the word (gradient-weighted attention: Chefer, Gur & Wolf, ICCV "
    "2021). They are bright, the others dark. The number is the similarity that the word adds; the "
    "words that add most are coloured and shown side by side. Point at any word, or tap it."
)
OF_TWO = (
    "This model ranks by two embeddings. Patches and numbers are those of the first one alone, "
    "that of the class token; the second one, of selected tokens, is not shown."
)


@dataclass(frozen=True)
class WordOnPicture:
    """A word of a caption, on a picture.

    Args:
        gain: by which it raises the cosine similarity of picture and caption, of two embeddings
            that of the first.
        patches: (rows, columns), their relevance, at least 0.
    """

    word: str
    gain: float
    patches: Tensor


def image_tower(model: object) -> VisionTransformer | None:
    """The image tower, if its attention can be read: not a ResNet, open_clip's or with prompts."""
    tower = model.clip.visual if isinstance(model, TBPSCLIP) else None
    if isinstance(tower, VisionTransformer) and tower.transformer.prompts is None:
        return tower
    return None


def words_on_picture(
    model: TBPSCLIP, tower: VisionTransformer, image: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Gains of similarity by each of W words, (W,), and their patches, (W, rows, columns), on
    the CPU.

    The score of a word is cos(image, caption) - cos(image, caption without it). Of a model with
    two embeddings it is that of the first, as the relevance is followed from the class token.

    Args:
        model: in evaluation mode.
        tower: its image tower.
        image: (3, H, W).
        tokens: (1 + W, L), the caption, then the caption without each word.
    """
    device = next(model.parameters()).device
    image, tokens = image.to(device), tokens.to(device)
    with torch.no_grad():
        texts = F.normalize(model.clip.encode_text(tokens).float(), dim=-1)
        whole = F.normalize(model.clip.encode_image(image[None]).float(), dim=-1)
    directions = texts[:1] - texts[1:]  # (W, D)
    parts = []
    for some in directions.split(AT_ONCE):

        def score(images: Tensor, some: Tensor = some) -> Tensor:
            return (F.normalize(model.clip.encode_image(images), dim=-1) * some).sum(dim=-1)

        parts.append(patch_relevance(tower, image.expand(len(some), -1, -1, -1), score))
    return (directions @ whole[0]).cpu(), torch.cat(parts).cpu()


def prepare(
    retrieval: TextRetrieval, picture: Path, captions: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """A picture (3, H, W) and N captions (N, L) as an evaluation gives them to the model.

    Raises:
        InputError: the picture cannot be read.
    """
    own = retrieval.texts
    texts = TokenDataset(captions, own.tokenizer, own.text_length, own.clean)
    tokens = texts.collate([texts[index] for index in range(len(texts))])
    return retrieval.images.transform(read_picture(picture)), tokens


def explain(
    model: TBPSCLIP, tower: VisionTransformer, retrieval: TextRetrieval, caption: str, picture: Path
) -> list[WordOnPicture]:
    """The words of a caption on a picture."""
    words, join = split_words(caption)
    without = (join(words[:number] + words[number + 1 :]) for number in range(len(words)))
    inputs = prepare(retrieval, picture, [caption, *without])
    gains, patches = words_on_picture(model, tower, *inputs)
    found = zip(words, gains.tolist(), patches, strict=True)
    return [WordOnPicture(*one) for one in found]


def draw_relevance(measured: Measured, test: EncodedSet) -> str:
    """Captions drawn evenly over the test set, each on the nearest picture of its person; nothing
    where queries are pictures, or no caption has words.
    """
    model, retrieval = measured.job.model, test.retrieval
    if not isinstance(retrieval, TextRetrieval) or not isinstance(model, TBPSCLIP):
        return ""
    tower = image_tower(model)
    if tower is None:
        return paragraph(
            "Left out: the attention of this image tower cannot be read (a ResNet, a tower of "
            "open_clip or SigLIP, or one with prompts)."
        )
    matched = (test.ranking.matches > 0).nonzero().flatten().tolist()
    captions, _ = retrieval.queries
    usable = [row for row in matched if split_words(captions[row])[0]]
    if not usable:
        return ""
    rows = [usable[int(n)] for n in np.linspace(0, len(usable) - 1, CAPTIONS + 2)[1:-1]]
    parts = [paragraph(ABOUT)]
    if model.image_selector is not None:
        parts.append(paragraph(OF_TWO))
    for ranked in test.lists(sorted({*rows})):
        picture = ranked.matches[0].path
        words = explain(model, tower, retrieval, str(ranked.query), picture)
        parts.append(draw_words(picture, words))
    return "".join(parts)


def draw_words(picture: Path, words: Sequence[WordOnPicture]) -> str:
    """A caption whose words show their patches on the picture, and the strongest words."""
    source = inline_picture(picture)
    ordered = sorted(words, key=lambda word: -word.gain)[:STRONGEST]
    most = max(ordered[0].gain, 1e-6)
    strongest = [ordered[0], *(word for word in ordered[1:] if word.gain > WEAKEST * most)]
    buttons = " ".join(
        f'<button type="button" data-veil="{draw_veil(word.patches)}" '
        f'style="--gain:{max(0.0, min(1.0, word.gain / most)):.2f}">{escape(word.word)}</button>'
        for word in words
    )
    small = "".join(
        f'<figure><div class="stack"><img alt="" src="{source}"><img class="veil" alt="" '
        f'src="{draw_veil(word.patches)}"></div><figcaption>{escape(word.word)}<br>'
        f"<small>{word.gain:+.3f}</small></figcaption></figure>"
        for word in strongest
    )
    first = draw_veil(strongest[0].patches)
    return (
        f'<article class="words"><div class="stack large"><img alt="the picture" src="{source}">'
        f'<img class="veil" alt="" src="{first}"></div>'
        f'<div><p class="caption">{buttons}</p><div class="strip">{small}</div></div></article>'
    )


def draw_veil(patches: Tensor) -> str:
    """A dark picture of one pixel a patch, the clearer the more relevant the patch is."""
    shares = (patches / patches.max().clamp(min=1e-12)).clamp(0, 1)
    veil = np.zeros((*patches.shape, 4), np.uint8)
    veil[..., 3] = (VEIL * (1 - shares)).byte().numpy()
    return data_address(Image.fromarray(veil), "png")
