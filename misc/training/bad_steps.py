"""Training steps that were skipped, since the loss or a gradient was not finite."""

from collections.abc import Sequence
from dataclasses import dataclass

from errors import InputError
from misc.runtime.recorder import Recorder, log
from misc.training.trainer import Stage

SHOWN = 4  # pictures of a step in its log line; the record has all of them


@dataclass
class BadSteps:
    """A stage's bad steps: each is reported with its pictures, too many in a row end the run.

    Args:
        limit: bad steps in a row that end the run.
        in_row: bad steps since the last good one.
    """

    stage: Stage
    recorder: Recorder
    limit: int
    in_row: int = 0

    def read(self, flags: Sequence[bool], epoch: int, epoch_step: int, done: int) -> None:
        """Report the bad ones of the latest steps, all of which are of one epoch.

        Args:
            flags: whether each of these steps was bad.
            epoch: counted from 0, as are steps.
            epoch_step: the first step of the epoch, counted through all stages.
            done: steps of the epoch that are done.
        """
        first = done - len(flags)
        bad = [first + number for number, is_bad in enumerate(flags) if is_bad]
        for is_bad in flags:
            self.in_row = self.in_row + 1 if is_bad else 0
            if self.in_row == self.limit:
                break  # later steps cannot undo it
        if not (bad and self.recorder.active):
            return
        for step, indices in zip(bad, self.stage.loader.global_batches(epoch, bad), strict=True):
            pictures = list(dict.fromkeys(self.stage.pictures[index] for index in indices))
            row = {"step": epoch_step + step + 1, "epoch": epoch + 1, "stage": self.stage.name}
            self.recorder.write({**row, "skipped": pictures})
            more = f" and {len(pictures) - SHOWN} more" if len(pictures) > SHOWN else ""
            log.warning(
                "epoch %d  step %d/%d  skipped: the loss or a gradient is not finite; pictures: "
                "%s%s",
                epoch + 1,
                step + 1,
                len(self.stage.loader),
                ", ".join(pictures[:SHOWN]),
                more,
            )

    def check(self, kept: str) -> None:
        """End the run after too many bad steps in a row.

        Args:
            kept: a clause about the checkpoint that is kept.

        Raises:
            InputError: there were `limit` of them.
        """
        if self.in_row >= self.limit:
            raise InputError(
                f"the loss or a gradient is not finite in {self.limit} steps in a row: the "
                "training has diverged; lower schedule.lr, or give experiment.precision=bf16 or "
                f"fp32; {kept}"
            )
