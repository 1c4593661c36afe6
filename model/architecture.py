"""The architecture of a trained model, as its checkpoint describes it."""

from dataclasses import asdict, dataclass, fields, replace

from model.backbones import find_kind
from model.clip import TextShape
from model.heads import SelectionShape
from model.resnet import ResNetShape
from model.transformer import Activation
from model.trees import Tree
from model.tuning.description import Tuning
from model.vit import VisionShape

ImageShape = VisionShape | ResNetShape
NOT_TUNED = Tuning()


@dataclass(frozen=True)
class Architecture:
    """Shapes of the towers, and everything else that decides which weights a model has.

    Args:
        backbone: a name in the registry.
        text: None for a re-identification model without prompts.
        embed_dim: D, the width of the joint space.
        activation: of the image tower's MLPs, and of CLIP's text tower's.
        num_identities: of the classifiers; 0 without one.
    """

    backbone: str
    vision: ImageShape
    text: TextShape | None
    embed_dim: int
    activation: Activation
    num_identities: int

    def to_tree(self) -> Tree:
        """The architecture in plain types."""
        return {
            "backbone": self.backbone,
            "vision": asdict(self.vision),
            "text": None if self.text is None else asdict(self.text),
            "embed_dim": self.embed_dim,
            "activation": self.activation,
            "identities": self.num_identities,
        }


@dataclass(frozen=True)
class TextArchitecture(Architecture):
    """The architecture of a model that is searched by sentences."""

    text: TextShape
    tuning: Tuning = NOT_TUNED
    selection: SelectionShape | None = None  # of a second embedding

    def to_tree(self) -> Tree:
        tuning = {"tuning": self.tuning.to_tree()} if self.tuning.names else {}
        selection = {"selection": asdict(self.selection)} if self.selection else {}
        return super().to_tree() | tuning | selection


@dataclass(frozen=True)
class ReIDArchitecture(Architecture):
    """The architecture of a re-identification model.

    Args:
        num_cameras, num_views: that the side information tells apart; 0 and 1 without any.
    """

    num_cameras: int = 0
    num_views: int = 1

    def to_tree(self) -> Tree:
        return super().to_tree() | {"cameras": self.num_cameras, "views": self.num_views}


@dataclass(frozen=True)
class JointArchitecture(TextArchitecture):
    """The architecture of a model that is searched by sentences and by pictures.

    Args:
        num_people: identities of re-identification, beside those of the captions.
        num_cameras, num_views: as of `ReIDArchitecture`.
    """

    num_people: int = 0
    num_cameras: int = 0
    num_views: int = 1

    def to_tree(self) -> Tree:
        names = ("num_people", "num_cameras", "num_views")
        return super().to_tree() | {"joint": {name: getattr(self, name) for name in names}}

    def for_sentences(self) -> TextArchitecture:
        """The architecture without what only compares pictures with one another."""
        parts = {each.name: getattr(self, each.name) for each in fields(TextArchitecture)}
        if isinstance(self.vision, VisionShape):
            parts["vision"] = replace(self.vision, class_tokens=1)
        return TextArchitecture(**parts)


def read_architecture(tree: Tree) -> TextArchitecture | ReIDArchitecture:
    """The inverse of `Architecture.to_tree`, for trees of older versions, too."""
    backbone = tree.get("backbone", "clip")  # the only one before there were others
    loader = find_kind(backbone).loader()
    text = tree["text"] and loader.read_text_shape(tree["text"])
    towers = {
        "backbone": backbone,
        "vision": loader.read_vision_shape(tree["vision"]),
        "text": text,
        "embed_dim": tree["embed_dim"],
        "activation": tree["activation"],
        "num_identities": tree["identities"],
    }
    if "cameras" in tree:
        return ReIDArchitecture(**towers, num_cameras=tree["cameras"], num_views=tree["views"])
    towers["tuning"] = Tuning.from_tree(tree.get("tuning", {}))
    towers["selection"] = SelectionShape(**tree["selection"]) if "selection" in tree else None
    if "joint" in tree:
        return JointArchitecture(**towers, **tree["joint"])
    return TextArchitecture(**towers)
