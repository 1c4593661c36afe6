"""CLIP's byte-pair tokenizer."""

import importlib.util
from pathlib import Path
from types import ModuleType

import regex
from torch import Tensor

# OpenAI's pattern without its special tokens, so that a caption cannot end or start itself.
_WORDS = regex.compile(
    r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""", regex.IGNORECASE
)


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


class ClipTokenizer:
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

    def trim(self, tokens: Tensor) -> Tensor:
        """Cut (N, L) to the longest caption, rounded up to a multiple of 8, at most L.

        Exact under a causal mask; the rounding keeps the number of different shapes small.
        """
        longest = int(self.lengths(tokens).max())
        return tokens[:, : -(-longest // 8) * 8]
