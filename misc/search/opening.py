"""A trained model's checkpoint and configuration, from the path of either or of its run."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import options
from misc.runtime.checkpoint import BEST, LAST, Checkpoint, open_checkpoint
from misc.settings.merging import Layer
from misc.settings.recipes import RECIPES
from misc.settings.sections import Config
from misc.tasks.starting_weights import geometry
from model.architecture import Architecture, ReIDArchitecture, TextArchitecture
from model.resnet import ResNetShape
from model.trees import Tree
from model.weights.published.format import Geometry, PublishedFormat

PROJECTS = {"CSKT": "cskt.yaml", "IRRA": "irra.yaml", "RDE": "rde.yaml"}  # and their recipes


class Opened(NamedTuple):
    """A checkpoint and the configuration to load it with."""

    checkpoint: Checkpoint
    config: Config


def open_model(path: Path, recipe: Path | Tree | None = None) -> Opened:
    """Read a checkpoint, or the best one in a run's folder.

    Args:
        recipe: a file, or the `to_tree` of a configuration, in place of the one saved with the run;
            for a published checkpoint whose sizes are not its project's.

    Raises:
        InputError: as `open_checkpoint` does, or the recipe is not for the checkpoint's task.
    """
    command = options.parse(["--config", str(recipe)] if isinstance(recipe, Path) else [])
    given = recipe if isinstance(recipe, dict) else None

    def asked_geometry(_: PublishedFormat) -> Geometry:
        return Geometry() if recipe is None else geometry(command.configure(given))

    checkpoint = open_checkpoint(path, BEST, LAST, geometry=asked_geometry, any_size=recipe is None)
    if checkpoint.published and recipe is None:
        command = options.parse(["--config", str(RECIPES / _recipe_of(checkpoint))])
        sizes = Layer(_sizes(checkpoint.architecture), f"the checkpoint {checkpoint.file}")
        command = replace(command, overrides=(sizes,))
    config = command.configure(given or checkpoint.config, checkpoint.project_settings)
    return Opened(checkpoint, config)


def _recipe_of(checkpoint: Checkpoint) -> str:
    """The recipe of a published checkpoint."""
    if isinstance(checkpoint.architecture, ReIDArchitecture):
        is_resnet = isinstance(checkpoint.architecture.vision, ResNetShape)
        return "clipreid_cnn.yaml" if is_resnet else "clipreid_vit.yaml"
    return PROJECTS.get(checkpoint.recipe, "config.yaml")


def _sizes(architecture: Architecture) -> Tree:
    """The settings that a checkpoint's own architecture decides."""
    vision, text = architecture.vision, architecture.text
    experiment: Tree = {"ss": False}  # its head's sizes are not in the weights that encode
    if text is not None and not isinstance(architecture, ReIDArchitecture):
        experiment["text_length"] = text.context_length
    model: Tree = {"embed_dim": architecture.embed_dim}
    if isinstance(architecture, TextArchitecture) and architecture.selection is not None:
        model["token_selection"] = asdict(architecture.selection)
    if isinstance(vision, ResNetShape):
        model["last_stride"] = vision.last_stride
    else:
        model["stride"] = vision.stride
    return {
        "data": {"image_size": list(vision.image_size)},
        "model": model,
        "experiment": experiment,
    }
