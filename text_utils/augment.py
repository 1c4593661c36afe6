"""Random changes of captions."""

from numpy.random import Generator


def random_deletion(text: str, p: float, rng: Generator) -> str:
    """Drop each word with probability `p` (EDA, Wei and Zou, 2019); one word always survives.

    A caption of one word, or of none, comes back as it is.
    """
    words = text.split()
    if len(words) < 2:
        return text
    kept = [word for word in words if rng.random() > p]
    return " ".join(kept) if kept else words[int(rng.random() * len(words))]
