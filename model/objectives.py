"""Every loss of the project: pure functions of features, identities and a scale.

Features are float (B, D) and L2-normalised unless said otherwise; `ids` is int64 (B,); `scale` is
the exponentiated logit scale, a scalar. A contrastive loss compares the rows of this process with
the columns of all processes: `gathered` holds those columns, and the default, None, means that this
process is the only one. With a gather whose backward sums over the processes, the mean of the
losses over the processes is the loss of the global batch, and so are the gradients that DDP
averages.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Pairs(NamedTuple):
    """Pictures and captions of a batch, paired by row."""

    image: Tensor  # (B, D)
    text: Tensor  # (B, D)
    ids: Tensor  # (B,)


def identity_targets(ids: Tensor, all_ids: Tensor) -> Tensor:
    """1 / n for the n columns of the row's identity, 0 elsewhere: (B, B'), rows sum to one."""
    same = (ids[:, None] == all_ids[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def n_itc(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    alpha: float = 0.0,
    soft_image: Tensor | None = None,
    soft_text: Tensor | None = None,
    *,
    gathered: Pairs | None = None,
    gathered_soft: Pairs | None = None,
) -> Tensor:
    """Normalised image-text contrast with soft labels (Cao et al. 2024, section 3.3; arXiv
    2308.10045).

    Cross-entropy between the softmax of the similarities and `alpha * softmax(soft similarities) +
    (1 - alpha) * H`, where H is the identity equality divided by its row sum; the mean of both
    directions.

    Args:
        alpha: weight of the soft labels, 0 to 1.
        soft_image, soft_text: (B, D), the features that the soft labels are computed from, without
            gradient; `image` and `text` themselves, detached, when not given.
        gathered: the pairs of all processes.
        gathered_soft: the soft features of all processes; needed with `gathered` when soft features
            are given.
    """
    assert (soft_image is None) == (soft_text is None), "give both soft features or none"
    every = gathered or Pairs(image, text, ids)
    targets = identity_targets(ids, every.ids)
    if soft_image is None or soft_text is None:
        soft_image, soft_text, soft_every = image, text, every
    else:
        assert gathered is None or gathered_soft, "gathered features need gathered soft ones"
        soft_every = gathered_soft or Pairs(soft_image, soft_text, ids)

    def one_way(
        anchors: Tensor, columns: Tensor, soft_anchors: Tensor, soft_columns: Tensor
    ) -> Tensor:
        labels = targets
        if alpha > 0:
            with torch.no_grad():
                softened = (scale * soft_anchors @ soft_columns.T).softmax(dim=1)
            labels = alpha * softened + (1 - alpha) * targets
        return F.cross_entropy(scale * anchors @ columns.T, labels)

    image_to_text = one_way(image, every.text, soft_image, soft_every.text)
    text_to_image = one_way(text, every.image, soft_text, soft_every.image)
    return (image_to_text + text_to_image) / 2


def r_itc(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    eps: float = 1e-2,
    *,
    gathered: Pairs | None = None,
) -> Tensor:
    """Reversed image-text contrast (Cao et al. 2024, section 3.3): KL(p || H + eps), the mean of
    both directions.

    p is the softmax of the similarities; H, the identity equality divided by its row sum, is not
    renormalised after `eps` has been added.
    """
    every = gathered or Pairs(image, text, ids)
    log_targets = (identity_targets(ids, every.ids) + eps).log()

    def one_way(anchors: Tensor, columns: Tensor) -> Tensor:
        log_p = (scale * anchors @ columns.T).log_softmax(dim=1)
        return (log_p.exp() * (log_p - log_targets)).sum(dim=1).mean()

    return (one_way(image, every.text) + one_way(text, every.image)) / 2


def itc(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    *,
    gathered: Pairs | None = None,
    first: int = 0,
) -> Tensor:
    """Plain image-text contrast (Radford et al. 2021, figure 3): cross-entropy to the own pair.

    The mean of both directions.

    Args:
        first: row of `gathered` that this process's first row is.
    """
    every_image, every_text = (gathered.image, gathered.text) if gathered else (image, text)
    own = torch.arange(first, first + len(image), device=image.device)
    image_to_text = F.cross_entropy(scale * image @ every_text.T, own)
    text_to_image = F.cross_entropy(scale * text @ every_image.T, own)
    return (image_to_text + text_to_image) / 2


def c_itc(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    inmodal_weight: float = 0.25,
    crossmodal_weight: float = 0.25,
) -> Tensor:
    """Cyclic consistency (Goel et al. 2022, arXiv 2205.14459; Cao et al. 2024, section 3.3).

    Two pictures should be as alike as their captions, and a picture as like another's caption as
    the other picture is like its caption: mean squares over all B x B cosine similarities. Several
    processes give the features of all of them and get the same loss.

    Args:
        scale: not used; the published code divides it out of the logits again.
    """
    image_image, text_text, image_text = image @ image.T, text @ text.T, image @ text.T
    inmodal = (image_image - text_text).square().mean()
    crossmodal = (image_text - image_text.T).square().mean()
    return inmodal_weight * inmodal + crossmodal_weight * crossmodal


def simclr(
    view_a: Tensor,
    view_b: Tensor,
    temperature: float = 0.1,
    *,
    gathered: tuple[Tensor, Tensor] | None = None,
    first: int = 0,
) -> Tensor:
    """NT-Xent between two views of the same pictures (Chen et al. 2020, arXiv 2002.05709, eq. 1).

    The other view of the same picture against the other views and the same views of all others;
    the mean of both directions.

    Args:
        view_a, view_b: (B, D), normalised, paired by row.
        gathered: the two views of all processes.
        first: row of `gathered` that this process's first row is.
    """
    every_a, every_b = gathered or (view_a, view_b)
    own = torch.arange(first, first + len(view_a), device=view_a.device)

    def one_way(anchors: Tensor, other_view: Tensor, same_view: Tensor) -> Tensor:
        to_same = (anchors @ same_view.T).scatter(1, own[:, None], -torch.inf)
        logits = torch.cat([anchors @ other_view.T, to_same], dim=1) / temperature
        return F.cross_entropy(logits, own)

    return (one_way(view_a, every_b, every_a) + one_way(view_b, every_a, every_b)) / 2


def sdm(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    eps: float = 1e-8,
    *,
    gathered: Pairs | None = None,
) -> Tensor:
    """Similarity distribution matching (Jiang & Ye 2023, arXiv 2303.12501, eq. 6).

    KL(p || H + eps), the two directions summed: R-ITC is its mean with a larger `eps`.
    """
    return 2 * r_itc(image, text, ids, scale, eps, gathered=gathered)


def cmpm(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    eps: float = 1e-8,
    *,
    gathered: Pairs | None = None,
) -> Tensor:
    """Cross-modal projection matching (Zhang & Lu, ECCV 2018, eq. 5), the two directions summed.

    KL(p || q + eps), where p is the softmax of the features' projections on the other modality's
    normalised features, and q the identity equality divided by its row's L2 norm, as published.

    Args:
        image, text: (B, D), raw; what the paper normalises is normalised here.
        gathered: the raw pairs of all processes.
    """
    every = gathered or Pairs(image, text, ids)
    same = (ids[:, None] == every.ids[None, :]).float()
    log_targets = (F.normalize(same, dim=1) + eps).log()

    def one_way(anchors: Tensor, columns: Tensor) -> Tensor:
        log_p = (anchors @ F.normalize(columns, dim=1).T).log_softmax(dim=1)
        return (log_p.exp() * (log_p - log_targets)).sum(dim=1).mean()

    return one_way(image, every.text) + one_way(text, every.image)


def identity(logits: Tensor, ids: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of identity logits (B, identities), with label smoothing."""
    return F.cross_entropy(logits, ids, label_smoothing=smoothing)


def sup_con(
    anchors: Tensor,
    contrast: Tensor,
    anchor_ids: Tensor,
    contrast_ids: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """Supervised contrast (Khosla et al. 2020, arXiv 2004.11362, eq. 2) of two sets of features, as
    in the first stage of CLIP-ReID (Li et al. 2023, arXiv 2211.13977).

    Cross-entropy of each anchor's dot products to the features of its identity: the mean over
    these, then over the anchors. Half-precision features are computed with in float32.

    Args:
        anchors: (B, D), raw; of this process.
        contrast: (B', D), raw; of all processes. Each anchor's identity is among them.
        anchor_ids, contrast_ids: int64, (B,) and (B',).
    """
    logits = _at_least_float32(anchors) @ _at_least_float32(contrast).T / temperature
    return F.cross_entropy(logits, identity_targets(anchor_ids, contrast_ids))


def triplet(
    features: Tensor,
    ids: Tensor,
    margin: float | None = None,
    *,
    gathered: Tensor | None = None,
    gathered_ids: Tensor | None = None,
) -> Tensor:
    """Batch-hard triplet loss on Euclidean distances (Hermans et al. 2017, arXiv 1703.07737,
    eq. 5).

    The mean over the anchors of max(0, margin + p - n), or with a soft margin of log(1 + exp(p -
    n)), where p is the distance to the farthest feature of the same identity and n that to the
    nearest of another one. An anchor that lacks either is left out; where all are, the loss is 0,
    but still in the graph. Half-precision features are computed with in float32.

    Args:
        features: (B, D), raw.
        margin: soft when None.
        gathered, gathered_ids: the raw features and the identities of all processes, each of which
            brings B; given together. Anchors are then left out of the mean over all processes.
    """
    assert (gathered is None) == (gathered_ids is None), "give both gathered parts or none"
    features = _at_least_float32(features)
    every = features if gathered is None else _at_least_float32(gathered)
    every_ids = ids if gathered_ids is None else gathered_ids
    same = ids[:, None] == every_ids[None, :]
    with torch.no_grad():
        # without products of matrices, which round small distances away
        distances = torch.cdist(features, every, compute_mode="donot_use_mm_for_euclid_dist")
        farthest = distances.masked_fill(~same, -torch.inf).argmax(dim=1)
        nearest = distances.masked_fill(same, torch.inf).argmin(dim=1)
    # norm has the gradient 0 at 0: pictures with the same features do no harm
    gaps = (features - every[farthest]).norm(dim=1) - (features - every[nearest]).norm(dim=1)
    rows = F.softplus(gaps) if margin is None else F.relu(gaps + margin)

    def are_complete(same: Tensor) -> Tensor:
        matches = same.sum(dim=1)  # the anchor itself is one
        return (matches > 1) & (matches < same.shape[1])

    share = are_complete(every_ids[:, None] == every_ids[None, :]).float().mean()
    return (rows * are_complete(same)).mean() / share.where(share > 0, torch.ones_like(share))


def _at_least_float32(features: Tensor) -> Tensor:
    return features.to(torch.promote_types(features.dtype, torch.float32))


def masked_lm(logits: Tensor, labels: Tensor, masked: Tensor | None = None) -> Tensor:
    """Cross-entropy at the masked tokens; 0, but still in the graph, where there are none.

    Args:
        logits: (N, vocabulary).
        labels: (N,), int64; -100 is ignored.
        masked: what the sum is divided by; the number of labels here unless given. Several
            processes or chunks give the mean of their numbers, so that every token counts alike.
    """
    total = F.cross_entropy(logits, labels, reduction="sum")
    count = (labels != -100).sum() if masked is None else masked
    return total / count.where(count > 0, torch.ones_like(count))
