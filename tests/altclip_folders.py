# ruff: noqa: RUF001, Chinese and full-width letters
"""Small random AltCLIP folders in the hub's layout, written by transformers, for tests."""

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import AltCLIPConfig, AltCLIPModel, CLIPImageProcessor, XLMRobertaTokenizer

from misc.synthetic.pedestrians.captions import Language
from misc.synthetic.pedestrians.chinese import CHINESE
from misc.synthetic.pedestrians.english import ENGLISH

LETTERS = (string.printable, "，。！？、")


def phrases(table: Language) -> list[str]:
    """Every phrase of a language's captions, without its slots."""
    return [re.sub(r"\{\w*\}", "", phrase) for phrase in _strings(vars(table))]


def _strings(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        yield from _strings(tuple(content.values()))
    elif isinstance(content, tuple):
        for part in content:
            yield from _strings(part)


TEXTS = (*phrases(ENGLISH), *phrases(CHINESE), *LETTERS)


def write_altclip_folder(
    folder: str | Path,
    *,
    image_size: int = 32,
    patch_size: int = 8,
    width: int = 32,
    vision_layers: int = 1,
    text_width: int = 64,
    text_layers: int = 1,
    heads: int = 2,
    project_dim: int = 40,
    embed_dim: int = 48,
    mlp_ratio: float = 4,
    context_length: int = 96,
    hidden_act: str = "quick_gelu",
    texts: Sequence[str] = TEXTS,
    vocab_size: int = 1000,
    preprocessor: bool = True,
    seed: int = 0,
) -> Path:
    """config.json, model.safetensors, a tokenizer and, with `preprocessor`, its settings.

    Args:
        texts: what the pieces are learnt from; the vocabulary has all of their letters. `TEXTS`
            alone give about two pieces a word, with the captions of a dataset beside them one.
        vocab_size: the largest; a few texts give fewer pieces.

    Returns:
        The folder; `AltCLIPModel.from_pretrained` reads the reference from it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _write_tokenizer(folder, texts, vocab_size)
    config = AltCLIPConfig(
        projection_dim=embed_dim,
        vision_config={
            "hidden_size": width,
            "intermediate_size": int(mlp_ratio * width),
            "num_hidden_layers": vision_layers,
            "num_attention_heads": heads,
            "image_size": image_size,
            "patch_size": patch_size,
            "hidden_act": hidden_act,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": text_width,
            "intermediate_size": int(mlp_ratio * text_width),
            "num_hidden_layers": text_layers,
            "num_attention_heads": heads,
            "max_position_embeddings": context_length + 2,
            "project_dim": project_dim,
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AltCLIPModel(config)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # biases and norms too, so that none hides
                parameter.data += 0.1 * torch.randn_like(parameter)
            elif parameter.ndim == 2 and "embedding" not in name:
                # transformers' 0.02 is for great widths: here every caption would be the same
                parameter.data.normal_(std=parameter.shape[1] ** -0.5)
    model.save_pretrained(folder)
    if preprocessor:
        sizes = {"size": {"shortest_edge": image_size}, "crop_size": image_size}
        CLIPImageProcessor(**sizes).save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path, texts: Sequence[str], vocab_size: int) -> XLMRobertaTokenizer:
    with (folder / "sentencepiece.bpe.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=file,
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            minloglevel=2,
            num_threads=1,
        )
    tokenizer = XLMRobertaTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer
