"""Training steps as CUDA graphs: the kernels of a step, recorded once and then launched together.

A step of a base model is a thousand kernels, which Python launches one by one; where that takes
longer than the GPU needs for them, the GPU waits. A recorded graph takes one launch.
"""

from collections.abc import Callable, Sequence
from traceback import extract_tb
from typing import Any

import torch
from torch import Tensor, nn

from errors import InputError
from misc.runtime.distributed import Processes
from model.criteria.base import Losses
from model.heads import MaskedLanguageDecoder
from model.interface import Batch

# The losses of a batch, their gradients left in the parameters; with the epochs since the stage
# began, as a tensor.
Compute = Callable[[Batch, Tensor], Losses]
Shape = tuple[tuple[str, torch.Size], ...]
# Flags of modules that recompute: ours and those of transformers, then open_clip's.
RECOMPUTING = ("gradient_checkpointing", "grad_checkpointing")


class StepGraphs:
    """Losses and gradients of batches; the kernels of each shape of a batch are recorded.

    The first batch of a shape is computed as it is without graphs, so that libraries and compiled
    code get ready; the second one is recorded. All graphs share their memory but for the gradients.
    Dropout masks are drawn from torch's generator as without graphs.

    Args:
        parameters: those that train.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], device: torch.device) -> None:
        self.parameters = parameters
        self.progress = torch.zeros((), device=device)
        self.graphs: dict[Shape, _Recorded | None] = {}
        self.pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def __call__(self, compute: Compute, batch: Batch, progress: float) -> Losses:
        """The losses of a batch, on the device; the gradients are in the parameters.

        Args:
            compute: the same each time. It reads its arguments anew in each step, and nothing else
                that a step replaces by another tensor; it waits for the device at no point.

        Raises:
            InputError: the step cannot be recorded.
        """
        self.progress.fill_(progress)
        shape = tuple((name, tensor.shape) for name, tensor in batch.present().items())
        if shape not in self.graphs:
            self.graphs[shape] = None
            return compute(batch, self.progress)
        graph = self.graphs[shape]
        if graph is None:
            graph = self.graphs[shape] = self._record(compute, batch)
        return graph(batch)

    def _record(self, compute: Compute, batch: Batch) -> "_Recorded":
        kept = batch.map(torch.clone)
        try:
            replay, losses = record(lambda: compute(kept, self.progress), self.pool)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InputError(
                f"model.cuda_graphs: a step of this training cannot be recorded "
                f"({_first_fault(error)}): set it to false"
            ) from error
        return _Recorded(kept, losses, self.parameters, replay)


class _Recorded:
    """The graph of one shape, and the tensors that it reads and writes."""

    def __init__(
        self,
        batch: Batch,
        losses: Losses,
        parameters: Sequence[nn.Parameter],
        replay: Callable[[], None],
    ) -> None:
        self.batch, self.losses, self.replay = batch, losses, replay
        self.parameters = [p for p in parameters if p.grad is not None]
        self.gradients = [p.grad for p in self.parameters]

    def __call__(self, batch: Batch) -> Losses:
        for kept, new in zip(self.batch.present().values(), batch.present().values(), strict=True):
            kept.copy_(new, non_blocking=True)
        self.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        values = torch.stack([*self.losses.values()]).unbind()  # not overwritten by the next step
        return dict(zip(self.losses, values, strict=True))


def record(compute: Callable[[], Losses], pool: Any) -> tuple[Callable[[], None], Losses]:
    """Record what a function launches, without running it; how to run it, and what it returns.

    Args:
        pool: of memory, which graphs share; torch's handle of it.
    """
    graph = torch.cuda.CUDAGraph()
    # The loader's threads may call CUDA meanwhile. A recording that fails leaves its own stream on.
    with (
        torch.cuda.stream(torch.cuda.current_stream()),
        torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"),
    ):
        losses = compute()
    return graph.replay, losses


def _first_fault(error: BaseException) -> str:
    """The first of the errors that led to one, and where our own or the user's code met it."""
    while error.__context__ is not None:
        error = error.__context__
    frames = [f for f in extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{reason}, at {frames[-1].filename}:{frames[-1].lineno}" if frames else reason


def find_fault(model: nn.Module, processes: Processes, parts: int) -> str | None:
    """The reason why the steps of a training are not recorded, if they are not."""
    if processes.device.type != "cuda":
        return "graphs are for a GPU"
    if processes.world_size > 1:
        return "steps of several processes are not recorded"
    if parts > 1:
        return "a batch that is encoded in parts is not recorded"
    modules = list(model.modules())
    if any(getattr(module, name, False) for module in modules for name in RECOMPUTING):
        return "blocks that are recomputed are not recorded"
    if any(isinstance(module, MaskedLanguageDecoder) for module in modules):
        return "the number of masked words, by which the decoder's work grows, is read in each step"
    return None
