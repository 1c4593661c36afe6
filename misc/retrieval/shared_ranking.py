"""The ranking of all queries by all processes of a run."""

import torch
from torch import Tensor

from misc.evaluation import Ranking, queries_at_once, rank_features
from misc.runtime.distributed import Processes


def rank_together(
    query: Tensor,
    gallery: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None = None,
    gallery_cams: Tensor | None = None,
    *,
    chunk: int,
    processes: Processes,
) -> Ranking:
    """The result of `rank_features` on the CPU, the same in every process.

    The processes share the queries block by block: each product of matrices has the same shape, and
    so the same rounding, as in one process.

    The arguments, the same in every process, and the errors are those of `rank_features`.
    """
    step = queries_at_once(len(gallery), chunk)
    blocks = torch.arange(len(query)).split(step)
    world_size = processes.world_size
    shares = [torch.cat([*blocks[rank::world_size], blocks[0][:0]]) for rank in range(world_size)]
    own = shares[processes.rank].to(query.device)
    cams = None if query_cams is None else query_cams[own]
    ranking = rank_features(
        query[own], gallery, query_ids[own], gallery_ids, cams, gallery_cams, chunk=step
    )
    table = torch.stack([column.double() for column in vars(ranking).values()], dim=1)
    whole = torch.empty(len(query), table.shape[1], dtype=torch.float64)
    for rows, part in zip(shares, processes.collect(table), strict=True):
        whole[rows] = part
    matches, first, average_precision, inverse_negative_penalty = whole.unbind(dim=1)
    return Ranking(matches.long(), first.long(), average_precision, inverse_negative_penalty)
