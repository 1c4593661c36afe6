"""Losses: pure functions of features, identities and a scale.

Features are float (B, D), L2-normalised unless stated otherwise; `ids` is int64 (B,); `scale` is
the exponentiated logit scale, a scalar. A contrastive loss compares the rows of this process with
those of all processes, `gathered`; None, the default, stands for a single process. If the backward
of the gather sums over the processes, the mean loss over the processes is the loss of the global
batch, and the gradients that DDP averages are its gradients.

Most losses are the mean of a term for each pair, (B,). `reduce` replaces the mean: the identity
gives the terms themselves, `lambda terms: (weights * terms).mean()` weights the pairs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.alignment import tal as tal
from model.alignment import trl as trl
from model.pairs import Pairs, Reduction


def identity_targets(ids: Tensor, all_ids: Tensor) -> Tensor:
    """(B, B'): 1 / n at the n columns of the row's identity, 0 elsewhere; rows sum to 1."""
    same = (ids[:, None] == all_ids[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def n_itc(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    alpha: float | Tensor = 0.0,
    soft_image: Tensor | None = None,
    soft_text: Tensor | None = None,
    *,
    gathered: Pairs | None = None,
    gathered_soft: Pairs | None = None,
    reduce: Reduction = torch.mean,
) -> Tensor:
    """Normalised image-text contrast with soft labels (Cao et al. 2024, section 3.3; arXiv
    2308.10045).

    Cross-entropy between the softmax of the similarities and `alpha * softmax(soft similarities) +
    (1 - alpha) * H`, where H is 1 for pairs of the same identity, divided by its row sum; the mean
    of both directions.

    Args:
        alpha: weight of the soft labels, 0 to 1.
        soft_image, soft_text: (B, D), features from which the soft labels are computed, without
            gradient; default to `image` and `text`, detached.
        gathered: the pairs of all processes.
        gathered_soft: the soft features of all processes, if both `gathered` and soft features are
            given.
    """
    assert (soft_image is None) == (soft_text is None), "give both soft features or neither"
    pairs = gathered or Pairs(image, text, ids)
    targets = identity_targets(ids, pairs.ids)
    if soft_image is None or soft_text is None:
        soft_image, soft_text, soft_pairs = image, text, pairs
    else:
        assert gathered is None or gathered_soft, "gathered_soft is missing"
        soft_pairs = gathered_soft or Pairs(soft_image, soft_text, ids)

    def one_way(
        anchors: Tensor, columns: Tensor, soft_anchors: Tensor, soft_columns: Tensor
    ) -> Tensor:
        labels = targets
        if isinstance(alpha, Tensor) or alpha > 0:
            with torch.no_grad():
                softened = (scale * soft_anchors @ soft_columns.T).softmax(dim=1)
            labels = alpha * softened + (1 - alpha) * targets
        return reduce(F.cross_entropy(scale * anchors @ columns.T, labels, reduction="none"))

    image_to_text = one_way(image, pairs.text, soft_image, soft_pairs.text)
    text_to_image = one_way(text, pairs.image, soft_text, soft_pairs.image)
    return (image_to_text + text_to_image) / 2


def r_itc(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    eps: float = 1e-2,
    *,
    gathered: Pairs | None = None,
    reduce: Reduction = torch.mean,
) -> Tensor:
    """Reversed image-text contrast (Cao et al. 2024, section 3.3): KL(p || H + eps), the mean of
    both directions.

    p is the softmax of the similarities; H is 1 for pairs of the same identity, divided by its row
    sum, and not renormalised after adding `eps`.
    """
    pairs = gathered or Pairs(image, text, ids)
    log_targets = (identity_targets(ids, pairs.ids) + eps).log()

    def one_way(anchors: Tensor, columns: Tensor) -> Tensor:
        log_p = (scale * anchors @ columns.T).log_softmax(dim=1)
        return reduce((log_p.exp() * (log_p - log_targets)).sum(dim=1))

    return (one_way(image, pairs.text) + one_way(text, pairs.image)) / 2


def itc(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    *,
    gathered: Pairs | None = None,
    first: int = 0,
    reduce: Reduction = torch.mean,
) -> Tensor:
    """Plain image-text contrast (Radford et al. 2021, figure 3).

    Cross-entropy with the own pair as the target; the mean of both directions.

    Args:
        first: row of `gathered` that holds this process's first row.
    """
    all_image, all_text = (gathered.image, gathered.text) if gathered else (image, text)
    own = torch.arange(first, first + len(image), device=image.device)
    image_to_text = F.cross_entropy(scale * image @ all_text.T, own, reduction="none")
    text_to_image = F.cross_entropy(scale * text @ all_image.T, own, reduction="none")
    return (reduce(image_to_text) + reduce(text_to_image)) / 2


def c_itc(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    inmodal_weight: float = 0.25,
    crossmodal_weight: float = 0.25,
    *,
    reduce: Reduction = torch.mean,
) -> Tensor:
    """Cyclic consistency (Goel et al. 2022, arXiv 2205.14459; Cao et al. 2024, section 3.3).

    Mean squared differences over all B x B cosine similarities: between image-image and text-text
    (in-modal), and between image i with text j and image j with text i (cross-modal). Among several
    processes, give the gathered features: each process then computes the same loss.

    Args:
        scale: unused; the published code multiplies the similarities by it and divides it out.
        reduce: of the terms (B, B), each of two pairs.
    """
    image_image, text_text, image_text = image @ image.T, text @ text.T, image @ text.T
    inmodal = reduce((image_image - text_text).square())
    crossmodal = reduce((image_text - image_text.T).square())
    return inmodal_weight * inmodal + crossmodal_weight * crossmodal


def simclr(
    view_a: Tensor,
    view_b: Tensor,
    temperature: float = 0.1,
    *,
    gathered: tuple[Tensor, Tensor] | None = None,
    first: int = 0,
) -> Tensor:
    """NT-Xent between two views of the same images (Chen et al. 2020, arXiv 2002.05709, eq. 1).

    The positive is the other view of the same image, the negatives are both views of all other
    images; the mean of both directions.

    Args:
        view_a, view_b: (B, D), normalised, paired by row.
        gathered: the two views of all processes.
        first: row of `gathered` that holds this process's first row.
    """
    all_a, all_b = gathered or (view_a, view_b)
    own = torch.arange(first, first + len(view_a), device=view_a.device)

    def one_way(anchors: Tensor, other_view: Tensor, same_view: Tensor) -> Tensor:
        to_same = (anchors @ same_view.T).scatter(1, own[:, None], -torch.inf)
        logits = torch.cat([anchors @ other_view.T, to_same], dim=1) / temperature
        return F.cross_entropy(logits, own)

    return (one_way(view_a, all_b, all_a) + one_way(view_b, all_a, all_b)) / 2


def sdm(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    eps: float = 1e-8,
    *,
    gathered: Pairs | None = None,
    reduce: Reduction = torch.mean,
) -> Tensor:
    """Similarity distribution matching (Jiang & Ye 2023, arXiv 2303.12501, eq. 6).

    KL(p || H + eps), the sum of both directions; R-ITC is their mean, with a larger `eps`.
    """
    return 2 * r_itc(image, text, ids, scale, eps, gathered=gathered, reduce=reduce)


def cmpm(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    eps: float = 1e-8,
    *,
    gathered: Pairs | None = None,
    reduce: Reduction = torch.mean,
) -> Tensor:
    """Cross-modal projection matching (Zhang & Lu, ECCV 2018, eq. 5), the sum of both directions.

    KL(p || q + eps), where p is the softmax of the projections of the features on the normalised
    features of the other modality, and q is 1 for pairs of the same identity, divided by the L2
    norm of its row, as published.

    Args:
        image, text: (B, D), not normalised; the function normalises as the paper does.
        gathered: the pairs of all processes, not normalised.
    """
    pairs = gathered or Pairs(image, text, ids)
    same = (ids[:, None] == pairs.ids[None, :]).float()
    log_targets = (F.normalize(same, dim=1) + eps).log()

    def one_way(anchors: Tensor, columns: Tensor) -> Tensor:
        log_p = (anchors @ F.normalize(columns, dim=1).T).log_softmax(dim=1)
        return reduce((log_p.exp() * (log_p - log_targets)).sum(dim=1))

    return one_way(image, pairs.text) + one_way(text, pairs.image)


def identity(logits: Tensor, ids: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of identity logits (B, num_identities), with label smoothing."""
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

    Cross-entropy of each anchor's dot products with the contrast features, averaged over its
    positives, then over the anchors. Half-precision features are converted to float32.

    Args:
        anchors: (B, D), not normalised, of this process.
        contrast: (B', D), not normalised, of all processes; has a positive for every anchor.
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

    The mean over the anchors of max(0, margin + p - n), or of log(1 + exp(p - n)) with a soft
    margin, where p is the distance to the farthest positive and n that to the nearest negative.
    Anchors without a positive or without a negative are skipped; if all are, the loss is 0, but
    still in the graph. Half-precision features are converted to float32.

    Args:
        features: (B, D), not normalised.
        margin: None for a soft margin.
        gathered, gathered_ids: features and identities of all processes, B from each; given
            together. The mean is then over the complete anchors of all processes.
    """
    assert (gathered is None) == (gathered_ids is None), "give both gathered tensors or neither"
    features = _at_least_float32(features)
    all_features = features if gathered is None else _at_least_float32(gathered)
    all_ids = ids if gathered_ids is None else gathered_ids
    same = ids[:, None] == all_ids[None, :]
    with torch.no_grad():
        # a matrix product would round small distances to zero
        distances = torch.cdist(features, all_features, compute_mode="donot_use_mm_for_euclid_dist")
        farthest = distances.masked_fill(~same, -torch.inf).argmax(dim=1)
        nearest = distances.masked_fill(same, torch.inf).argmin(dim=1)
    # the gradient of norm at 0 is 0, so identical features do no harm
    to_positive = (features - all_features[farthest]).norm(dim=1)
    gaps = to_positive - (features - all_features[nearest]).norm(dim=1)
    rows = F.softplus(gaps) if margin is None else F.relu(gaps + margin)

    def are_complete(same: Tensor) -> Tensor:
        matches = same.sum(dim=1)  # the anchor itself is one
        return (matches > 1) & (matches < same.shape[1])

    share = are_complete(all_ids[:, None] == all_ids[None, :]).float().mean()
    return (rows * are_complete(same)).mean() / share.where(share > 0, torch.ones_like(share))


def _at_least_float32(features: Tensor) -> Tensor:
    return features.to(torch.promote_types(features.dtype, torch.float32))


def sigmoid(
    image: Tensor,
    text: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    *,
    gathered: Pairs | None = None,
    own: Tensor | None = None,
    reduce: Reduction = torch.mean,
) -> Tensor:
    """Pairwise sigmoid loss (Zhai et al. 2023, arXiv 2303.15343, eq. 1).

    -1/B sum_ij log sigmoid(z_ij (scale s_ij + bias)), where z is 1 for pairs of the same identity,
    else -1.

    Args:
        gathered: the pairs of all processes.
        own: int64 (B,), row of `gathered` of each own pair, which then alone has z = 1, as
            published.
        reduce: of the terms of the images (B,), each with all texts.
    """
    pairs = gathered or Pairs(image, text, ids)
    same = ids[:, None] == pairs.ids[None, :]
    if own is not None:
        same = own[:, None] == torch.arange(len(pairs.ids), device=own.device)
    logits = scale * image @ pairs.text.T + bias
    return reduce(-F.logsigmoid(torch.where(same, logits, -logits)).sum(dim=1))


def masked_lm(logits: Tensor, labels: Tensor, masked: Tensor | None = None) -> Tensor:
    """Cross-entropy at the masked tokens; 0, but still in the graph, if there are none.

    Args:
        logits: (N, vocabulary).
        labels: (N,), int64; -100 is ignored.
        masked: divisor of the sum, by default the number of labels. Among several processes or
            chunks, give the mean of their numbers, so that all tokens weigh the same.
    """
    total = F.cross_entropy(logits, labels, reduction="sum")
    count = (labels != -100).sum() if masked is None else masked
    return total / count.where(count > 0, torch.ones_like(count))
