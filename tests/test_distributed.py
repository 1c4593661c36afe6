"""Two processes do what one does: gathered losses, gradients, whole training steps, evaluation."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from errors import InputError
from misc.build import build_data, build_retrieval, build_stages
from misc.distributed import AllGather, Processes, processes
from misc.precision import Precision
from misc.seeding import Purpose, seed_torch
from misc.trainer import Trainer
from model.build import build_criterion, build_model, build_tokenizer
from model.criterion import Alone
from model.objectives import Pairs, n_itc, r_itc
from tests.ranks import run_ranks

GOLDEN = Path(__file__).parent / "golden" / "tbps_allgather2.npz"


def test_one_process_needs_no_group():
    with processes("cpu") as own:
        assert (own.rank, own.world_size, own.is_main) == (0, 1, True)
        assert own.share({"a": 1}) == {"a": 1}
        assert own.mean(torch.tensor(3.0)) == 3.0
        assert own.collect(torch.ones(2, 1))[0].shape == (2, 1)


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="--device gpu: no such device"), processes("gpu"):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPUs")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="shows 0 GPUs"), processes("cuda:3"):
        pass


def exchange(own: Processes) -> tuple:
    rows = torch.full((own.rank + 1, 2), float(own.rank))
    return own.mean(torch.tensor(float(own.rank))), own.collect(rows), own.share(own.rank)


def test_exchanges(tmp_path):
    for mean, parts, shared in run_ranks(exchange, 2, tmp_path):
        assert mean == 0.5
        assert [part.tolist() for part in parts] == [[[0, 0]], [[1, 1], [1, 1]]]
        assert shared == 0


def golden_losses(own: Processes) -> dict[str, tuple[Tensor, dict[str, Tensor]]]:
    """Each loss of the published two-rank case, and its gradients."""
    data, gather = np.load(GOLDEN), AllGather()
    results = {}
    for name in ("nitc", "nitc_mvs", "ritc"):
        raw = {
            key: torch.tensor(data[f"c0/{key}"][own.rank]).double().requires_grad_()
            for key in ("img", "img1", "txt")
        }
        raw["logit_scale"] = torch.tensor(math.log(1 / 0.07)).double().requires_grad_()
        ids, alpha = torch.tensor(data["c0/ids"][own.rank]), float(data["c0/alpha"])
        image, second, text = (F.normalize(raw[key], dim=1) for key in ("img", "img1", "txt"))
        scale = raw["logit_scale"].exp()
        views = [image, second] if name == "nitc_mvs" else [image]
        every = [Pairs(gather(view), gather(text), gather(ids)) for view in views]
        if name == "ritc":
            loss = r_itc(image, text, ids, scale, gathered=every[0])
        else:
            losses = [
                n_itc(view, text, ids, scale, alpha, gathered=columns)
                for view, columns in zip(views, every, strict=True)
            ]
            loss = torch.stack(losses).mean()
        loss.backward()
        results[name] = loss.detach(), {k: v.grad for k, v in raw.items() if v.grad is not None}
    return results


def test_gathered_losses_are_the_published_ones(tmp_path):
    data = np.load(GOLDEN)
    for rank, results in enumerate(run_ranks(golden_losses, 2, tmp_path)):
        for name, (loss, gradients) in results.items():
            assert loss.item() == pytest.approx(float(data[f"c0/{name}_loss_rank{rank}"]), rel=1e-6)
            for key, gradient in gradients.items():
                expected = torch.tensor(data[f"c0/{name}_grad_{key}_rank{rank}"])
                torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


def train_two_steps(own: Processes, config) -> tuple[list, list, dict]:
    """Losses, gradients and weights of two steps on this process's part of the global batches."""
    tokenizer = build_tokenizer(config)
    seed_torch(config.misc.seed, Purpose.INITIALISATION)
    model = build_model(config)
    data = build_data(config)
    (stage,) = build_stages(config, data, tokenizer, model, build_criterion(config), own)
    gather = AllGather() if own.world_size > 1 else Alone()
    precision = Precision("fp32", own.device)
    trainer = Trainer(stage, model, own, gather, precision)
    gradients: list[dict[str, Tensor]] = []

    def remember(*_: object) -> None:
        gradients.append(
            {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
        )

    trainer.optimizer.register_step_pre_hook(remember)
    losses = []
    for step, batch in zip(range(2), stage.loader, strict=False):
        own_losses, _ = trainer.step(batch, step)
        losses.append({name: own.mean(loss) for name, loss in own_losses.items()})
    results = build_retrieval(config, data, "val", tokenizer).evaluate(model, own, precision)
    return losses, gradients, results


@pytest.mark.parametrize("mvs", ["true", "false"])
def test_two_processes_train_and_evaluate_as_one(tmp_path, small_config, mvs):
    changes = ("experiment.dropout=0", f"experiment.mvs_image={mvs}")
    pair = small_config(*changes, "data.batch_size=4")
    (losses, gradients, results), second = run_ranks(train_two_steps, 2, tmp_path, pair)
    with processes("cpu") as own:
        expected = train_two_steps(own, small_config(*changes, "data.batch_size=8"))
    assert second[0] == losses
    for step in range(2):
        for name, gradient in gradients[step].items():
            assert torch.equal(gradient, second[1][step][name]), f"{name} differs over ranks"
            # Adam's first step is nearly a sign: rounding grows there, so step 1 is held looser.
            tolerance = {"rtol": 1e-4, "atol": (1e-6, 1e-5)[step]}
            torch.testing.assert_close(gradient, expected[1][step][name], **tolerance)
        for name, loss in losses[step].items():
            assert loss.item() == pytest.approx(expected[0][step][name].item(), rel=1e-6)
    assert "clip.logit_scale" in gradients[0]
    assert results == second[2] == expected[2]
