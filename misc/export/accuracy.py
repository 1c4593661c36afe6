"""The retrieval accuracy of an exported model beside that of its checkpoint."""

import torch
from torch import Tensor, nn

from errors import InputError
from misc.export.trained_model import TrainedModel
from misc.job import TASKS
from misc.retrieval.base import Ranked, Retrieval
from misc.retrieval.image import ImageRetrieval
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.tasks.encoder import Encoder
from misc.tasks.reid.task import ReIDTask

CPU = Processes(0, 1, torch.device("cpu"))


class EncoderTowers(nn.Module):
    """The towers of an encoder, with the interface of a model."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, rows, columns) -> L2-normalised features (B, D) to compare with sentences."""
        return self.encoder.encode(images)[:, : self.encoder.words]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(B, L) -> L2-normalised features (B, D)."""
        assert self.encoder.sentences is not None
        return self.encoder.sentences.encode(tokens)


def compare_accuracy(trained: TrainedModel, written: Encoder, precision: str) -> None:
    """Print R1 on the run's test split beside that of the checkpoint, or why there is none."""
    try:
        retrieval = build_test_split(trained)
    except InputError as error:
        print(f"The loss of {precision} in R1 was not measured: {error}")
        return
    encoders = trained.encoder, written
    own, other = (measure(retrieval, EncoderTowers(encoder)) for encoder in encoders)
    for direction, metrics in own.results.items():
        before, after = metrics["R1"], other.results[direction]["R1"]
        print(
            f"{direction} on the test split: R1 {before:.2f} in PyTorch, {after:.2f} in "
            f"{precision} ONNX ({after - before:+.2f})"
        )
    if trained.encoder.parts is not None:
        print("The loss in search by a picture was not measured: give the folder to search.py")
    first, differing = own.ranking.first, own.ranking.first != other.ranking.first
    print(
        f"{next(iter(own.results))}: the first match has another rank for {int(differing.sum())} "
        f"of {len(first)} queries"
    )


def build_test_split(trained: TrainedModel) -> Retrieval[nn.Module]:
    """The test split of a run's data, for towers without side information.

    Raises:
        InputError: the data are not there, or have no test split.
    """
    config = trained.config
    task = TASKS[config.task](config, CPU, Precision("fp32", CPU.device))
    if "test" not in task.splits:
        raise InputError("the data have no test split")
    if isinstance(task, ReIDTask):
        task.knows_cameras = False
    retrieval = task.build_retrieval("test")
    if isinstance(retrieval, ImageRetrieval):
        retrieval.flip = False  # the tower sees both sides itself
    return retrieval


def measure(retrieval: Retrieval[nn.Module], towers: nn.Module) -> Ranked:
    """The metrics of towers, in percent, and their ranking."""
    encoded = retrieval.encode(towers, CPU, Precision("fp32", CPU.device))
    return retrieval.rank(encoded, CPU)
