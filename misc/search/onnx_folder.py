"""A model exported as ONNX, run by onnxruntime in place of a checkpoint."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import options
from errors import InputError
from misc.search.exported import Exported
from misc.settings.sections import Config
from misc.tasks.encoder import Encoder, build_sentences, build_transform

IMAGE, TEXT = "image.onnx", "text.onnx"


class OnnxTowers(nn.Module):
    """The towers of a folder.

    Args:
        exported: the folder's description.

    Raises:
        InputError: onnxruntime is not installed, or cannot read a file.
    """

    def __init__(self, folder: Path, exported: Exported) -> None:
        super().__init__()
        self.exported = exported
        self.image = _open_session(folder / IMAGE)
        self.text = _open_session(folder / TEXT) if exported.text else None

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, 3, rows, columns) -> features (B, W), float32, on the same device."""
        return _run(self.image, images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(B, L), L up to the length of the text tower -> features (B, D), likewise."""
        assert self.text is not None
        assert self.exported.text is not None
        own = self.exported.text
        return _run(self.text, F.pad(tokens, (0, own.length - tokens.shape[1]), value=own.pad_id))


# onnxruntime is untyped.
def _run(session: Any, inputs: Tensor) -> Tensor:
    (name,) = (each.name for each in session.get_inputs())
    (features,) = session.run(None, {name: inputs.cpu().numpy()})
    return torch.from_numpy(features).to(inputs.device)


def _open_session(file: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            f"{file} is run by onnxruntime, which is not installed: pip install onnxruntime"
        ) from None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(
            str(file), settings, providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # its errors have no common type but this
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file} cannot be read ({reason}): export the model again") from error


class OpenedFolder(NamedTuple):
    """An exported model, ready to encode: its file, the configuration of its training, itself."""

    file: Path
    config: Config
    encoder: Encoder


def find_onnx_folder(path: Path) -> Path | None:
    """The folder of an exported model, from its path or that of its `image.onnx`, else None."""
    folder = path.parent if path.name == IMAGE else path
    return folder if (folder / IMAGE).is_file() else None


def open_onnx(folder: Path, is_configured: bool = False) -> OpenedFolder:
    """Open an exported model.

    Args:
        is_configured: whether another configuration is given in place of its own.

    Raises:
        InputError: one is given, or a file of the folder is missing or damaged.
    """
    if is_configured:
        raise InputError(f"{folder} was exported with its configuration: give no other one")
    exported = Exported.read(folder)
    config = read_own_config(folder)
    towers, text = OnnxTowers(folder, exported), exported.text
    encoder = Encoder(
        towers,
        build_transform(config),
        towers.encode_image,
        build_sentences(config, towers.encode_text, text.length) if text else None,
        exported.model_hash,
        exported.preparation,
        exported.parts,
    )
    return OpenedFolder(folder / IMAGE, config, encoder)


def read_own_config(folder: Path) -> Config:
    """The configuration in a folder; tokenizer and image settings are those beside it."""
    file = folder / "config.yaml"
    config = options.parse(["--config", str(file)]).configure()
    kind = config.model.kind
    if kind.name in ("clip", "open_clip"):  # whose vocabularies are open_clip's
        return config
    own = f"model.{kind.source_key}={folder.resolve()}"
    return options.parse(["--config", str(file), own]).configure()
