"""Layers of keys, merged into one tree."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

from misc.settings import wording
from misc.settings.base import Section
from misc.settings.keys import Content, content_of
from misc.settings.sections import Config
from misc.settings.wording import Location
from model.trees import Tree


class Layer(NamedTuple):
    """Keys to lay over those of the layers below.

    Args:
        tree: the keys, nested.
        source: the file or command line that gives them, for error messages.
    """

    tree: Tree
    source: str


class Merging:
    """Layers laid over one another, the first one lowest.

    Sections merge, any other value replaces the one below. A list of named sections (`stages`) is
    replaced by a list, and merges with a mapping from some of the names to keys.

    Attributes:
        tree: the merged keys, without those that cannot stand where they are.
        faults: one sentence for each of the latter.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.tree: Tree = {}
        self.faults: list[str] = []
        self._sources: dict[Location, str] = {(): layers[0].source}
        for layer in layers:
            self._lay(self.tree, Config, layer, ())

    def source(self, location: Location) -> str:
        """The layer that set a key last, or the section that it is missing from."""
        lengths = range(len(location), -1, -1)
        return next(self._sources[at] for n in lengths if (at := location[:n]) in self._sources)

    def _lay(self, tree: Tree, section: type[Section], layer: Layer, parent: Location) -> None:
        """Lay the keys of a layer over those of one section."""
        for key, value in layer.tree.items():
            location = (*parent, key)
            if key not in section.model_fields:
                self._refuse(layer, wording.unknown_key(location, value))
                continue
            content = content_of(section.model_fields[key])
            if (fault := wording.misfit(location, content, value)) is not None:
                self._refuse(layer, fault)
                continue
            self._sources[location] = layer.source
            if isinstance(value, dict):
                self._lay_below(tree, content, Layer(value, layer.source), location)
            elif content.kind == "entries":
                tree[key] = self._replace_entries(value, content.section, layer.source, location)
            else:
                tree[key] = copy.deepcopy(value)

    def _lay_below(self, tree: Tree, content: Content, layer: Layer, location: Location) -> None:
        """Lay keys over what one key of `tree` holds: a section, a list of them, or a mapping."""
        key = str(location[-1])
        if content.kind == "section":
            tree[key] = tree.get(key) or {}
            self._lay(tree[key], content.section, layer, location)
        elif content.kind == "entries":
            entries = tree.setdefault(key, [])
            self._change_entries(entries, content.section, layer, location)
        else:
            below = tree.get(key, {}) if layer.tree else {}  # { } empties a mapping
            tree[key] = {**below, **copy.deepcopy(layer.tree)}

    def _change_entries(
        self, entries: list[Tree], section: type[Section], layer: Layer, parent: Location
    ) -> None:
        """Lay keys over entries of a list that are given by their names."""
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
        for name, value in layer.tree.items():
            if name not in names or not isinstance(value, dict):
                known = [str(known) for known in names if known]
                self._refuse(layer, wording.no_entry((*parent, name), known))
                continue
            index = names.index(name)
            below = Layer(value, layer.source)
            self._lay(entries[index], section, below, (*parent, index))

    def _replace_entries(
        self, entries: list[object], section: type[Section], source: str, parent: Location
    ) -> list[object]:
        """A copy of a whole list, without keys that do not exist."""
        inside = [at for at in self._sources if at[: len(parent)] == parent != at]
        for location in inside:  # of the list that is replaced
            del self._sources[location]
        copies: list[object] = []
        for index, entry in enumerate(entries):
            if isinstance(entry, dict):
                copied: Tree = {}
                self._lay(copied, section, Layer(entry, source), (*parent, index))
                copies.append(copied)
            else:
                copies.append(entry)
        return copies

    def _refuse(self, layer: Layer, fault: str) -> None:
        self.faults.append(f"{layer.source}: {fault}")
