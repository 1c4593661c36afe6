"""The model of both tasks that a training or an evaluation begins with."""

from dataclasses import fields

from errors import InputError
from misc.runtime.checkpoint import Checkpoint, load_weights
from misc.settings.sections import Config
from misc.tasks.reid.data import TrainingCounts
from misc.tasks.reid.model import build_clip_reid
from misc.tasks.starting_weights import refuse_differences
from misc.tasks.text.model import build_from_architecture, describe, fix_temperature
from misc.tasks.text.model import new_model as new_text_model
from model.architecture import JointArchitecture, TextArchitecture
from model.joint_clip import REID, JointCLIP
from model.tbps_clip import ENCODERS, TBPSCLIP


def new_model(
    config: Config, init_from: Checkpoint | None, counts: TrainingCounts, num_identities: int
) -> JointCLIP:
    """The model that a training begins with: that of text-to-image search, the heads of
    re-identification beside it.

    Args:
        init_from: the checkpoint that `model.init_from` names.
        counts: of the pictures' training set.
        num_identities: in the captions' training set.

    Raises:
        InputError: weights or checkpoint do not fit the configuration.
    """
    return _join(config, new_text_model(config, init_from, num_identities=num_identities), counts)


def restored_model(
    config: Config, checkpoint: Checkpoint, counts: TrainingCounts | None, *, with_heads: bool
) -> JointCLIP:
    """The model of a checkpoint.

    Args:
        counts: of the pictures' training set, to resume a training on it.
        with_heads: of the losses between pictures and captions.

    Raises:
        InputError: the checkpoint is of another task, or does not fit the configuration.
    """
    held = joint_architecture(checkpoint)
    if counts is not None and held.num_people != counts.num_identities:
        raise InputError(
            f"{checkpoint.file} was trained on {held.num_people} people of re-identification, and "
            f"there are {counts.num_identities}: resume with the data of its training"
        )
    tokens = "routed" if getattr(held.vision, "class_tokens", 1) == 2 else "shared"
    refuse_differences({"model.class_tokens": (tokens, config.model.class_tokens)})
    text = build_from_architecture(config, held, with_heads=with_heads)
    own = TrainingCounts(held.num_people, max(held.num_cameras, 1), held.num_views)
    model, state = _join(config, text, own), checkpoint.state
    if not with_heads:
        state = {name: state[name] for name in state if name.startswith((*ENCODERS, REID))}
    load_weights(model, state, checkpoint.file)
    model.constrain()
    fix_temperature(config, model)
    return model


def joint_architecture(checkpoint: Checkpoint) -> JointArchitecture:
    """The architecture of a checkpoint of this task.

    Raises:
        InputError: it is of another task.
    """
    if not isinstance(checkpoint.architecture, JointArchitecture):
        raise InputError(
            f"{checkpoint.file} is a model of one task alone: start a training from it by "
            "model.init_from, or give a checkpoint of task both"
        )
    return checkpoint.architecture


def describe_joint(config: Config, model: JointCLIP) -> JointArchitecture:
    """The architecture of a model."""
    text, reid = describe(config, model), model.reid.describe()
    parts = {field.name: getattr(text, field.name) for field in fields(TextArchitecture)}
    return JointArchitecture(
        **parts,
        num_people=reid.num_identities,
        num_cameras=reid.num_cameras,
        num_views=reid.num_views,
    )


def _join(config: Config, text: TBPSCLIP, counts: TrainingCounts) -> JointCLIP:
    return JointCLIP(text, build_clip_reid(config, counts, text.clip))
