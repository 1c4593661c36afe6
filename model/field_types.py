"""Types of a dataclass's fields, compared with what a file put into them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def find_mistyped(instance: object, name: str = "") -> str | None:
    """The path of the first field whose value is not of its type, nested ones included; None if all
    are. Whole numbers must not be negative, as nothing that is counted is.
    """
    assert is_dataclass(instance)
    hints = get_type_hints(type(instance))
    for field in fields(instance):
        path, value = f"{name}{field.name}", getattr(instance, field.name)
        if not _fits(value, hints[field.name]):
            return path
        inner = find_mistyped(value, f"{path}.") if is_dataclass(value) else None
        if inner is not None:
            return inner
    return None


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type; a dataclass's fields are not looked at."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is Literal:
        return any(value == each for each in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return len(value) == len(each) and all(map(_fits, value, each))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, item = arguments
        return isinstance(value, origin) and all(
            _fits(k, key) and _fits(v, item) for k, v in value.items()
        )
    if hint is int:
        return type(value) is int and 0 <= value < 2**53
    if hint is float:
        return type(value) in (int, float)
    return isinstance(value, origin or hint)
