"""The trained model that is exported, and the facts that all formats need of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

import options
from errors import InputError
from misc.runtime.checkpoint import BEST, LAST, Checkpoint, open_checkpoint
from misc.settings.sections import Config
from misc.tasks.encoder import Encoder, build_encoder
from model.architecture import JointArchitecture, ReIDArchitecture, TextArchitecture
from model.clip import DualEncoder
from model.joint_clip import REID
from model.tbps_clip import TBPSCLIP
from model.tuning.lora import merge_lora
from model.weights.published.text_towers import HEADS


@dataclass(frozen=True)
class TrainedModel:
    """A checkpoint with the configuration of its training."""

    checkpoint: Checkpoint
    config: Config

    @classmethod
    def open(cls, path: Path, words: Sequence[str] = ()) -> "TrainedModel":
        """The model of a checkpoint, or of a run's best one.

        Args:
            words: settings over those of a run that was tuned, if its frozen weights lie elsewhere
                now.

        Raises:
            InputError: it cannot be read, or is not of this project.
        """
        checkpoint = open_checkpoint(path, BEST, LAST, ours_only=True)
        return cls(checkpoint, options.parse(words).configure(checkpoint.config))

    @property
    def file(self) -> Path:
        """The checkpoint's file."""
        return self.checkpoint.file

    @property
    def is_reid(self) -> bool:
        """Whether it compares pictures alone."""
        return isinstance(self.checkpoint.architecture, ReIDArchitecture)

    @cached_property
    def encoder(self) -> Encoder:
        """The model as it is used, on the CPU; LoRA is merged into the weights.

        Raises:
            InputError: the checkpoint does not fit the configuration.
        """
        encoder = build_encoder(self.config, self.checkpoint)
        if isinstance(encoder.model, TBPSCLIP):
            merge_lora(encoder.model.clip)
        return encoder

    def for_sentences(self) -> "TrainedModel":
        """The model, of both tasks without what only compares pictures with one another."""
        held = self.checkpoint.architecture
        if not isinstance(held, JointArchitecture):
            return self
        left_out = (REID, "clip.visual.second_class")
        state = {k: v for k, v in self.checkpoint.state.items() if not k.startswith(left_out)}
        return TrainedModel(
            replace(self.checkpoint, architecture=held.for_sentences(), state=state),
            self.config.model_copy(update={"task": "text_to_image"}),
        )

    @property
    def clip(self) -> DualEncoder:
        """The two towers, in evaluation mode."""
        assert isinstance(self.encoder.model, TBPSCLIP)
        return self.encoder.model.clip

    def two_towers(self, program: str, instead: str) -> TextArchitecture:
        """The architecture of two towers and nothing beside them, LoRA being merged.

        Args:
            program: that knows no others.
            instead: an advice, for the error.

        Raises:
            InputError: there is one tower, a second embedding, or prompts, adapters or registered
                ways of tuning.
        """
        held = self.checkpoint.architecture
        if not isinstance(held, TextArchitecture):
            raise InputError(
                f"{self.file} is a re-identification model, of one tower, which {program} has no "
                f"class for: {instead}"
            )
        parts = [name for name in held.tuning.names if name != "lora"]
        if held.selection is not None:
            parts.append("a second embedding")
        if parts:
            raise InputError(
                f"{self.file} has {', '.join(sorted(parts))}, which {program} does not know: "
                f"{instead}"
            )
        return held

    def whole_state(self) -> Mapping[str, Tensor]:
        """All weights, those of the heads that only losses read among them; LoRA is merged."""
        held = self.checkpoint
        if held.frozen_hash is None:
            return held.state
        heads = {k: v for k, v in held.state.items() if k.startswith(HEADS)}
        return {**self.encoder.model.state_dict(), **heads}
