"""A trained checkpoint for other programs: in the names of published code, for transformers and
open_clip, as ONNX, as programs of torch.export, as an adapter of peft.

python -m misc.export runs/config-20240101-120000 tbps_clip.pth
python -m misc.export runs/config-20240101-120000 person-search-onnx --format onnx
"""

from misc.export.command import main
from misc.export.published import write_published

__all__ = ["main", "write_published"]
