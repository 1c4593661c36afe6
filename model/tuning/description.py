"""Description of how a frozen backbone is tuned, as a checkpoint holds it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from model.trees import Tree
from model.tuning.ways import Way, build_way

Tower = Literal["image", "text"]
Direction = Literal["both", "text_to_image", "image_to_text", "independent"]
LoraTarget = Literal["attention", "mlp"]


@dataclass(frozen=True)
class PromptTuning:
    """Learned tokens in the first `depth` blocks of the towers.

    Args:
        n_ctx: vectors of each tower in each of these blocks.
        direction: of the maps between the towers; see `BidirectionalPrompts`.
    """

    n_ctx: int = 4
    depth: int = 12
    direction: Direction = "both"


@dataclass(frozen=True)
class AdapterTuning:
    """Bottleneck adapters in the blocks of one tower.

    Args:
        reduction: the bottleneck has width / reduction channels.
        scale: of the adapter's branch.
        blocks: numbers of the blocks that have one, from 0; None: all of them.
    """

    reduction: int = 8
    scale: float = 1.0
    blocks: tuple[int, ...] | None = None


@dataclass(frozen=True)
class LoraTuning:
    """Low-rank updates of linear layers (Hu et al. 2021, arXiv 2106.09685).

    Args:
        targets: the kinds of layers in a block.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[LoraTarget, ...] = ("attention",)
    towers: tuple[Tower, ...] = ("image", "text")


@dataclass(frozen=True)
class Tuning:
    """Everything that is added to a backbone; nothing by default.

    Args:
        further: registered ways, by name.
    """

    prompts: PromptTuning | None = None
    image_adapters: AdapterTuning | None = None
    text_adapters: AdapterTuning | None = None
    lora: LoraTuning | None = None
    further: Mapping[str, Way] = field(default_factory=dict)

    def _present(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in _KINDS}
        return {name: kind for name, kind in own.items() if kind is not None} | {**self.further}

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds that are there; empty for a backbone that is not tuned."""
        return tuple(self._present())

    def to_tree(self) -> Tree:
        """The kinds that are there in plain types, tuples as lists."""
        return {name: _with_lists(asdict(kind)) for name, kind in self._present().items()}

    @classmethod
    def from_tree(cls, tree: Tree) -> "Tuning":
        """The inverse of `to_tree`."""
        further = {name: build_way(name, tree[name]) for name in tree if name not in _KINDS}
        own = {name: _KINDS[name](**_with_tuples(tree[name])) for name in tree if name in _KINDS}
        return cls(**own, further=further)


_KINDS = {
    "prompts": PromptTuning,
    "image_adapters": AdapterTuning,
    "text_adapters": AdapterTuning,
    "lora": LoraTuning,
}


def _with_lists(fields: Tree) -> Tree:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def _with_tuples(fields: Tree) -> Tree:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
