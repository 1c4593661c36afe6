"""Trees of plain types: dictionaries, lists, tuples, scalars and tensors, as files hold them."""

from collections.abc import Iterator, Mapping
from typing import Any

Tree = dict[str, Any]

# A great checkpoint has some 10,000 parts; a hostile one may repeat or nest its own.
MOST_PARTS, LONGEST_PATH = 500_000, 10_000


def leaves(tree: Tree) -> Iterator[tuple[str, object]]:
    """The paths and values of all leaves, and of empty branches, depth first.

    Raises:
        ValueError: there are more, or deeper ones, than a file of weights can have.
    """
    waiting: list[tuple[str, object]] = [("", tree)]
    for _ in range(MOST_PARTS):
        if not waiting:
            return
        path, node = waiting.pop()
        if len(path) > LONGEST_PATH:
            break
        if isinstance(node, Mapping) and node:
            waiting += [(f"{path}/{name!r}", value) for name, value in node.items()]
        elif isinstance(node, list | tuple) and node:
            waiting += [(f"{path}/{type(node).__name__} {i}", part) for i, part in enumerate(node)]
        else:
            yield path, node
    raise ValueError("it has too many parts")
