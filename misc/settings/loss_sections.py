"""Switches and weights of the losses."""

from typing import Self

from pydantic import model_validator

from misc.settings.base import NonNegative, Section


def switches(losses: type[Section]) -> list[str]:
    """The names of the losses that a class has switches for."""
    return [name for name in losses.model_fields if not name.endswith("_ratio")]


def switched_on(section: Section, losses: type[Section]) -> dict[str, float]:
    """The weight of each loss that is switched on in a section."""
    names = [name for name in switches(losses) if getattr(section, name)]
    return {name: getattr(section, f"{name}_ratio") for name in names}


# Losses that experiment.division weights, and those of every embedding that the model has.
WEIGHTED = ("nitc", "ritc", "citc", "itc", "sdm", "cmpm", "tal", "trl", "sigmoid")
OF_EMBEDDINGS = ("itc", "sdm", "tal", "trl")


class TextLossSwitches(Section):
    """Switch and weight of each loss between images and captions, and nothing else."""

    nitc: bool
    nitc_ratio: NonNegative
    ritc: bool
    ritc_ratio: NonNegative
    citc: bool
    citc_ratio: NonNegative
    ss: bool
    ss_ratio: NonNegative
    id: bool
    id_ratio: NonNegative
    mlm: bool
    mlm_ratio: NonNegative
    itc: bool
    itc_ratio: NonNegative
    sdm: bool
    sdm_ratio: NonNegative
    cmpm: bool
    cmpm_ratio: NonNegative
    tal: bool = False  # absent from older runs' config.yaml, as are those that follow
    tal_ratio: NonNegative = 1.0
    trl: bool = False
    trl_ratio: NonNegative = 1.0
    sigmoid: bool = False
    sigmoid_ratio: NonNegative = 1.0

    def loss_weights(self) -> dict[str, float]:
        """The weight of each loss that is switched on."""
        return switched_on(self, TextLossSwitches)

    @model_validator(mode="after")
    def _train_something(self) -> Self:
        if not any(self.loss_weights().values()):
            raise ValueError("no loss is left to train, set nitc, ritc or another one to true")
        return self


class ReIDLossSwitches(Section):
    """Switch and weight of each loss of image re-identification, and nothing else."""

    id: bool
    id_ratio: NonNegative
    triplet: bool
    triplet_ratio: NonNegative
    i2t: bool
    i2t_ratio: NonNegative

    def loss_weights(self) -> dict[str, float]:
        """The weight of each loss that is switched on."""
        return switched_on(self, ReIDLossSwitches)

    @model_validator(mode="after")
    def _train_something(self) -> Self:
        if not any(self.loss_weights().values()):
            raise ValueError("no loss is left to train, set id, triplet or i2t to true")
        return self
