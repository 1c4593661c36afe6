"""The weights of a tuned model: those that were trained, and the hash of the frozen ones."""

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor, nn

from errors import InputError
from model.tuning.lora import base_names
from model.weights.hash import hash_weights
from model.weights.sources import State, shorten

# Fitted to a run when they are loaded: kept with the trained weights, since a position embedding is
# not interpolated to the same bits everywhere.
ADJUSTED = (
    "clip.logit_scale",
    "clip.visual.positional_embedding",
    "clip.text.positional_embedding",
)


def trained_state(state: Mapping[str, Tensor], frozen: Collection[str]) -> State:
    """The weights that a checkpoint holds: all but the frozen ones that are not `ADJUSTED`."""
    omitted = set(frozen) - set(ADJUSTED)
    return {name: tensor for name, tensor in state.items() if name not in omitted}


def frozen_hash(state: Mapping[str, Tensor], frozen: Collection[str]) -> str:
    """`hash_weights` of the weights that `trained_state` leaves out, named as without LoRA."""
    omitted = set(frozen) - set(ADJUSTED)
    return hash_weights(base_names({name: state[name] for name in omitted}))


def load_trained(
    model: nn.Module,
    trained: Mapping[str, Tensor],
    frozen: Collection[str],
    expected_hash: str,
    file: Path,
) -> None:
    """Load the weights of `trained_state` into a model that has the frozen ones.

    Args:
        expected_hash: `frozen_hash` of the model that was trained.
        file: that holds it.

    Raises:
        InputError: the frozen weights are others, or the trained ones do not fit.
    """
    state = model.state_dict()
    if frozen_hash(state, frozen) != expected_hash:
        raise InputError(
            f"{file} was trained on different frozen weights than model.clip_pretrained, "
            "model.altclip_pretrained or model.init_from: give the ones of its training"
        )
    expected = trained_state(state, frozen)
    wrong = (expected.keys() ^ trained.keys()) | {
        name
        for name in expected.keys() & trained.keys()
        if expected[name].shape != trained[name].shape
    }
    if wrong:
        raise InputError(
            f"{file} is of a model that is tuned in another way ({shorten(wrong)}): give the "
            "prompts, adapters, lora and losses of its training"
        )
    model.load_state_dict({**state, **trained})
