"""AltCLIP as it is published, made ours: its weights, its tokenizer and its processor."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AltCLIPProcessor, CLIPImageProcessor

from errors import InputError
from model.altclip import AltCLIP, AltTextShape
from model.field_types import find_mistyped
from model.vit import VisionShape
from model.weights import resize_position_embedding
from model.weights.key_maps import (
    HUGGINGFACE,
    Names,
    rename_all,
    reverse,
    transpose_projections,
)
from model.weights.misfits import check_fit
from model.weights.shapes import check_sizes, unless_usual
from model.weights.soundness import check_finite
from model.weights.sources import WEIGHT_FILES, State, read_activation, read_config, read_shards
from text_utils.hub import find_model
from text_utils.tokenizer import AltCLIPTokenizer

logger = logging.getLogger(__name__)

# (ours, theirs), as in model/weights/key_maps.py, whose image tower this is.
ALTCLIP: Names = (
    *(pair for pair in HUGGINGFACE if not pair[0].startswith("text.")),
    ("text.projection.", "text_projection."),
    ("text.pre_LN.", "text_model.pre_LN."),
    ("text.transformation.", "text_model.transformation."),
    ("text.", "text_model.roberta."),
)
POSITIONS = "visual.positional_embedding"
# With the settings of the image processor: as published, and as transformers writes them now.
IMAGE_SETTINGS = ("preprocessor_config.json", "processor_config.json")


def build_altclip_clip(
    pretrained: str | Path,
    cache_dir: str | Path | None = None,
    device: str | torch.device | None = None,
) -> tuple[AltCLIP, AltCLIPTokenizer, AltCLIPProcessor]:
    """The model, in evaluation mode on `device`, its tokenizer and its processor.

    Args:
        pretrained: `BAAI/AltCLIP`, a folder in the hub's layout, or the root of a cache.
        cache_dir: another folder or root to look in; what is fetched goes there.

    Raises:
        InputError: a part of it is neither here nor to be fetched, or cannot be read.
    """
    clip = load_altclip(pretrained, cache_dir).to(device).eval()
    tokenizer = AltCLIPTokenizer(pretrained, cache_dir)
    image_processor = load_image_processor(pretrained, cache_dir)
    return clip, tokenizer, AltCLIPProcessor(image_processor, tokenizer.pieces)


def load_altclip(
    source: str | Path,
    cache_dir: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    stride: int | None = None,
    *,
    dropout: float = 0.0,
    gradient_checkpointing: bool = False,
) -> AltCLIP:
    """AltCLIP with published weights, in float32; the architecture is that of their config.json.

    Args:
        source: `BAAI/AltCLIP`, a folder in the hub's layout, or the root of a cache.
        cache_dir: another folder or root to look in; what is fetched goes there.
        image_size: (rows, columns) in pixels, or the side of a square; None: that of the weights.
        stride: pixels from patch to patch; None: the patch size.
        dropout: of the text tower's attention weights, in training only.

    Raises:
        InputError: there is no such source, it cannot be read, or its tensors do not fit.
    """
    folder = find_model(source, WEIGHT_FILES, cache_dir)
    config = read_config(folder, "altclip")
    activation = read_activation(folder, config.vision_config)
    published, text = _read_shapes(folder, config)
    state = read_shards(folder)
    check_finite(folder, state)
    num_values = sum(map(Tensor.numel, state.values()))
    check_sizes(folder, published, text, config.projection_dim, num_values)
    vision = replace(published, stride=stride or published.patch_size)
    if image_size is not None:
        sides = (image_size, image_size) if isinstance(image_size, int) else image_size
        vision = replace(vision, image_size=sides)
    with torch.device("meta"):  # shapes alone: every value comes from the source
        clip = AltCLIP(
            vision,
            replace(text, dropout=dropout),
            config.projection_dim,
            activation,
            gradient_checkpointing,
        )
    ours = _fit_state(folder, state, clip, published)
    ours[POSITIONS] = resize_position_embedding(
        ours[POSITIONS], vision.grid, "bicubic", own_grid=published.grid
    )
    clip = clip.to_empty(device="cpu")
    clip.load_state_dict(ours)  # copies, into float32
    return clip


def load_image_processor(
    source: str | Path, cache_dir: str | Path | None = None
) -> CLIPImageProcessor:
    """Resize, crop and normalisation as a folder's settings say, or as published if it has none."""
    folder = find_model(source, (*IMAGE_SETTINGS, "config.json"), cache_dir)
    if any((folder / name).is_file() for name in IMAGE_SETTINGS):
        try:
            return CLIPImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # malformed files make the reader raise many types
            raise InputError(
                f"the image settings in {folder} cannot be read: download {IMAGE_SETTINGS[0]} again"
            ) from error
    logger.info(
        "%s has no %s: pictures are prepared as published for AltCLIP (224 pixels, bicubic, centre "
        "crop, CLIP's mean and deviation)",
        *(folder, IMAGE_SETTINGS[0]),
    )
    return CLIPImageProcessor()  # the same values


def _read_shapes(folder: Path, config: Any) -> tuple[VisionShape, AltTextShape]:
    vision, text = config.vision_config, config.text_config
    if read_activation(folder, text) != "gelu":
        raise InputError(f"{folder} has a text tower without GELU: give a model of AltCLIP's kind")
    side, patch = vision.image_size, vision.patch_size
    heads = vision.num_attention_heads
    try:
        shapes = (
            VisionShape(
                vision.hidden_size,
                vision.num_hidden_layers,
                heads,
                patch,
                patch,
                (side, side),
                unless_usual(vision.intermediate_size, vision.hidden_size),
            ),
            AltTextShape(
                width=text.hidden_size,
                layers=text.num_hidden_layers,
                heads=text.num_attention_heads,
                context_length=text.max_position_embeddings - text.pad_token_id - 1,
                vocab_size=text.vocab_size,
                mlp_width=unless_usual(text.intermediate_size, text.hidden_size),
                transformed_width=text.project_dim,
                pad_id=text.pad_token_id,
            ),
        )
        mistyped = next(filter(None, map(find_mistyped, shapes)), None)
        if type(config.projection_dim) is not int:
            mistyped = "projection_dim"
    except (ArithmeticError, TypeError) as error:
        mistyped = str(error)
    if mistyped is not None:
        raise InputError(
            f"{folder / 'config.json'} has sizes of another type ({mistyped}): download it again"
        )
    return shapes


def _fit_state(folder: Path, read: State, clip: AltCLIP, published: VisionShape) -> State:
    """The tensors of a folder in our names; those that `clip` has, but for the positions."""
    state = {
        # Either tower may say `layer`: the first files in one, those of transformers 5 in both.
        name.replace(".encoder.layer.", ".encoder.layers."): tensor
        for name, tensor in read.items()
        if not name.startswith("text_model.roberta.pooler.")  # of no use, and in some files
    }
    expected = clip.state_dict()
    rows, columns = published.grid
    expected[POSITIONS] = expected[POSITIONS][:1].expand(1 + rows * columns, -1)
    check_fit(folder, state, rename_all(transpose_projections(expected), ALTCLIP), "AltCLIP")
    return transpose_projections(rename_all(state, reverse(ALTCLIP)))
