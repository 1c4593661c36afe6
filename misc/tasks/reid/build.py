"""The parts of a re-identification model, from a configuration."""

from dataclasses import dataclass, replace

from errors import InputError
from misc.settings.sections import Config
from misc.tasks.starting_weights import build_backbone, compare_image_towers, refuse_differences
from model.architecture import ReIDArchitecture
from model.clip import DualEncoder, TextTransformer
from model.clip_reid import CLIPReID, from_architecture
from model.criteria.reid import ReIDCriterion, ReIDLossSettings
from model.identity_prompts import IdentityPrompts, read_sentence
from model.resnet import ModifiedResNet
from model.side_information import SideInformation
from text_utils.tokenizer import ClipTokenizer


@dataclass(frozen=True)
class TrainingCounts:
    """Numbers of identities, cameras and views in the training set."""

    num_identities: int
    num_cameras: int
    num_views: int

    def side_information(self, config: Config) -> tuple[int, int]:
        """Cameras and views that the side information tells apart; 1 for what it leaves out."""
        sie = config.reid.sie
        num_cameras = self.num_cameras if sie in ("camera", "both") else 1
        return num_cameras, self.num_views if sie in ("view", "both") else 1


def learns_prompts(config: Config) -> bool:
    """Whether a stage learns the prompts of the identities."""
    return any(stage.learns == "prompts" and not stage.skip for stage in config.stages)


def needs_text(config: Config) -> bool:
    """Whether prompts are learned or compared with."""
    return config.reid.i2t or learns_prompts(config)


def build_clip_reid(
    config: Config, counts: TrainingCounts, clip: DualEncoder | None = None
) -> CLIPReID:
    """A model to train, on a pretrained CLIP or a random one, unless one is given.

    Raises:
        InputError: the weights do not fit the configuration.
    """
    clip = clip or build_backbone(config)
    prompts = side_information = None
    if needs_text(config):
        assert isinstance(clip.text, TextTransformer)
        text = read_sentence(clip.text, ClipTokenizer(), config.reid.noun)
        prompts = IdentityPrompts(text, counts.num_identities)
    num_cameras, num_views = counts.side_information(config)
    if num_cameras * num_views > 1:
        if isinstance(clip.visual, ModifiedResNet):
            raise InputError(
                f"reid.sie is {config.reid.sie}, but a ResNet has no class token to add to: set it "
                "to none"
            )
        side_information = SideInformation(
            clip.visual.shape.width,
            num_cameras=num_cameras,
            num_views=num_views,
            weight=config.reid.sie_coe,
        )
    return CLIPReID(
        clip.visual,
        clip.embed_dim,
        clip.activation,
        counts.num_identities,
        prompts,
        side_information,
        config.reid.after_necks,
    )


def restore_clip_reid(config: Config, architecture: ReIDArchitecture) -> CLIPReID:
    """The model of a checkpoint, to be filled with its weights.

    Raises:
        InputError: the configuration describes another one.
    """
    refuse_differences(compare_image_towers(config, architecture))
    return build_from_architecture(config, architecture)


def build_from_architecture(config: Config, architecture: ReIDArchitecture) -> CLIPReID:
    """A model with random weights, with the configuration's dropout and weights of features."""
    text = architecture.text
    if text is not None:
        text = replace(text, dropout=config.experiment.dropout)
    return from_architecture(
        replace(architecture, text=text),
        side_weight=config.reid.sie_coe,
        after_necks=config.reid.after_necks,
        gradient_checkpointing=config.model.gradient_checkpointing,
    )


def build_prompt_criterion() -> ReIDCriterion:
    """The loss of the first stage."""
    return ReIDCriterion({"sup_con": 1.0})


def build_image_criterion(config: Config) -> ReIDCriterion:
    """The losses of the second stage, or of a baseline, that are switched on."""
    settings = ReIDLossSettings(smoothing=config.reid.smoothing, margin=config.reid.margin)
    return ReIDCriterion(config.reid.loss_weights(), settings)
