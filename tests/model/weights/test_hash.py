import torch
from torch import nn

from model.weights.hash import hash_weights


def test_the_hash_is_of_the_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))  # whose counter is an int64 scalar
    state = model.state_dict()
    first = hash_weights(state)
    assert first == hash_weights(dict(reversed(state.items())))
    assert first == hash_weights({name: value.clone() for name, value in state.items()})
    assert first != hash_weights({**state, "0.weight": state["0.weight"].half()})
    assert first != hash_weights({**state, "0.bias": state["0.bias"].nextafter(torch.ones(3))})
    assert first != hash_weights({f"m.{name}": value for name, value in state.items()})
