"""YAML 1.2, read and written: what PyYAML, which speaks 1.1, does otherwise.

`1e-5` is a number; `no`, `on` and dates are words; a key that comes twice is an error.
"""

import re
from typing import Any

import yaml

from errors import InputError
from model.trees import Tree


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: `1e-5` is a number, `no` and dates are words; no key comes twice."""

    def construct_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))

    def construct_map(self, node: yaml.MappingNode) -> Tree:
        tree: Tree = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            fault = "is not a word" if not isinstance(key, str) else "comes twice"
            if not isinstance(key, str) or key in tree:
                raise yaml.MarkedYAMLError(None, None, f"key {key} {fault}", key_node.start_mark)
            tree[key] = self.construct_object(value_node, deep=True)
        return tree

    def construct_seq(self, node: yaml.SequenceNode) -> list[object]:
        return [self.construct_object(item, deep=True) for item in node.value]


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would not read as a word; lists of scalars stand on one line."""

    def represent_sequence(self, tag: str, items: Any, flow_style: bool | None = None) -> Any:
        flow_style = not any(isinstance(item, dict) for item in items)
        return super().represent_sequence(tag, items, flow_style)


_Loader.yaml_implicit_resolvers = {}  # without YAML 1.1's: `no`, dates, 1:30 as a number
for _kind, _pattern, _first_letters in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", [*"-+.0123456789"]),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", [*"-+."]),
):
    _regexp = re.compile(rf"({_pattern})\Z")
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _regexp, _first_letters)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_map)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.construct_seq)
_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def read_yaml(text: str, source: str) -> Any:
    """The content of a YAML text.

    Args:
        source: what errors call the text.

    Raises:
        InputError: with the line that is not YAML 1.2, or has a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{source}{where}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{source}: not YAML: {str(error).splitlines()[0]}") from None


def write_yaml(tree: Tree) -> str:
    """A text that `read_yaml` reads back to an equal tree."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
