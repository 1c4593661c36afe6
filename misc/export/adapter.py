"""LoRA as an adapter of peft, to be put on the model of transformers that it was trained beside."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from peft import LoraConfig, PeftModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel

from errors import InputError
from misc.export.huggingface import check_model, find_hub_model, write_model
from misc.export.messages import quiet
from misc.export.preparation import public_source, write_preparation
from misc.export.trained_model import TrainedModel
from misc.tasks.encoder import build_encoder
from model.architecture import TextArchitecture
from model.backbone_loader import TowerOptions
from model.tbps_clip import TBPSCLIP
from model.tuning.lora import NAME, base_names
from model.weights.key_maps import Names, rename
from model.weights.sources import State

INSTEAD = "give --format huggingface, which merges LoRA into the weights"
PREFIX = "base_model.model."  # of all names in an adapter's file


def write_adapter(trained: TrainedModel, folder: Path) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        InputError: no LoRA was trained, transformers has no such model, or its base is not the one
            that the LoRA was trained beside.
    """
    architecture = trained.two_towers("transformers", "give --format onnx or torch")
    if architecture.tuning.lora is None:
        raise InputError(
            f"{trained.file} was not tuned by lora, and peft's adapters hold that alone: give "
            "--format huggingface"
        )
    hub = find_hub_model(trained, architecture)
    _check_base(trained, architecture)
    tuned = build_encoder(trained.config, trained.checkpoint).model  # LoRA is not merged
    assert isinstance(tuned, TBPSCLIP)
    state = tuned.clip.state_dict()
    names = _write_matrices(state, hub.names, folder / "adapter_model.safetensors")
    lora = architecture.tuning.lora
    LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # it divides it by the rank
        lora_dropout=lora.dropout,
        target_modules=names,
        base_model_name_or_path=public_source(str(trained.config.model.source)).removeprefix("hf:"),
        inference_mode=True,
    ).save_pretrained(str(folder))
    write_preparation(trained, folder)
    with TemporaryDirectory() as base:
        write_model(hub, architecture, base_names(state), Path(base))
        with quiet():
            own = AutoModel.from_pretrained(base, trust_remote_code=False)
            model = PeftModel.from_pretrained(own, str(folder), trust_remote_code=False)
    check_model(trained, model.eval(), hub.title)


def _check_base(trained: TrainedModel, architecture: TextArchitecture) -> None:
    """Check that the frozen weights are a source's as it is: positions of another size are ours.

    Raises:
        InputError: the training started from others.
    """
    config, file = trained.config, trained.file
    if config.model.source is None or config.model.init_from is not None:
        raise InputError(
            f"{file} was tuned from random weights or a checkpoint, which is no model of "
            f"transformers: {INSTEAD}"
        )
    loader = config.model.kind.loader()
    options = TowerOptions(cache_dir=config.model.tokenizer_cache_dir)
    own = loader.load(config.model.source, options)
    held = (architecture.vision.grid, architecture.text.context_length)
    if held != (own.visual.shape.grid, own.text.shape.context_length):
        raise InputError(
            f"{file} was tuned at another image size or caption length than {config.model.source} "
            f"has, and an adapter leaves its position embeddings as they are: {INSTEAD}"
        )


def _write_matrices(state: State, names: Names, file: Path) -> list[str]:
    """Write the matrices of LoRA in transformers' names; the names of the layers.

    Args:
        names: (ours, theirs).
    """
    matrices: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".lora_" in name:
            theirs = rename(name, names).replace(f".{NAME}.", ".")
            matrices[PREFIX + theirs] = tensor.contiguous()
    save_file(matrices, file, metadata={"format": "pt"})
    layers = {re.sub(r"\.lora_\w+\.weight$", "", name) for name in matrices}
    return sorted(layer.removeprefix(PREFIX) for layer in layers)
