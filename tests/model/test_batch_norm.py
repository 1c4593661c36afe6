"""Batch normalisation: torch's in one process, and the same over the batch of two."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from misc.runtime.distributed import AllGather, Processes, processes
from model.batch_norm import BatchNorm, share_statistics
from model.gather import Alone
from model.heads import BNNeck
from model.resnet import ModifiedResNet, ResNetShape
from tests.ranks import run_ranks

CHANNELS = 5
SHAPES = {"features": (8, CHANNELS), "maps": (8, CHANNELS, 3, 2)}


def draw(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """float64, rows and channels of unlike means and deviations."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.arange(float(shape[0])).view(-1, *[1] * (len(shape) - 1))
    channels = torch.arange(1.0, 1 + CHANNELS).view(-1, *[1] * (len(shape) - 2))
    return channels * torch.randn(shape, generator=rng, dtype=torch.float64) + rows * channels


def norm_with(norm: nn.Module) -> nn.Module:
    """The norm with an affine map and running statistics that are not the first ones."""
    numbers = torch.arange(1.0, 1 + CHANNELS)
    values = {"weight": numbers, "bias": -numbers, "running_mean": numbers, "running_var": numbers}
    norm.load_state_dict({**values, "num_batches_tracked": torch.tensor(7)})
    return norm


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_one_process_has_torchs(shape):
    theirs = nn.BatchNorm1d(CHANNELS) if len(shape) == 2 else nn.BatchNorm2d(CHANNELS)
    ours, theirs = norm_with(BatchNorm(CHANNELS)), norm_with(theirs)
    assert repr(ours) == repr(theirs).replace("1d", "").replace("2d", "")
    for mode in (True, False):
        x = draw(shape).float()
        assert torch.equal(ours.train(mode)(x), theirs.train(mode)(x))
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())


def step(own: Processes, shape: tuple[int, ...], dtype: torch.dtype) -> dict[str, Tensor]:
    """Two forwards and a backward on this process's rows, by the mean of the processes' losses."""
    norm = norm_with(BatchNorm(CHANNELS)).to(dtype)
    share_statistics(norm, AllGather() if own.world_size > 1 else Alone())
    rows = slice(own.rank * 8 // own.world_size, (own.rank + 1) * 8 // own.world_size)
    x = draw(shape).to(dtype)[rows].requires_grad_()
    out = norm(x)
    loss = (out.square() * draw(shape, 1).to(dtype)[rows]).mean()
    loss.backward()
    norm(2 * x.detach() + 1)
    every = {"output": out.detach(), "input gradient": x.grad / own.world_size}
    results = {name: torch.cat(own.collect(rows)) for name, rows in every.items()}
    results |= {f"gradient of {n}": own.mean(p.grad) for n, p in norm.named_parameters()}
    return results | dict(norm.named_buffers())


EXACTNESS = {torch.float32: 1e-6, torch.float64: 1e-14}


@pytest.mark.parametrize("dtype", EXACTNESS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_two_processes_have_the_norm_of_one(tmp_path, shape, dtype):
    with processes("cpu") as own:
        alone = step(own, shape, dtype)
    assert alone["num_batches_tracked"] == 9
    for results in run_ranks(step, 2, tmp_path, shape, dtype):
        assert results.keys() == alone.keys()
        for name, expected in alone.items():
            assert results[name].dtype == expected.dtype
            scale = expected.abs().max().item()
            torch.testing.assert_close(
                results[name], expected, rtol=0, atol=EXACTNESS[dtype] * scale, msg=name
            )


class Twin:
    """The gather of two processes with the same rows."""

    rank = 0

    def __call__(self, rows: Tensor) -> Tensor:
        return torch.cat([rows, rows])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    """The statistics are exact: the mean of many values is not lost in sums of half precision."""
    x = (draw((4, CHANNELS, 64, 64)) + 100).to(dtype)
    norms = norm_with(BatchNorm(CHANNELS)), norm_with(nn.BatchNorm2d(CHANNELS))
    share_statistics(norms[0], Twin())
    with torch.autocast("cpu", dtype=dtype):
        ours, theirs = (norm(x) for norm in norms)
    assert ours.dtype == theirs.dtype == dtype
    exact = norm_with(nn.BatchNorm2d(CHANNELS)).double()
    expected = exact(x.double())
    close = torch.finfo(dtype).eps * expected.abs().max().item()
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=close)
    assert norms[0].running_var.dtype == torch.float32
    torch.testing.assert_close(norms[0].running_mean.double(), exact.running_mean)


def test_evaluation_asks_no_other_process():
    def refuse(rows: Tensor) -> Tensor:
        raise AssertionError

    norm = norm_with(BatchNorm(CHANNELS)).eval()
    share_statistics(norm, refuse)
    x = draw((8, CHANNELS)).float()
    assert torch.equal(norm(x), norm_with(nn.BatchNorm1d(CHANNELS)).eval()(x))


def test_every_norm_of_a_model_shares():
    model = nn.ModuleList(
        [ModifiedResNet(ResNetShape(8, (1, 2, 1, 1), 4, (32, 32)), 16), BNNeck(4)]
    )
    gather = Twin()
    share_statistics(model, gather)
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    assert len(norms) == 3 + 5 * 3 + 4 + 1
    assert all(norm.gather is gather for norm in norms)


def test_other_shapes_are_a_programmers_mistake():
    for gather in (Alone(), Twin()):
        norm = BatchNorm(CHANNELS)
        share_statistics(norm, gather)
        with pytest.raises(ValueError, match=r"got \(2, 5, 3\)"):
            norm(torch.zeros(2, CHANNELS, 3))
