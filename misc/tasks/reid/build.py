"""From the configuration to a model of image re-identification and its criteria."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from torch import Tensor

from errors import InputError
from misc.tasks.text.build import BACKBONES, Architecture, describe_image_tower, refuse_another
from model.clip import DualEncoder, TextTransformer, vision_shape
from model.clip_reid import CLIPReID, from_architecture
from model.criteria.reid import ReIDCriterion, ReIDLossSettings
from model.identity_prompts import IdentityPrompts, read_sentence
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
        side_information = SideInformation(
            width, num_cameras=cameras, num_views=views, weight=weight
        )
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
    return _of_architecture(config, architecture)


def _of_architecture(config: Config, architecture: Architecture) -> CLIPReID:
    text = architecture["text"]
    if text is not None:
        text = {**text, "dropout": config.experiment.dropout}
    return from_architecture(
        {**architecture, "text": text},
        config.reid.sie_coe,
        config.reid.after_necks,
        config.model.gradient_checkpointing,
    )


def reid_to_go_on_from(
    config: Config,
    state: Mapping[str, Tensor],
    architecture: Architecture,
    known: Known,
    same_noun: bool = True,
) -> CLIPReID:
    """A model to train anew, with the image tower of a checkpoint, and its words, if given.

    Where text is needed, its text tower is the checkpoint's, or that of `model.clip_pretrained` if
    it has none, or speaks of something else.

    Args:
        same_noun: whether its prompts speak of what the configuration says.

    Raises:
        InputError: if its sizes are other ones, or there is no text tower.
    """
    model, own_vision = config.model, vision_shape(architecture["vision"])
    vision = set_stride(str(model.init_from), own_vision, model.stride, model.last_stride)
    vision = replace(vision, image_size=config.data.image_size)
    refuse_another({"model.embed_dim": (architecture["embed_dim"], model.embed_dim)})
    beginnings = ["visual."]
    if needs_text(config) and (architecture["text"] is None or not same_noun):
        if model.clip_pretrained is None:
            raise InputError(
                f"model.init_from: {model.init_from} has no text tower for a {config.reid.noun}, "
                "and model.clip_pretrained is not set: give the weights that it is read from"
            )
        new = build_clip_reid(config, known)
        if new.visual.shape != vision:
            raise InputError(
                f"the image towers of model.init_from={model.init_from} and "
                f"model.clip_pretrained={model.clip_pretrained} are not the same: give those that "
                "the former began with"
            )
    else:
        beginnings += ["prompts."]
        cameras, views = known.told(config)
        new = _of_architecture(
            config,
            {
                **architecture,
                "vision": asdict(vision),
                "text": architecture["text"] if needs_text(config) else None,
                "identities": known.identities,
                "cameras": cameras if cameras * views > 1 else 0,
                "views": views,
            },
        )
    own = new.state_dict()
    kept = {
        name: tensor
        for name, tensor in state.items()
        if name.startswith(tuple(beginnings)) and name in own
    }
    position = position_names(state)[0]
    kept[position] = resize_position_embedding(
        state[position].float(), vision.grid, own_grid=own_vision.grid
    )
    new.load_state_dict(own | kept)
    return new


def build_prompt_criterion() -> ReIDCriterion:
    """That of the first stage."""
    return ReIDCriterion({"sup_con": 1.0})


def build_picture_criterion(config: Config) -> ReIDCriterion:
    """That of the second stage, or of a baseline: the losses that are switched on."""
    settings = ReIDLossSettings(smoothing=config.reid.smoothing, margin=config.reid.margin)
    return ReIDCriterion(config.reid.loss_weights(), settings)
