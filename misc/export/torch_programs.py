"""A model as programs of torch.export, which PyTorch runs without this project's code."""

from pathlib import Path

import torch

from misc.export.messages import quiet
from misc.export.programs_folder import write_description
from misc.export.towers import build_towers, check_features, trace
from misc.export.trained_model import TrainedModel


def write_torch(trained: TrainedModel, folder: Path) -> None:
    """Write `image.pt2`, and `text.pt2` if there is a text tower, with their descriptions.

    Raises:
        InputError: torch.export cannot follow a tower, or its features differ.
    """
    towers = build_towers(trained)
    for tower in towers:
        file = folder / f"{tower.name}.pt2"
        torch.export.save(trace(tower), file)
        with quiet():
            module = torch.export.load(file).module()
        check_features(tower, module, file.name)
    write_description(trained, folder, towers[0].width)
