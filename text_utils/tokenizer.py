"""Tokenizers: CLIP's byte-pair encoding, and those of Hugging Face's hub."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import regex
from torch import Tensor

from errors import InputError
from text_utils.captions import MOST_CHARACTERS
from text_utils.hub import find_model

# OpenAI's pattern without special tokens: in a caption these are plain text.
_WORDS = regex.compile(
    r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""", regex.IGNORECASE
)


class Tokenizer(ABC):
    """Turns captions into token ids, padded with `pad_id`. It is picklable, for loader workers."""

    pad_id: int
    vocab_size: int

    @abstractmethod
    def __call__(self, texts: str | list[str], context_length: int = 77) -> Tensor:
        """Ids, int64 (N, context_length); long captions are truncated but keep the end token."""

    @abstractmethod
    def lengths(self, tokens: Tensor) -> Tensor:
        """Number of tokens of each caption, start and end included: (N, L) -> int64 (N,)."""

    def trim(self, tokens: Tensor, multiple: int = 8) -> Tensor:
        """Cut (N, L) to the longest caption, rounded up to a multiple of `multiple`, at most L.

        Features do not change, since no token attends to the padding: CLIP's attention is causal,
        that of AltCLIP and Chinese-CLIP masked. Rounding limits the number of different shapes.
        """
        longest = int(self.lengths(tokens).max())
        return tokens[:, : -(-longest // multiple) * multiple]


@cache
def _open_clip_tokenizer() -> ModuleType:
    """The tokenizer module of open_clip alone: importing the package takes seconds per worker."""
    package = importlib.util.find_spec("open_clip")
    assert package, "open_clip_torch is not installed"
    path = Path(str(package.origin)).with_name("tokenizer.py")
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _byte_pairs() -> Any:
    """open_clip's encoder, which reads its vocabulary once."""
    encoder = _open_clip_tokenizer().SimpleTokenizer()
    encoder.pat = _WORDS
    return encoder


class ClipTokenizer(Tokenizer):
    """CLIP's tokenizer: start-of-text, byte pairs, end-of-text, padding.

    The ids are those of open_clip, except that "<start_of_text>" and "<end_of_text>" in a caption
    are plain text.

    Args:
        trims: whether `trim` cuts; towers that see the padding need all of it.
    """

    pad_id = 0

    def __init__(self, trims: bool = True) -> None:
        self.trims = trims
        self.bpe = _byte_pairs()
        self.vocab_size: int = self.bpe.vocab_size
        self.eot_id: int = self.bpe.eot_token_id

    def trim(self, tokens: Tensor, multiple: int = 8) -> Tensor:
        return super().trim(tokens, multiple) if self.trims else tokens

    def __reduce__(self) -> tuple[type["ClipTokenizer"], tuple[bool]]:
        return ClipTokenizer, (self.trims,)  # a worker reads the vocabulary itself

    def __call__(self, texts: str | list[str], context_length: int = 77) -> Tensor:
        """Ids, int64 (N, context_length); long captions are truncated but keep the end token."""
        captions = [texts] if isinstance(texts, str) else texts
        return self.bpe([_cut(caption) for caption in captions], context_length=context_length)

    def lengths(self, tokens: Tensor) -> Tensor:
        """Number of tokens of each caption, start and end included: (N, L) -> int64 (N,).

        Found by the end token, the highest id; the padding, 0, is also the id of "!".
        """
        return tokens.argmax(dim=1) + 1


class HubTokenizer(Tokenizer):
    """A tokenizer of Hugging Face's hub: start, pieces, end, padding.

    The ids are those of transformers, except that special tokens in a caption are plain text.

    Args:
        name_or_folder: `ORG/NAME`, a folder in the hub's layout, or the root of a cache.
        cache_dir: another folder or cache to search; downloads are stored there.

    Raises:
        InputError: no tokenizer is found locally, and none can be downloaded.
    """

    files: ClassVar[tuple[str, ...]]  # one of which holds the vocabulary

    def __init__(self, name_or_folder: str | Path, cache_dir: str | Path | None = None) -> None:
        from transformers import AutoTokenizer

        self.folder = find_model(name_or_folder, self.files, cache_dir)
        try:
            self.pieces = AutoTokenizer.from_pretrained(
                self.folder,
                local_files_only=True,
                split_special_tokens=True,
                trust_remote_code=False,  # else it asks whether to run a folder's own code
            )
            self.vocab_size, self.pad_id = len(self.pieces), int(self.pieces.pad_token_id)
            if self.pieces.is_fast:
                _part_special_tokens(self.pieces.backend_tokenizer, self.pieces.all_special_tokens)
        except Exception as error:  # malformed files make the reader raise many types
            raise InputError(
                f"the tokenizer in {self.folder} cannot be read: download all its files again"
            ) from error

    def __reduce__(self) -> tuple[type["HubTokenizer"], tuple[object, ...]]:
        return type(self), (str(self.folder),)  # a worker reads the vocabulary itself

    def __call__(self, texts: str | list[str], context_length: int = 77) -> Tensor:
        """Ids, int64 (N, context_length); long captions are truncated but keep the end token."""
        captions = [texts] if isinstance(texts, str) else texts
        # Lone surrogates, which UTF-8 cannot encode, become question marks.
        captions = [_cut(caption).encode(errors="replace").decode() for caption in captions]
        rows = self.pieces(
            captions,
            padding="max_length",
            truncation=True,
            max_length=context_length,
            return_tensors="pt",
        )
        return rows["input_ids"]

    def lengths(self, tokens: Tensor) -> Tensor:
        """Number of tokens of each caption, start and end included: (N, L) -> int64 (N,)."""
        return (tokens != self.pad_id).sum(dim=1)


class AltCLIPTokenizer(HubTokenizer):
    """XLM-RoBERTa's multilingual tokenizer."""

    files = ("tokenizer.json", "sentencepiece.bpe.model")


class BertTokenizer(HubTokenizer):
    """The word pieces of BERT, as Chinese-CLIP reads them."""

    files = ("tokenizer.json", "vocab.txt")


class SiglipTokenizer(HubTokenizer):
    """The tokenizer of SigLIP or of SigLIP 2, whose features depend on the padding, too."""

    files = ("tokenizer.json", "spiece.model")

    def trim(self, tokens: Tensor, multiple: int = 8) -> Tensor:
        """The same tokens: the feature of a caption stands at the last one."""
        return tokens

    def lengths(self, tokens: Tensor) -> Tensor:
        """Number of tokens of each caption, end included; SigLIP pads with the end token."""
        ended = self.pad_id == self.pieces.eos_token_id
        return (super().lengths(tokens) + int(ended)).clamp(max=tokens.shape[1])


class OpenCLIPTokenizer(HubTokenizer):
    """A tokenizer of the hub as open_clip uses it, on cleaned captions.

    Args:
        trims: as `ClipTokenizer` has it.
        clean: the name of open_clip's function that cleans captions.
    """

    files = ("tokenizer.json", "sentencepiece.bpe.model", "spiece.model", "vocab.txt")

    def __init__(
        self,
        name_or_folder: str | Path,
        cache_dir: str | Path | None = None,
        trims: bool = True,
        clean: str = "whitespace",
    ) -> None:
        super().__init__(name_or_folder, cache_dir)
        self.trims, self.clean = trims, clean
        self.cleaned = _open_clip_tokenizer().get_clean_fn(clean)

    def __reduce__(self) -> tuple[type["OpenCLIPTokenizer"], tuple[object, ...]]:
        return OpenCLIPTokenizer, (str(self.folder), None, self.trims, self.clean)

    def __call__(self, texts: str | list[str], context_length: int = 77) -> Tensor:
        """Ids, int64 (N, context_length); long captions are truncated but keep the end token."""
        captions = [texts] if isinstance(texts, str) else texts
        return super().__call__([self.cleaned(_cut(c)) for c in captions], context_length)

    def trim(self, tokens: Tensor, multiple: int = 8) -> Tensor:
        return super().trim(tokens, multiple) if self.trims else tokens


def _cut(caption: str) -> str:
    """The part of a caption that matters; the time to normalise one grows with its square."""
    return caption[:MOST_CHARACTERS]


def _part_special_tokens(backend: Any, special: Sequence[str]) -> None:
    """Split special tokens after their first character.

    They are pieces of the vocabulary, and would be matched as a whole in spite of
    `split_special_tokens`, also when written in full-width letters, which are normalised first.
    """
    from tokenizers import Regex, pre_tokenizers

    starts = "|".join(f"{regex.escape(t[0])}(?={regex.escape(t[1:])})" for t in special)
    parting = pre_tokenizers.Split(Regex(starts), "isolated")
    further = [] if backend.pre_tokenizer is None else [backend.pre_tokenizer]
    backend.pre_tokenizer = pre_tokenizers.Sequence([parting, *further])
