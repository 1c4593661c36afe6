"""The space of a sweep: the settings that its trials vary, over one configuration."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import TYPE_CHECKING

import options
from errors import InputError
from misc.settings.merging import Layer
from misc.sweep.settings import Range, Values
from model.trees import Tree

if TYPE_CHECKING:
    from optuna import Trial

Settings = Mapping[str, object]  # key -> value


@dataclass(frozen=True)
class Space:
    """Keys of the configuration with the values that they may take.

    Args:
        base: the `to_tree` of the configuration that they are laid over.
        keys: by their names with dots.
        source: what errors call the sweep.
    """

    base: Tree
    keys: Mapping[str, Values]
    source: str

    def configure(self, settings: Settings) -> options.Config:
        """The configuration of a trial.

        Raises:
            InputError: one line per mistake.
        """
        layers = tuple(Layer(nest(key, value), self.source) for key, value in settings.items())
        return replace(options.parse([]), overrides=layers).configure(self.base)

    def check(self) -> None:
        """Check the ends of every range and every choice, each with those of every other key.

        Raises:
            InputError: the configuration refuses one of them, or a range is not of numbers.
        """
        for settings in self._corners():
            tree = options.to_tree(self.configure(settings))
            for key, values in self.keys.items():
                if isinstance(values, Range):
                    self._check_range(key, values, value_at(tree, key))

    def _check_range(self, key: str, values: Range, example: object) -> None:
        if isinstance(example, bool) or not isinstance(example, int | float):
            raise InputError(f"{self.source}: {key} takes no number: give its choices in [ ]")
        if isinstance(example, int) and not isinstance(values.step, int | None):
            raise InputError(f"{self.source}: {key} takes whole numbers, and step is {values.step}")

    def _corners(self) -> Iterator[Settings]:
        """Settings that bring each two values of two keys together; other keys have their first."""
        ends = {
            key: (values.low, values.high) if isinstance(values, Range) else values
            for key, values in self.keys.items()
        }
        first = {key: values[0] for key, values in ends.items()}
        for pair in combinations(ends, min(2, len(ends))):
            for values in product(*(ends[key] for key in pair)):
                yield {**first, **dict(zip(pair, values, strict=True))}

    @cached_property
    def _example(self) -> Tree:
        """A configuration of the space, which tells numbers from whole numbers."""
        return options.to_tree(self.configure(next(self._corners())))

    def draw(self, trial: "Trial") -> Settings:
        """The settings of a trial, drawn unless they have been drawn before."""

        def draw(key: str, values: Values) -> object:
            if not isinstance(values, Range):
                text = trial.suggest_categorical(key, [json.dumps(value) for value in values])
                return json.loads(text)
            low, high, step = values.low, values.high, values.step
            if isinstance(value_at(self._example, key), float):
                return trial.suggest_float(key, low, high, step=step, log=values.log)
            return trial.suggest_int(key, int(low), int(high), step=int(step or 1), log=values.log)

        return {key: draw(key, values) for key, values in self.keys.items()}


def nest(key: str, value: object) -> Tree:
    """A value below the sections that its key names: `a.b` -> `{a: {b: value}}`."""
    *sections, name = key.split(".")
    tree: Tree = {name: value}
    for section in reversed(sections):
        tree = {section: tree}
    return tree


def value_at(tree: Tree, key: str) -> object:
    """The value of a key; entries of lists (`stages`) have their names."""
    value: object = tree
    for part in key.split("."):
        if isinstance(value, list):
            value = next(entry for entry in value if entry["name"] == part)
        else:
            assert isinstance(value, dict)
            value = value[part]
    return value


def to_words(settings: Settings) -> list[str]:
    """The settings as a command line has them, `key=value`."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
