"""The re-identification model that a training or an evaluation begins with."""

from copy import deepcopy
from dataclasses import replace

from errors import InputError
from misc.runtime.checkpoint import Checkpoint, load_weights
from misc.settings.recipes import to_tree
from misc.settings.sections import Config
from misc.tasks.reid.data import TrainingCounts
from misc.tasks.starting_weights import build_backbone, compare_image_towers, refuse_differences
from misc.tasks.text.model import new_model as new_text_model
from model.architecture import JointArchitecture, ReIDArchitecture, TextArchitecture
from model.clip import DualEncoder, TextTransformer
from model.clip_reid import CLIPReID, from_architecture
from model.identity_prompts import IdentityPrompts, read_sentence
from model.resnet import ModifiedResNet
from model.side_information import SideInformation
from model.trees import Tree
from model.tuning.tune import describe_tuning
from model.vit import VisionTransformer
from model.weights import resize_position_embedding
from model.weights.published.clip_reid import fit_side_information
from model.weights.published.format import PublishedWeights
from model.weights.shapes import position_names, set_stride
from model.weights.sources import State
from text_utils.tokenizer import ClipTokenizer

WORDS_NAME = "prompts.words"


def new_model(config: Config, init_from: Checkpoint | None, counts: TrainingCounts) -> CLIPReID:
    """The model that a training begins with: pretrained weights, the towers of a checkpoint of
    either task, or random ones.

    Args:
        init_from: the checkpoint that `model.init_from` names.

    Raises:
        InputError: weights or checkpoint do not fit the configuration.
    """
    if init_from is None:
        return build_clip_reid(config, counts)
    if isinstance(init_from.architecture, TextArchitecture):
        _check_words(config, counts, init_from, {})
        clip = new_text_model(config, init_from, with_heads=False).clip
        if tuning := describe_tuning(clip).names:
            raise InputError(
                f"{init_from.file} is tuned by {', '.join(tuning)}, which task image_to_image "
                "cannot train: give a whole model"
            )
        return build_clip_reid(config, counts, clip)
    init_from = fitted(init_from, counts)
    state = dict(init_from.state)
    if config.learns_prompts or not same_training_sets(config, init_from):
        state.pop(WORDS_NAME, None)
    _check_words(config, counts, init_from, state)
    return _adapt(config, counts, replace(init_from, state=state))


def restored_model(
    config: Config, checkpoint: Checkpoint, counts: TrainingCounts, *, for_training: bool
) -> CLIPReID:
    """The model of a checkpoint that was `fitted`.

    Raises:
        InputError: the checkpoint is of another task, or does not fit the configuration.
    """
    architecture = reid_architecture(checkpoint)
    model = restore_clip_reid(config, architecture)
    load_weights(model, checkpoint.state, checkpoint.file)
    num_identities = architecture.num_identities
    if for_training and num_identities != counts.num_identities:
        raise InputError(
            f"{checkpoint.file} was trained on {num_identities} identities, and there are "
            f"{counts.num_identities}: resume with the data of its training"
        )
    return model


def reid_architecture(checkpoint: Checkpoint) -> ReIDArchitecture:
    """The architecture of a checkpoint of this task.

    Raises:
        InputError: it is of another task.
    """
    if not isinstance(checkpoint.architecture, ReIDArchitecture):
        raise InputError(
            f"{checkpoint.file} is a text-to-image model, which has no identities: start a "
            "training from it by model.init_from, or give a checkpoint of task image_to_image"
        )
    return checkpoint.architecture


def same_training_sets(config: Config, checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint was trained on the configuration's datasets, as far as it tells: their
    identities and cameras are numbered in this order.
    """
    trained = checkpoint.config
    return trained is None or _training_sets(dict(trained)) == _training_sets(to_tree(config))


def knows_cameras(config: Config, counts: TrainingCounts, checkpoint: Checkpoint) -> bool:
    """Whether the cameras and views here are those that a checkpoint tells apart, if any."""
    architecture = checkpoint.architecture
    assert isinstance(architecture, ReIDArchitecture | JointArchitecture)
    if architecture.num_cameras == 0:
        return True
    return (
        same_training_sets(config, checkpoint)
        and architecture.num_cameras in (1, counts.num_cameras)
        and architecture.num_views in (1, counts.num_views)
    )


def _training_sets(config: Tree) -> list[str]:
    reid = config["reid"]
    return [reid["dataset"], *(source["dataset"] for source in reid["train_sets"])]


def fitted(checkpoint: Checkpoint, counts: TrainingCounts) -> Checkpoint:
    """The checkpoint, a published one's side information fitted to the cameras and views here."""
    if not checkpoint.published or not isinstance(checkpoint.architecture, ReIDArchitecture):
        return checkpoint
    weights = PublishedWeights(checkpoint.state, checkpoint.architecture)
    state, architecture = fit_side_information(weights, counts.num_cameras, counts.num_views)
    return replace(checkpoint, state=state, architecture=architecture)


def _check_words(
    config: Config, counts: TrainingCounts, init_from: Checkpoint, state: State
) -> None:
    """Check that the prompts which the second stage compares with are learned, or held."""
    num_identities, held = counts.num_identities, len(state.get(WORDS_NAME, ()))
    if config.reid.i2t and not config.learns_prompts and held != num_identities:
        raise InputError(
            f"{init_from.file} holds no prompts of these {num_identities} identities, which "
            "reid.i2t compares with: do not skip the stage that learns them, or set reid.i2t=false"
        )


def _adapt(config: Config, counts: TrainingCounts, init_from: Checkpoint) -> CLIPReID:
    """A model to train anew, with the image tower of a checkpoint, and its words, if given.

    Where text is needed, its text tower is the checkpoint's, or that of `model.clip_pretrained` if
    the checkpoint has none, or its prompts use another noun.

    Raises:
        InputError: its sizes are other ones, or there is no text tower.
    """
    model, architecture, state = config.model, reid_architecture(init_from), init_from.state
    vision = set_stride(str(model.init_from), architecture.vision, model.stride, model.last_stride)
    vision = replace(vision, image_size=config.data.image_size)
    refuse_differences({"model.embed_dim": (architecture.embed_dim, model.embed_dim)})
    if needs_text(config) and (architecture.text is None or not _same_noun(config, init_from)):
        taken: tuple[str, ...] = ("visual.",)
        new = _with_other_text_tower(config, counts)
        if new.visual.shape != vision:
            raise InputError(
                f"the image towers of model.init_from={model.init_from} and "
                f"model.clip_pretrained={model.clip_pretrained} differ: give the pretrained "
                "weights that the former was trained from"
            )
    else:
        num_cameras, num_views = counts.side_information(config)
        asked = replace(
            architecture,
            vision=vision,
            text=architecture.text if needs_text(config) else None,
            num_identities=counts.num_identities,
            num_cameras=num_cameras if num_cameras * num_views > 1 else 0,
            num_views=num_views,
        )
        taken = ("visual.", "prompts.")
        new = build_from_architecture(config, asked)
    own = new.state_dict()
    weights = {k: tensor for k, tensor in state.items() if k.startswith(taken) and k in own}
    positions = position_names(state)[0]
    weights[positions] = resize_position_embedding(
        state[positions].float(), vision.grid, own_grid=architecture.vision.grid
    )
    new.load_state_dict(own | weights)
    return new


def _with_other_text_tower(config: Config, counts: TrainingCounts) -> CLIPReID:
    model = config.model
    if model.clip_pretrained is None:
        raise InputError(
            f"model.init_from: {model.init_from} has no text tower for a {config.reid.noun}, and "
            "model.clip_pretrained is not set: give the weights that it is read from"
        )
    return build_clip_reid(config, counts)


def _same_noun(config: Config, checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's prompts use the noun of the configuration, as far as it tells."""
    trained = checkpoint.config
    return trained is None or trained["reid"]["noun"] == config.reid.noun


def needs_text(config: Config) -> bool:
    """Whether prompts are learned or compared with."""
    return config.reid.i2t or config.learns_prompts


def build_clip_reid(
    config: Config, counts: TrainingCounts, clip: DualEncoder | None = None
) -> CLIPReID:
    """A model to train, on a pretrained CLIP or a random one, unless one is given; its prompts
    have a text tower of their own.

    Raises:
        InputError: the weights do not fit the configuration.
    """
    clip = clip or build_backbone(config)
    assert isinstance(clip.visual, VisionTransformer | ModifiedResNet)
    prompts = side_information = None
    if needs_text(config):
        assert isinstance(clip.text, TextTransformer)
        text = read_sentence(deepcopy(clip.text), ClipTokenizer(), config.reid.noun)
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
        prompts=prompts,
        side_information=side_information,
        after_necks=config.reid.after_necks,
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
