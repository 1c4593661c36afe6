"""Settings of an evaluation, from a configuration."""

from functools import partial

from misc.reranking import k_reciprocal
from misc.retrieval.base import Loading, Rerank
from misc.settings.sections import Config


def build_loading(config: Config) -> Loading:
    """The settings by which the items of a split are loaded and encoded."""
    return Loading(
        batch_size=config.data.test_batch_size,
        num_workers=config.data.num_workers,
        chunk=config.evaluation.chunk,
    )


def build_rerank(config: Config) -> Rerank | None:
    """The re-ranking of the closing tables, if the configuration asks for it."""
    rerank = config.evaluation.rerank
    if rerank is None:
        return None
    return partial(
        k_reciprocal,
        k1=rerank.k1,
        k2=rerank.k2,
        weight=rerank.weight,
        chunk=config.evaluation.chunk,
    )
