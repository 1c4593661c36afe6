"""Batch normalisation over the global batch."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from model.gather import Alone, Gather


class BatchNorm(_BatchNorm):
    """BatchNorm1d and BatchNorm2d with training statistics over the batches of all processes.

    torch's SyncBatchNorm does the same, but not on a CPU. The state dict is torch's.

    `gather` brings in the other processes, each of which must have the same number of rows; with
    `Alone`, the default, the statistics are this process's own.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gather: Gather = Alone()

    @classmethod
    def of(cls, plain: _BatchNorm) -> "BatchNorm":
        """The same as one of torch's, with the same weights and statistics."""
        norm = cls(plain.num_features)
        norm.eps, norm.momentum = plain.eps, plain.momentum
        norm.load_state_dict(plain.state_dict())
        return norm

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in (2, 4):
            raise ValueError(f"expected (B, C) or (B, C, H, W), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """(B, C) or (B, C, H, W) -> the same shape and dtype."""
        if not self.training or isinstance(self.gather, Alone):
            return super().forward(input)
        self._check_input_dim(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        reduced = [dim for dim in range(x.ndim) if dim != 1]
        var, mean = torch.var_mean(x, reduced, correction=0)  # (C,), of this process
        means, variances = self.gather(torch.stack([mean, var])[None]).unbind(1)  # (world_size, C)
        mean = means.mean(0)
        var = (variances + (means - mean).square()).mean(0)
        self._update_running(mean.detach(), var.detach(), x.numel() // x.shape[1] * len(means))
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.bias - mean * scale
        channels = (-1, *[1] * (x.ndim - 2))
        return (x * scale.view(channels) + shift.view(channels)).to(input.dtype)

    def _update_running(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Update the running statistics with those of `count` values per channel."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * (count / (count - 1)), self.momentum)


def share_statistics(model: nn.Module, gather: Gather) -> None:
    """Let every `BatchNorm` of a model compute its statistics over the gathered batch."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.gather = gather
