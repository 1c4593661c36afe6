"""The encoder of a trained model: pictures, and sentences where it reads them, become features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from misc.data.text import TokenDataset
from misc.retrieval.parts import Parts
from misc.runtime.checkpoint import Checkpoint
from misc.settings.recipes import to_tree
from misc.settings.sections import Config
from misc.tasks.both.model import restored_model as restored_joint_model
from misc.tasks.both.retrieval import gallery_features, gallery_parts
from misc.tasks.reid.data import TrainingCounts
from misc.tasks.reid.model import fitted, reid_architecture
from misc.tasks.reid.model import restored_model as restored_reid_model
from misc.tasks.reid.task import build_test_transform
from misc.tasks.starting_weights import build_tokenizer
from misc.tasks.text.data import build_evaluation_transform
from misc.tasks.text.model import restored_model as restored_text_model
from model.architecture import JointArchitecture, ReIDArchitecture
from model.tbps_clip import TBPSCLIP
from model.trees import Tree

# The settings that features depend on beside the weights.
PICTURE_KEYS = ("data.image_size", "data.normalize", "data.test_resampling")
REID_KEYS = ("reid.flip", "reid.after_necks")


class Sentences(NamedTuple):
    """The reading of sentences.

    Args:
        tokenize: sentences as items to encode.
        encode: tokens (B, L) -> features (B, D).
        length: L, the most tokens of a sentence.
    """

    tokenize: Callable[[Sequence[str]], TokenDataset]
    encode: Callable[[Tensor], Tensor]
    length: int


@dataclass(frozen=True)
class Encoder:
    """A trained model, ready to encode.

    Args:
        transform: a picture -> (3, rows, columns).
        encode: images (B, 3, rows, columns) -> features (B, W).
        sentences: None for a re-identification model.
        model_hash: the hash of the weights.
        preparation: the settings that features depend on beside the weights, by their keys.
        parts: of a picture's features, if there are two embeddings.
    """

    model: nn.Module
    transform: Callable[[Image.Image], Tensor]
    encode: Callable[[Tensor], Tensor]
    sentences: Sentences | None
    model_hash: str
    preparation: Tree
    parts: Parts | None = None

    @property
    def words(self) -> int | None:
        """The number of values that sentences are compared with, the first ones; None: all."""
        return None if self.parts is None else self.parts.words


def build_encoder(config: Config, checkpoint: Checkpoint) -> Encoder:
    """The encoder of a checkpoint, on the CPU; its features are those of an evaluation, normalised.

    Args:
        config: of the checkpoint's training.

    Raises:
        InputError: the checkpoint does not fit the configuration.
    """
    if isinstance(checkpoint.architecture, ReIDArchitecture):
        return _build_reid_encoder(config, checkpoint)
    if isinstance(checkpoint.architecture, JointArchitecture):
        return _build_joint_encoder(config, checkpoint)
    return _build_text_encoder(config, checkpoint)


def build_transform(config: Config) -> Callable[[Image.Image], Tensor]:
    """The preparation of pictures for a trained model: (3, rows, columns)."""
    if config.task == "image_to_image":
        return build_test_transform(config)
    return build_evaluation_transform(config)


def build_sentences(
    config: Config, encode: Callable[[Tensor], Tensor], room: int | None = None
) -> Sentences:
    """The reading of sentences for a trained model.

    Args:
        encode: tokens (B, L) -> features (B, D).
        room: the most tokens of a sentence, where prompts leave fewer than experiment.text_length.
    """
    tokenizer, experiment = build_tokenizer(config), config.experiment
    length = min(experiment.text_length, room or experiment.text_length)

    def tokenize(sentences: Sequence[str]) -> TokenDataset:
        return TokenDataset(sentences, tokenizer, length, experiment.clean_captions)

    return Sentences(tokenize, encode, length)


def _build_text_encoder(config: Config, checkpoint: Checkpoint) -> Encoder:
    model = restored_text_model(config, checkpoint, with_heads=False).eval()
    return Encoder(
        model,
        build_transform(config),
        lambda images: F.normalize(model.encode_image(images).float(), dim=-1),
        _sentences_of(model, config),
        model.encoder_hash(),
        _settings(config, *_text_keys(config)),
    )


def _build_joint_encoder(config: Config, checkpoint: Checkpoint) -> Encoder:
    """An encoder without side information, as the cameras are not those of the training."""
    model = restored_joint_model(config, checkpoint, None, with_heads=False).eval()
    return Encoder(
        model,
        build_transform(config),
        partial(gallery_features, model, flip=config.reid.flip),
        _sentences_of(model, config),
        model.encoder_hash(),
        _settings(config, *_text_keys(config), *REID_KEYS),
        parts=gallery_parts(model),
    )


def _sentences_of(model: TBPSCLIP, config: Config) -> Sentences:
    def encode(tokens: Tensor) -> Tensor:
        return F.normalize(model.encode_text(tokens).float(), dim=-1)

    return build_sentences(config, encode, model.clip.text.room)


def _text_keys(config: Config) -> list[str]:
    keys = [*PICTURE_KEYS, "experiment.use_altclip_processor", "experiment.clean_captions"]
    embeddings = [] if config.model.token_selection is None else ["model.token_selection"]
    return [*keys, "experiment.text_length", *embeddings]


def _build_reid_encoder(config: Config, checkpoint: Checkpoint) -> Encoder:
    """An encoder without side information, as the cameras are not those of the training."""
    held = reid_architecture(checkpoint)
    counts = TrainingCounts(held.num_identities, max(held.num_cameras, 1), held.num_views)
    checkpoint = fitted(checkpoint, counts)
    model = restored_reid_model(config, checkpoint, counts, for_training=False).eval()

    def encode(images: Tensor) -> Tensor:
        features = model.encode_image(images)
        if config.reid.flip:
            features = (features + model.encode_image(images.flip(-1))) / 2
        return F.normalize(features.float(), dim=-1)

    settings = _settings(config, *PICTURE_KEYS, *REID_KEYS)
    return Encoder(model, build_transform(config), encode, None, model.encoder_hash(), settings)


def _settings(config: Config, *keys: str) -> Tree:
    """The values of some keys, as JSON has them."""
    tree = to_tree(config)
    return {key: tree[section][name] for key in keys for section, name in [key.split(".")]}
