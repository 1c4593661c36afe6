"""The division of a training set into pairs that fit and pairs that do not."""

import logging
import time
from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from errors import InputError
from misc.data.loader import Trainable, TrainLoader
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, generator
from misc.training.mixture import MixtureSettings, part_by_loss
from model.criteria.text import TextCriterion, pair_terms
from model.interface import Method, TextBatch, TextOutputs

log = logging.getLogger(__name__)

TRUTH = "truth"  # in place of a loss: the labels are those of the noise that was injected


class Division:
    """Confident consensus division (Qin et al. 2024, RDE, arXiv 2308.09911, section 3.3).

    Before an epoch each of its pairs has a loss within its global batch, in evaluation mode. A
    mixture on the losses of each embedding finds clean pairs; where the two embeddings disagree, a
    coin decides. Pairs whose pictures are bad and skipped take no part, and are labelled clean. The
    labels are the same whatever the number of processes.

    Args:
        criterion: is given the labels as its `clean`.
        loss: one of `model.criteria.text.PAIR_LOSSES`, or `TRUTH`.
        chunk: pairs that a process encodes at once.
        mismatched: (N,), whether noise was injected into a pair; None: it was not.

    Attributes:
        labels: (N,), bool, whether a pair is clean in the current epoch; None before the first.
    """

    def __init__(
        self,
        criterion: TextCriterion,
        loss: str,
        loader: TrainLoader[Trainable],
        *,
        size: int,
        processes: Processes,
        precision: Precision,
        mixture: MixtureSettings,
        seed: int,
        chunk: int,
        mismatched: NDArray[np.bool_] | None = None,
    ) -> None:
        self.criterion, self.loss, self.loader, self.size = criterion, loss, loader, size
        self.processes, self.precision, self.mixture = processes, precision, mixture
        self.seed, self.chunk, self.mismatched = seed, chunk, mismatched
        self.labels: Tensor | None = None
        self.remarks: set[str] = set()

    def restore(self, labels: Tensor | None) -> None:
        """Take the labels of a checkpoint; None: it has none.

        Raises:
            InputError: they are of another training set.
        """
        if labels is None:
            return
        if labels.shape != (self.size,):
            raise InputError(
                f"--resume: the checkpoint has labels of {labels.numel()} pairs, but the training "
                f"set has {self.size}: resume with the data of its training"
            )
        self._use(labels)

    def divide(self, model: Method, epoch: int) -> float:
        """Label the pairs for an epoch; the model is left in evaluation mode.

        Returns:
            The seconds that it took.

        Raises:
            InputError: a loss is not finite.
        """
        began = time.perf_counter()
        if self.loss == TRUTH:
            self._use(torch.from_numpy(self._true_labels(epoch)))
            return time.perf_counter() - began
        losses = self._losses(model, epoch)
        clean = self.processes.share(self._label(losses, epoch) if self.processes.is_main else None)
        assert clean is not None
        self._use(torch.from_numpy(clean))
        return time.perf_counter() - began

    def _true_labels(self, epoch: int) -> NDArray[np.bool_]:
        """The pairs into which no noise was injected."""
        clean = np.ones(self.size, bool) if self.mismatched is None else ~self.mismatched
        if self.processes.is_main:
            log.info("Division, epoch %d: %s", epoch + 1, describe(clean, self.mismatched))
        return clean

    def _use(self, labels: Tensor) -> None:
        self.labels = labels.bool()
        clean = labels.float().to(self.processes.device)
        if self.criterion.clean is None:
            self.criterion.clean = clean
        else:
            self.criterion.clean.copy_(clean)  # in place: recorded steps read this tensor

    @torch.no_grad()
    def _losses(self, model: Method, epoch: int) -> Tensor:
        """Losses (embeddings, N); NaN for a pair whose picture is bad and was skipped."""
        model.eval()
        self.loader.deal(epoch)
        indices, losses = [], []
        bar = tqdm(
            self.loader,
            desc=f"division {epoch + 1}",
            leave=False,
            disable=None if self.processes.is_main else True,
        )
        for loaded in self.processes.batches(bar):
            batch = loaded.to(self.processes.device)
            assert isinstance(batch, TextBatch)
            assert batch.indices is not None
            with self.precision.autocast():
                outputs = TextOutputs.join([model(part) for part in batch.split(self.chunk)])
            indices.append(batch.indices)
            losses.append(pair_terms(self.loss, outputs, batch, self.criterion.settings).T)
        rows = torch.cat(self.processes.collect(torch.cat(indices)))
        values = torch.cat(self.processes.collect(torch.cat(losses)))
        if not values.isfinite().all():
            raise InputError(
                f"experiment.division: losses are not finite before epoch {epoch + 1}: the "
                "training has diverged; lower schedule.lr, or set experiment.precision to fp32"
            )
        found = torch.full((self.size, values.shape[1]), torch.nan)
        # A pair that stands for one whose picture is bad has a loss in several batches.
        found.scatter_reduce_(
            0, rows[:, None].expand_as(values), values, "amin", include_self=False
        )
        return found.T

    def _label(self, losses: Tensor, epoch: int) -> NDArray[np.bool_]:
        seen = losses[0].isfinite().numpy()
        parted = [part_by_loss(row.numpy()[seen], self.mixture, self.seed) for row in losses]
        for remark in dict.fromkeys(chain.from_iterable(part.remarks for part in parted)):
            if remark not in self.remarks:
                self.remarks.add(remark)
                log.warning("Division, epoch %d: %s; this is said once", epoch + 1, remark)
        coins = generator(self.seed, Purpose.DIVISION, epoch).random(self.size) < 0.5
        found = consent([part.clean for part in parted], coins[seen])
        mismatched = None if self.mismatched is None else self.mismatched[seen]
        log.info("Division, epoch %d: %s", epoch + 1, describe(found, mismatched))
        clean = np.ones(self.size, bool)
        clean[seen] = found
        return clean


def consent(clean: Sequence[NDArray[np.bool_]], coins: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Clean pairs (N,) by all embeddings together: where they disagree, coins decide."""
    votes = np.stack(clean)
    return votes.all(axis=0) | (votes.any(axis=0) & coins)


def describe(clean: NDArray[np.bool_], mismatched: NDArray[np.bool_] | None) -> str:
    """A sentence on labels, with the precision and recall of noise that was injected."""
    text = f"{int(clean.sum()):,} of {len(clean):,} pairs are clean"
    if mismatched is None:
        return text
    hits, found = int((mismatched & ~clean).sum()), int((~clean).sum())
    precision, recall = 100 * hits / max(1, found), 100 * hits / max(1, int(mismatched.sum()))
    return f"{text}; injected noise is found with precision {precision:.1f}, recall {recall:.1f}"
