"""From the configuration to a model of image re-identification and its criteria."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from torch import Tensor

from errors import InputError
from model.build import BACKBONES, Architecture, describe_image_tower, refuse_another
from model.clip import DualEncoder, TextTransformer, vision_shape
from model.clip_reid import CLIPReID, from_architecture
from model.prompts import IdentityPrompts, read_sentence
from model.reid_criterion import ReIDCriterion, ReIDSettings
from model.resnet import ModifiedResNet
from model.side_information import SideInformation
from model.weights import position_names, resize_position_embedding, set_stride
from options import Config
from text_utils.tokenizer import ClipTokenizer

WORDS = "prompts.words"


@dataclass(frozen=True)
class Known:
    """How many identities, cameras and views there are to train on."""

    identities: int
    cameras: int
    views: int

    def told(self, config: Config) -> tuple[int, int]:
        """Cameras and views that the side information tells apart."""
        sie = config.reid.sie
        cameras = self.cameras if sie in ("camera", "both") else 1
        return cameras, self.views if sie in ("view", "both") else 1


def needs_text(config: Config) -> bool:
    """Whether prompts are learnt or compared with."""
    learnt = any(stage.learns == "prompts" and not stage.skip for stage in config.stages)
    return config.reid.i2t or learnt


def build_clip_reid(config: Config, known: Known, clip: DualEncoder | None = None) -> CLIPReID:
    """A model to train, on a pretrained CLIP or a random one, unless one is given.

    Raises:
        InputError: if the weights do not fit the configuration.
    """
    clip = clip or BACKBONES["clip"](config)
    prompts = side_information = None
    if needs_text(config):
        assert isinstance(clip.text, TextTransformer)
        text = read_sentence(clip.text, ClipTokenizer(), config.reid.noun)
        prompts = IdentityPrompts(text, known.identities)
    cameras, views = known.told(config)
    if cameras * views > 1:
        if isinstance(clip.visual, ModifiedResNet):
            raise InputError(
                f"reid.sie is {config.reid.sie}, but a ResNet has no class token to add to: give "
                "none"
            )
        width, weight = clip.visual.shape.width, config.reid.sie_coe
        side_information = SideInformation(width, cameras, views, weight)
    return CLIPReID(
        clip.visual,
        clip.embed_dim,
        clip.activation,
        known.identities,
        prompts,
        side_information,
        config.reid.after_necks,
    )


def reid_of_checkpoint(config: Config, architecture: Architecture) -> CLIPReID:
    """The model of a checkpoint, for its weights.

    Raises:
        InputError: if the configuration is of another one.
    """
    refuse_another(describe_image_tower(config, architecture))
    return from_architecture(
        architecture,
        config.reid.sie_coe,
        config.reid.after_necks,
        config.model.gradient_checkpointing,
    )


def reid_to_go_on_from(
    config: Config, state: Mapping[str, Tensor], architecture: Architecture, known: Known
) -> CLIPReID:
    """A model to train anew, with the image tower of a checkpoint; with its text tower and its
    words, too, as far as prompts are needed and it knows as many identities.

    Raises:
        InputError: if prompts are needed and it has none, or the sizes are other ones.
    """
    if needs_text(config) and architecture["text"] is None:
        raise InputError(
            "model.init_from: the checkpoint is of a baseline, which has no text tower: set "
            "reid.i2t=false and stages.prompts.skip=true, or give another one"
        )
    own_vision = vision_shape(architecture["vision"])
    vision = set_stride(
        str(config.model.init_from), own_vision, config.model.stride, config.model.last_stride
    )
    vision = replace(vision, image_size=config.data.image_size)
    cameras, views = known.told(config)
    model = from_architecture(
        {
            **architecture,
            "vision": asdict(vision),
            "text": architecture["text"] if needs_text(config) else None,
            "identities": known.identities,
            "cameras": cameras if cameras * views > 1 else 0,
            "views": views,
        },
        config.reid.sie_coe,
        config.reid.after_necks,
        config.model.gradient_checkpointing,
    )
    own = model.state_dict()
    kept = {
        name: tensor
        for name, tensor in state.items()
        if name.startswith(("visual.", "prompts.")) and name in own
    }
    if WORDS in kept and kept[WORDS].shape != own[WORDS].shape:
        del kept[WORDS]
    position = position_names(state)[0]
    kept[position] = resize_position_embedding(
        state[position].float(),
        vision.grid,
        own_grid=own_vision.grid,
    )
    model.load_state_dict(own | kept)
    return model


def has_words(state: Mapping[str, Tensor], known: Known) -> bool:
    """Whether the weights hold prompts of as many identities."""
    return WORDS in state and len(state[WORDS]) == known.identities


def build_prompt_criterion() -> ReIDCriterion:
    """That of the first stage."""
    return ReIDCriterion({"sup_con": 1.0})


def build_picture_criterion(config: Config) -> ReIDCriterion:
    """That of the second stage, or of a baseline: the losses that are switched on."""
    settings = ReIDSettings(smoothing=config.reid.smoothing, margin=config.reid.margin)
    return ReIDCriterion(config.reid.loss_weights(), settings)
