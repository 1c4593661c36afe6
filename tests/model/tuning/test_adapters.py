import pytest
import torch

from model.tuning.adapters import Adapter


def test_an_adapter_by_hand():
    torch.manual_seed(0)
    adapter = Adapter(16, reduction=4, scale=0.5)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, 16)
    centred = x - x.mean(dim=2, keepdim=True)
    normal = centred / (centred.square().mean(dim=2, keepdim=True) + 1e-5).sqrt()
    normal = normal * adapter.ln_3.weight + adapter.ln_3.bias
    hidden = (normal @ adapter.down.weight.T + adapter.down.bias).clamp(min=0)
    assert hidden.shape == (2, 3, 4)
    expected = 0.5 * (hidden @ adapter.up.weight.T + adapter.up.bias)
    torch.testing.assert_close(adapter(x), expected)


def test_its_layers_start_small():
    torch.manual_seed(0)
    adapter = Adapter(512)
    for linear in (adapter.down, adapter.up):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert not linear.bias.any()
