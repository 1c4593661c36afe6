"""Pretrained weights that are evaluated without training."""

from pathlib import Path

from errors import InputError
from misc.runtime.checkpoint import Checkpoint
from misc.settings.sections import Config
from misc.tasks.starting_weights import tower_options
from misc.tasks.text.model import describe
from model.tbps_clip import TBPSCLIP


def pretrained_checkpoint(config: Config, folder: Path, recipe: str) -> Checkpoint:
    """The weights of a folder of transformers or open_clip, as the checkpoint of no training.

    Args:
        recipe: the name of the configuration.

    Raises:
        InputError: they do not fit the configuration, or it is of the other task.
    """
    if config.task != "text_to_image":
        raise InputError(
            f"{folder} has two towers, and {config.task} is evaluated with checkpoints alone: give "
            "a checkpoint, or a configuration of task text_to_image"
        )
    model = TBPSCLIP(config.model.kind.loader().load(str(folder), tower_options(config)))
    return Checkpoint(folder, model.state_dict(), describe(config, model), recipe)
