"""Number formats: fp32 is exact on a GPU, and bf16 trains on a CPU."""

import pytest
import torch

from misc.runtime.precision import Precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_only_half_precision_lets_convolutions_round(monkeypatch, name):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", name == "fp32")
    Precision(name, CPU)
    assert torch.backends.cudnn.allow_tf32 is (name != "fp32")
    assert not torch.backends.cuda.matmul.allow_tf32


def test_bf16_on_a_cpu_computes_products_in_it_and_keeps_the_weights():
    layer = torch.nn.Linear(4, 4)
    with Precision("bf16", CPU).autocast():
        output = layer(torch.ones(2, 4))
    output.sum().backward()
    assert output.dtype == torch.bfloat16
    assert layer.weight.dtype == layer.weight.grad.dtype == torch.float32
