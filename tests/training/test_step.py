"""One optimizer step of a tiny method, held by hand: the bound of the gradients, the dropout masks
of the processes, the bounds of the parameters.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.training.trainer import Stage, Trainer, TrainingSettings
from model.clip import CLIP, TextShape
from model.criteria.base import Criterion
from model.gather import Alone, Gather
from model.interface import Method, PromptBatch, PromptOutputs
from model.tbps_clip import TBPSCLIP
from model.vit import VisionShape

CPU = torch.device("cpu")
LR = 0.5


class Tiny(Method[PromptBatch, PromptOutputs]):
    """A linear layer behind dropout, and a parameter that is at most 1."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(6, 6), nn.Dropout(p)
        self.bounded = nn.Parameter(torch.tensor(3.0))

    def forward(self, batch: PromptBatch) -> PromptOutputs:
        features = self.linear(self.dropout(batch.image_features))
        return PromptOutputs(features, features * self.bounded)

    @torch.no_grad()
    def constrain(self) -> None:
        self.bounded.clamp_(max=1.0)


class Squares(Criterion[PromptOutputs, PromptBatch]):
    """The mean square of the features, and the epochs since the stage began."""

    def __call__(
        self,
        outputs: PromptOutputs,
        batch: PromptBatch,
        gather: Gather | None = None,
        progress: float = 1.0,
    ) -> dict[str, Tensor]:
        square = outputs.text_features.square().mean()
        return {"square": square, "progress": progress + 0 * square}


BATCH = PromptBatch(
    torch.randn(8, 6, generator=torch.Generator().manual_seed(0)), torch.arange(8) // 2
)


def make_trainer(
    clip_grad: float | None = None,
    *,
    p: float = 0.0,
    rank: int = 0,
    precision: str = "fp32",
    first_step: int = 0,
    schedule: Callable[[int], float] = lambda step: LR,
) -> Trainer:
    """A trainer by plain gradient descent; the linear layer at twice the rate of the other."""
    torch.manual_seed(0)
    model = Tiny(p).train()
    groups = [
        {"params": list(model.linear.parameters()), "factor": 2.0},
        {"params": [model.bounded], "factor": 1.0},
    ]
    stage = Stage(
        name="tiny",
        criterion=Squares({"square": 10.0, "progress": 0.0}),
        loader=[BATCH] * 4,
        prepare=lambda: torch.optim.SGD(groups, lr=0.0, fused=True),
        schedule=schedule,
        epochs=3,
        pictures=["picture"] * 8,
        clip_grad=clip_grad,
    )
    trainer = Trainer(
        stage,
        model,
        Processes(rank, 1, CPU),
        Precision(precision, CPU),
        gather=Alone(),
        settings=TrainingSettings(seed=5, chunk=8),
        first_step=first_step,
    )
    if precision == "fp16":  # the usual 2^16 overflows here
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    return trainer


def weights(trainer: Trainer) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in trainer.model.linear.parameters()]


def length_of_step(trainer: Trainer) -> float:
    """The length of a step in the weights of the linear layer, over its learning rate."""
    before = weights(trainer)
    trainer.step(BATCH, 0)
    moves = [(a - b).flatten() for a, b in zip(weights(trainer), before, strict=True)]
    return torch.cat(moves).norm().item() / (2 * LR)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gradients_are_no_longer_than_clip_grad(precision):
    """All of them together; and as they are where they are shorter than that."""
    trainer = make_trainer(precision=precision)
    trainer.backward(BATCH, 0)
    scale = trainer.scaler.get_scale()
    own = torch.cat([p.grad.flatten() / scale for p in trainer.model.linear.parameters()]).norm()
    whole = torch.cat([own[None], trainer.model.bounded.grad[None] / scale]).norm()
    assert 1 < own < 0.99 * whole
    share = (own / whole).item()
    assert length_of_step(make_trainer(0.25, precision=precision)) == pytest.approx(
        0.25 * share, rel=0.01
    )
    for clip_grad in (None, 2 * whole.item()):
        found = length_of_step(make_trainer(clip_grad, precision=precision))
        assert found == pytest.approx(own.item(), rel=0.01)


def test_each_process_draws_dropout_masks_of_its_own():
    """And of its own in every step and every part: those of a part are of its number in the global
    batch.
    """

    def masks(rank: int, parts: int, index: int = 0, step: int = 0) -> Tensor:
        ones = replace(BATCH, image_features=torch.ones(8, 6))
        trainer = make_trainer(p=0.5, rank=rank)
        with torch.no_grad():
            trainer.model.linear.weight.copy_(torch.eye(6))
            trainer.model.linear.bias.zero_()
            trainer._seed(step, index, parts)
        return trainer._encode(trainer.parted, ones).image_features

    of_ranks = [masks(rank, 1) for rank in range(4)]
    assert len({tuple(mask.flatten().tolist()) for mask in of_ranks}) == 4
    assert torch.equal(masks(0, 1), of_ranks[0])
    assert not torch.equal(masks(0, 1, step=1), of_ranks[0])
    in_parts = [masks(rank, 2, index) for rank in (0, 1) for index in (0, 1)]
    assert all(map(torch.equal, in_parts, of_ranks))


def test_a_step_ends_within_the_bounds_of_the_parameters():
    trainer = make_trainer(schedule=lambda step: 1e-6)  # too slow to reach the bound by itself
    trainer.step(BATCH, 0)
    assert trainer.model.bounded.item() == 1


def test_the_log_scale_of_clip_ends_at_100():
    vision = VisionShape(8, 1, 1, patch_size=4, stride=4, image_size=(4, 4))
    model = TBPSCLIP(CLIP(vision, TextShape(8, 1, 1, context_length=4, vocab_size=9), embed_dim=4))
    for before, after in ((9.0, math.log(100)), (4.6, 4.6), (-3.0, -3.0)):
        with torch.no_grad():
            model.clip.logit_scale.fill_(before)
        model.constrain()
        assert model.clip.logit_scale.item() == pytest.approx(after)


def test_steps_and_epochs_are_counted_from_the_beginning_of_the_stage():
    asked = []

    def schedule(step: int) -> float:
        asked.append(step)
        return 0.125

    trainer = make_trainer(first_step=10, schedule=schedule)
    losses, lr, _ = trainer.step(BATCH, 16)
    assert (asked, lr) == ([6], 0.125)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.25, 0.125]
    assert losses["progress"].item() == 6 / 4  # of four batches
    assert losses["loss"].item() == pytest.approx(10 * losses["square"].item())


def test_gradients_of_a_step_do_not_stay_for_the_next():
    twice = make_trainer()
    twice.step(BATCH, 0)
    assert all(parameter.grad is None for parameter in twice.model.parameters())
