"""From captions to ids: CLIP's byte pairs, AltCLIP's sentence pieces."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import regex
from torch import Tensor

from errors import InputError
from text_utils.hub import find_model

# OpenAI's pattern without its special tokens, so that a caption cannot end or start itself.
_WORDS = regex.compile(
    r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""", regex.IGNORECASE
)

TOKENIZER_FILES = ("tokenizer.json", "sentencepiece.bpe.model")


class Tokenizer(ABC):
    """Captions to ids, padded with `pad_id`; a loader's workers get copies of it."""

    pad_id: int
    vocab_size: int

    @abstractmethod
    def __call__(self, texts: str | list[str], context_length: int = 77) -> Tensor:
        """Ids, int64 (N, context_length); a caption too long is cut and keeps its end token."""

    @abstractmethod
    def lengths(self, tokens: Tensor) -> Tensor:
        """Tokens of each caption, start and end included: (N, L) -> int64 (N,)."""

    def trim(self, tokens: Tensor) -> Tensor:
        """Cut (N, L) to the longest caption, rounded up to a multiple of 8, at most L.

        Exact, since no word sees the padding: CLIP's attention is causal, AltCLIP's masks it. The
        rounding keeps the number of different shapes small.
        """
        longest = int(self.lengths(tokens).max())
        return tokens[:, : -(-longest // 8) * 8]


def _open_clip_tokenizer() -> ModuleType:
    """open_clip's tokenizer alone: importing the package takes seconds, in every worker."""
    package = importlib.util.find_spec("open_clip")
    assert package, "open_clip_torch is not installed"
    path = Path(str(package.origin)).with_name("tokenizer.py")
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ClipTokenizer(Tokenizer):
    """Captions to ids of CLIP's vocabulary: start-of-text, words, end-of-text, padding.

    The ids are open_clip's, except that "<start_of_text>" and "<end_of_text>" written in a caption
    are plain text.
    """

    pad_id = 0

    def __init__(self) -> None:
        self.bpe = _open_clip_tokenizer().SimpleTokenizer()
        self.bpe.pat = _WORDS
        self.vocab_size: int = self.bpe.vocab_size
        self.eot_id: int = self.bpe.eot_token_id

    def __reduce__(self) -> tuple[type["ClipTokenizer"], tuple[()]]:
        return ClipTokenizer, ()  # a loader's worker reads the vocabulary itself

    def __call__(self, texts: str | list[str], context_length: int = 77) -> Tensor:
        """Ids, int64 (N, context_length); a caption too long is cut and keeps its end token."""
        return self.bpe(texts, context_length=context_length)

    def lengths(self, tokens: Tensor) -> Tensor:
        """Tokens of each caption, start and end included: (N, L) -> int64 (N,).

        The end is the highest id; padding tells nothing, since 0 is also the id of "!".
        """
        return tokens.argmax(dim=1) + 1


class AltCLIPTokenizer(Tokenizer):
    """Captions in any language to ids of XLM-RoBERTa's vocabulary: start, pieces, end, padding.

    The ids are transformers', except that special tokens written in a caption are plain text.

    Args:
        name_or_folder: `BAAI/AltCLIP`, a folder in the hub's layout, or the root of a cache.
        cache_dir: another folder or root to look in; what is fetched goes there.

    Raises:
        InputError: there is no tokenizer on this machine, and none can be fetched.
    """

    def __init__(self, name_or_folder: str | Path, cache_dir: str | Path | None = None) -> None:
        from transformers import AutoTokenizer

        self.folder = find_model(name_or_folder, TOKENIZER_FILES, cache_dir)
        try:
            self.pieces = AutoTokenizer.from_pretrained(
                self.folder, local_files_only=True, split_special_tokens=True
            )
            self.vocab_size, self.pad_id = len(self.pieces), int(self.pieces.pad_token_id)
            _part_special_tokens(self.pieces.backend_tokenizer, self.pieces.all_special_tokens)
        except Exception as error:  # whatever foreign or missing files make their reader raise
            raise InputError(
                f"{self.folder} holds no tokenizer that can be read: download all its files again"
            ) from error

    def __reduce__(self) -> tuple[type["AltCLIPTokenizer"], tuple[str]]:
        return AltCLIPTokenizer, (str(self.folder),)  # a worker reads the vocabulary itself

    def __call__(self, texts: str | list[str], context_length: int = 77) -> Tensor:
        """Ids, int64 (N, context_length); a caption too long is cut and keeps its end token."""
        captions = [texts] if isinstance(texts, str) else texts
        # What UTF-8 cannot write, half of a surrogate pair, becomes a question mark.
        captions = [caption.encode(errors="replace").decode() for caption in captions]
        rows = self.pieces(
            captions,
            padding="max_length",
            truncation=True,
            max_length=context_length,
            return_tensors="pt",
        )
        return rows["input_ids"]

    def lengths(self, tokens: Tensor) -> Tensor:
        """Tokens of each caption, start and end included: (N, L) -> int64 (N,)."""
        return (tokens != self.pad_id).sum(dim=1)


def _part_special_tokens(backend: Any, special: Sequence[str]) -> None:
    """Part the first character of special tokens from the rest.

    They are pieces of the vocabulary, which would win over their letters even after
    `split_special_tokens`, and after full-width letters have become ordinary ones.
    """
    from tokenizers import Regex, pre_tokenizers

    starts = "|".join(f"{regex.escape(t[0])}(?={regex.escape(t[1:])})" for t in special)
    parting = pre_tokenizers.Split(Regex(starts), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([parting, backend.pre_tokenizer])
