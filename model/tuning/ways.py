"""Registry of further ways of tuning: adding one is a file with a `Way`, and an entry in `WAYS`.

Nothing heavy is imported, so that a configuration is checked without torch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from errors import InputError
from model.trees import Tree

if TYPE_CHECKING:
    from model.clip import DualEncoder

WAYS: dict[str, str] = {}  # "module:class", by the name in section `tuning`


@dataclass(frozen=True)
class Way(ABC):
    """A way of tuning a frozen backbone; the fields of a subclass are its settings."""

    def add(self, clip: "DualEncoder") -> None:  # noqa: B027  # some only unfreeze
        """Add modules to the backbone, if the way has any.

        Raises:
            InputError: the backbone has no place for them.
        """

    @abstractmethod
    def trains(self, name: str) -> bool:
        """Whether a parameter trains, by its name in the backbone."""


def build_way(name: str, settings: Tree) -> Way:
    """A registered way with its settings.

    Raises:
        InputError: it is not registered, or does not have such settings.
    """
    if name not in WAYS:
        raise InputError(f"unknown way of tuning {name!r}; registered: {', '.join(WAYS) or 'none'}")
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    try:
        way: Way = resolve_name(WAYS[name])(**fields)
    except TypeError as error:
        raise InputError(f"tuning.{name}: {error}") from None
    return way
