"""Sequences whose items are made when they are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar("T", covariant=True)


class LazySequence(Sequence[T], ABC, Generic[T]):
    """A sequence that a subclass gives the length and the items of."""

    @abstractmethod
    def item(self, index: int) -> T:
        """The item at an index from 0 to the length."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        chosen = range(len(self))[index]
        return self.item(chosen) if isinstance(chosen, int) else [self.item(i) for i in chosen]


class Mapped(LazySequence[T]):
    """The values of a function at 0, 1, ..., `size` of them."""

    def __init__(self, size: int, function: Callable[[int], T]) -> None:
        self.size, self.function = size, function

    def __len__(self) -> int:
        return self.size

    def item(self, index: int) -> T:
        return self.function(index)
