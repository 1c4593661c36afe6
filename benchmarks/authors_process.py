"""Training steps of TBPS-CLIP's own code, one for each line of the standard input.

python authors_process.py CONFIG BATCH

Runs in the folder of its repository, https://github.com/Flame-Chasers/TBPS-CLIP, and alone, since
its packages are named as this project's. Weights are random and pictures noise; easydict and NLTK,
whose lists of words no step reads, need not be there. A line is printed when the model is ready,
and one after each step.
"""

import importlib
import os
import sys
import types
from collections.abc import Mapping

import torch
import torch.distributed as dist
import yaml

CAPTION = "A woman in a red coat and black trousers is carrying a white bag over the left shoulder."


class Settings(dict[str, object]):
    """Nested settings whose keys are attributes, in place of easydict's, which may be absent."""

    def __init__(self, tree: Mapping[str, object]) -> None:
        super().__init__(
            (key, Settings(value) if isinstance(value, dict) else value)
            for key, value in tree.items()
        )

    def __getattr__(self, name: str) -> object:
        return self[name]


def stand_in(name: str, **content: object) -> None:
    """Let a module of this content be imported by a name."""
    for part in {name.partition(".")[0], name}:
        sys.modules[part] = types.ModuleType(part)
    vars(sys.modules[name]).update(content)


def main(file: str, size: int) -> None:
    """Take a step for each line that is read."""
    sys.path.insert(0, os.getcwd())
    stand_in("easydict", EasyDict=Settings)
    stand_in("nltk.corpus", wordnet=None, stopwords=types.SimpleNamespace(words=lambda _: []))
    with open(file, encoding="utf-8") as stream:
        config = Settings({**yaml.safe_load(stream), "device": "cpu"})
    os.environ.update(RANK="0", WORLD_SIZE="1")  # its code always gathers
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    torch.manual_seed(0)
    model = importlib.import_module("model.tbps_model").clip_vitb(config).train()
    optimizer = importlib.import_module("misc.build").build_optimizer(config, model)
    resolution = yaml.safe_load(str(config["experiment"]["input_resolution"]))  # type: ignore[index]
    names = ("image", "aug1", "aug_ss_1", "aug_ss_2")
    pictures = {name: torch.randn(size, 3, *resolution) for name in names}
    ids = torch.arange(size)
    print(flush=True)
    for _ in sys.stdin:
        captions = {"caption": [CAPTION] * size, "caption_bt": [CAPTION] * size}
        losses = model({**pictures, **captions, "id": ids}, 0.5)
        sum(value for name, value in losses.items() if "loss" in name).backward()
        optimizer.step()
        optimizer.zero_grad()
        print(flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
