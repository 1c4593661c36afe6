"""Comparison of a source's tensors with those that a model expects."""

from collections.abc import Collection
from pathlib import Path

from errors import InputError
from model.weights.sources import State, shorten


def check_fit(
    source: str | Path,
    state: State,
    expected: State,
    model: str = "CLIP with a ViT or a ResNet",
) -> None:
    """Compare the tensors of a source with those that `model` has under the same names.

    Raises:
        InputError: some are missing, unexpected, or of another shape or kind of number.
    """
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & state.keys()
        if state[name].shape != expected[name].shape
    ] + find_other_numbers(state, expected)
    missing, unexpected = expected.keys() - state.keys(), state.keys() - expected.keys()
    refuse_misfits(source, missing, unexpected, wrong, model)


def find_other_numbers(state: State, expected: State) -> list[str]:
    """The tensors of a source that hold whole numbers in place of others, or the reverse."""
    return [
        f"{name} {state[name].dtype} instead of {expected[name].dtype}"
        for name in expected.keys() & state.keys()
        if state[name].is_floating_point() != expected[name].is_floating_point()
    ]


def refuse_misfits(
    source: str | Path,
    missing: Collection[str],
    unexpected: Collection[str],
    wrong: Collection[str],
    model: str = "CLIP with a ViT or a ResNet",
) -> None:
    """Raise an InputError that says which tensors of a source do not fit, if any do not."""
    found = {"missing": missing, "unexpected": unexpected, "wrong shape": wrong}
    misfits = "; ".join(f"{kind} {shorten(names)}" for kind, names in found.items() if names)
    if misfits:
        raise InputError(f"{source} does not fit {model} ({misfits}): give weights that do")
