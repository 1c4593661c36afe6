"""YAML 1.2, read and written: what PyYAML, which speaks 1.1, does otherwise.

`1e-5` is a number; `no`, `on` and dates are words; a key that comes twice is an error.
"""

import re
from typing import Any

import yaml

from errors import InputError
from misc.settings.yaml_faults import Fault, explain, line_of
from model.trees import Tree

LONGEST = 100_000  # characters of a text: it is read at some 100,000 a second
DEEPEST = 40  # sections and lists within one another
DIGITS = 18  # of a whole number


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: `1e-5` is a number, `no` and dates are words; no key comes twice.

    Tags and aliases are refused: nothing is made but plain values, and none larger than the text.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        fault = None
        if isinstance(event, yaml.AliasEvent):
            fault = f"*{event.anchor} repeats a value, which recipes cannot: write it out, or put "
            fault += "a text that begins with * in quotes"
        elif event.tag is not None:
            fault = f"the tag {event.tag} is not allowed: leave it out, or put a text that begins "
            fault += "with ! in quotes"
        elif self.depth == DEEPEST:
            fault = f"more than {DEEPEST} sections or lists are within one another: close some"
        if fault:
            raise Fault(fault, event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        if len(text) > DIGITS:
            raise Fault(f"a number of {len(text)} digits is too large", node.start_mark)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))

    def construct_text(self, node: yaml.ScalarNode) -> str:
        text = self.construct_scalar(node)
        if found := _FORBIDDEN.search(text):
            fault = f"the character U+{ord(found[0]):04X} is not allowed in text: take it out"
            raise Fault(fault, node.start_mark)
        return text

    def construct_map(self, node: yaml.MappingNode) -> Tree:
        tree: Tree = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                fault = f"key {key if key_node.id == 'scalar' else ''} is not a word"
                raise Fault(fault.replace("  ", " "), key_node.start_mark)
            if key in tree:
                raise Fault(f"key {key} comes twice", key_node.start_mark)
            tree[key] = self.construct_object(value_node, deep=True)
        return tree

    def construct_seq(self, node: yaml.SequenceNode) -> list[object]:
        return [self.construct_object(item, deep=True) for item in node.value]


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would not read as a word; lists of scalars stand on one line."""

    def represent_sequence(self, tag: str, items: Any, flow_style: bool | None = None) -> Any:
        flow_style = not any(isinstance(item, dict) for item in items)
        return super().represent_sequence(tag, items, flow_style)

    def ignore_aliases(self, data: object) -> bool:
        return True


_FORBIDDEN = re.compile(r"[\0\ud800-\udfff]")  # in no path, in no file
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
_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_text)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_map)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.construct_seq)
_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def read_yaml(text: str, source: str) -> Any:
    """The content of a YAML text.

    Args:
        source: what errors call the text.

    Raises:
        InputError: with the line that is not YAML 1.2, has a key twice, a tag or an alias.
    """
    if len(text) > LONGEST:
        raise InputError(f"{source}: too long, at most {LONGEST:,} characters are read")
    try:
        return yaml.load(text, Loader=_Loader)  # nosec B506  # a safe loader
    except yaml.YAMLError as error:
        line = line_of(error, text)
        where = f", line {line}" if line else ""
        raise InputError(f"{source}{where}: {explain(error)}") from None


def write_yaml(tree: Tree) -> str:
    """A text that `read_yaml` reads back to an equal tree."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
