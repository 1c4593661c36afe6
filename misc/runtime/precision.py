"""The number format of the forward pass; the weights stay float32."""

from contextlib import AbstractContextManager

import torch

from errors import InputError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """The number format of a device's forward passes.

    Args:
        name: `fp32`, `bf16`, `fp16`, or `auto`: bf16 on a GPU that has it, fp16 on an older one,
            fp32 on a CPU.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "auto":
            name = "fp32" if device.type == "cpu" else "bf16" if _has_bf16(device) else "fp16"
        if name == "bf16" and device.type == "cuda" and not _has_bf16(device):
            raise InputError(
                "experiment.precision=bf16 is not supported by this GPU; use fp16 or fp32"
            )
        # torch's default rounds the inputs of convolutions to TF32 on a GPU: 10 bits of 23.
        torch.backends.cudnn.allow_tf32 = name != "fp32"
        self.name, self.device_type = name, device.type

    def autocast(self) -> AbstractContextManager[None]:
        """A context in which operations run in this format where that is safe."""
        return torch.autocast(self.device_type, DTYPES[self.name], enabled=self.name != "fp32")

    def scaler(self) -> torch.amp.GradScaler:
        """A loss scaler against the underflow of fp16 gradients; inactive in other formats."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "fp16")


def _has_bf16(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)
