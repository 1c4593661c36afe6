"""Checks of sections against one another."""

from collections.abc import Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from misc.settings.loss_sections import OF_EMBEDDINGS, WEIGHTED
from misc.settings.sections import Config
from model.backbones import KINDS


def disagreements(config: Config) -> Iterator[ErrorDetails]:
    """Conflicts between sections that are each valid, in the form of pydantic's errors."""
    yield from _check_backbone(config)
    if config.task == "image_to_image":
        yield from _check_reid(config)
    else:
        yield from _check_text(config)
    if config.task == "text_to_image":
        yield from _check_text_alone(config)
    else:
        yield from _check_tuning(config)
        yield from _check_reid_stages(config)
    if config.task == "both":
        yield from _check_both(config)
    elif config.reid.global_batch_size:
        fault = "needs task both; the pictures of a step are otherwise data.global_batch_size"
        yield _problem(fault, "reid", "global_batch_size")
    vision, size = config.model.vision, config.data.image_size
    least = vision.patch_size or 16 * config.model.last_stride - 1
    if config.model.from_scratch and min(size) < least:
        cell = f"a ResNet, whose cells have {least} pixels"
        if vision.patch_size:
            cell = f"model.vision.patch_size {vision.patch_size}"
        yield _problem(f"{list(size)} is too small for {cell}", "data", "image_size")
    if config.model.from_scratch:
        yield from _check_rank(config)
    for index, stage in enumerate(config.stages):
        try:
            config.stage_schedule(stage)
        except ValidationError as error:
            for problem in error.errors():
                yield {**problem, "loc": ("stages", index, "schedule", *problem["loc"])}


def _check_backbone(config: Config) -> Iterator[ErrorDetails]:
    kind = config.model.kind
    if config.task not in kind.tasks:
        tasks = " and ".join(kind.tasks)
        fault = f"{kind.name} cannot be trained for task {config.task}, only for {tasks}"
        yield _problem(fault, "model", "backbone")
    length = config.experiment.text_length
    if length > kind.longest_text:
        fault = f"{length} is more than the {kind.longest_text} tokens that {kind.name} can read"
        yield _problem(fault, "experiment", "text_length")
    if config.model.token_selection is not None and not kind.shows_attention:
        having = " or ".join(name for name, other in KINDS.items() if other.shows_attention)
        fault = f"needs the attention of model.backbone {having}, but that is {kind.name}: set it "
        yield _problem(f"{fault}to null", "model", "token_selection")
    if config.experiment.use_altclip_processor and not kind.processor:
        having = " or ".join(name for name, other in KINDS.items() if other.processor)
        fault = f"needs model.backbone {having}, but that is {kind.name}: set it to false"
        yield _problem(fault, "experiment", "use_altclip_processor")


def _check_rank(config: Config) -> Iterator[ErrorDetails]:
    widths = {"image": config.model.vision.width, "text": config.model.text.width}
    for tower in config.lora.towers:
        if config.lora.rank > widths[tower]:
            fault = f"{config.lora.rank} is more than the width of the {tower} tower, "
            yield _problem(f"{fault}{widths[tower]}: give 4 to 64", "lora", "rank")


def _check_text(config: Config) -> Iterator[ErrorDetails]:
    width, widths = config.model.embed_dim, config.experiment.simclr_mlp
    if config.experiment.ss and widths[0] != width:
        yield _problem(
            f"begins with {widths[0]}, but the head reads features of model.embed_dim {width}: "
            "give the same width",
            "experiment",
            "simclr_mlp",
        )
    if config.model.token_selection is not None and config.prompts.n_ctx:
        fault = "does not choose among words and prompts: leave it null, or set prompts.n_ctx to 0"
        yield _problem(fault, "model", "token_selection")
    if config.experiment.token_change and not config.model.reads_clip_words:
        weights = config.model.source or config.model.backbone
        fault = f"needs CLIP's vocabulary, and {weights} has another"
        yield _problem(f"{fault}: set it to 0", "experiment", "token_change")
    yield from _check_unread(config)
    if config.experiment.division != "none" and config.experiment.mixgen:
        fault = "labels pairs, which experiment.mixgen mixes with others: use one of them"
        yield _problem(fault, "experiment", "division")


def _check_unread(config: Config) -> Iterator[ErrorDetails]:
    """Refuse what no loss would read; a loss of one's own may read anything."""
    experiment = config.experiment
    trained = {name for name, weight in experiment.loss_weights().items() if weight}
    if trained & experiment.losses.keys():
        return
    if experiment.division != "none" and not trained.intersection(WEIGHTED):
        fault = f"labels pairs for a loss that weights them: switch on one of {', '.join(WEIGHTED)}"
        yield _problem(f"{fault}, or set it to none", "experiment", "division")
    if config.model.token_selection is not None and not trained.intersection(OF_EMBEDDINGS):
        fault = "adds a second embedding, which no loss trains: switch on one of "
        fault += f"{', '.join(OF_EMBEDDINGS)} (experiment.tal), or leave it null"
        yield _problem(fault, "model", "token_selection")


def _check_text_alone(config: Config) -> Iterator[ErrorDetails]:
    for index, stage in enumerate(config.stages):
        if stage.learns == "prompts":
            yield _problem("prompts needs task image_to_image", "stages", index, "learns")
    for key in ("root", "train_sets", "test_sets"):
        if getattr(config.reid, key):
            yield _problem(
                "needs task image_to_image, but this recipe is for text_to_image: choose another "
                "one, as in --config config/clipreid_vit.yaml",
                "reid",
                key,
            )


def _check_tuning(config: Config) -> Iterator[ErrorDetails]:
    for section in config.tunes:
        yield _problem("needs task text_to_image", section)


def _check_both(config: Config) -> Iterator[ErrorDetails]:
    if config.experiment.division != "none":
        yield _problem("needs task text_to_image: set it to none", "experiment", "division")
    if config.reid.i2t and config.model.init_from and not config.learns_prompts:
        fault = "needs a stage that learns prompts, as model.init_from gives none to task both"
        yield _problem(f"{fault}: do not skip it, or set it to false", "reid", "i2t")
    if (config.reid.i2t or config.learns_prompts) and config.model.backbone != "clip":
        fault = f"reads sentences with CLIP's own text tower, which {config.model.backbone} lacks"
        yield _problem(f"{fault}: set it to false, and skip what learns prompts", "reid", "i2t")
    is_resnet = config.model.from_scratch and config.model.vision.patch_size is None
    if is_resnet and config.model.class_tokens == "routed":
        fault = "routed needs a ViT, as a ResNet has no class token: set it to shared"
        yield _problem(fault, "model", "class_tokens")


def _check_reid(config: Config) -> Iterator[ErrorDetails]:
    if config.model.temperature is not None:
        yield _problem("needs task text_to_image", "model", "temperature")
    if config.experiment.losses:
        yield _problem("needs task text_to_image", "experiment", "losses")
    for key in ("annotation_file", "image_root", "train_sets", "test_sets", "languages"):
        if getattr(config.data, key):
            yield _problem(
                "needs task text_to_image; for image_to_image set reid.dataset and reid.root, "
                "reid.train_sets and reid.test_sets",
                "data",
                key,
            )


def _check_reid_stages(config: Config) -> Iterator[ErrorDetails]:
    *before, last = [stage.learns for stage in config.stages]
    if last != "model" or {*before} - {"prompts"}:
        fault = "expected any number of stages that learn prompts, then one that learns the model"
        yield _problem(fault, "stages")
    if config.reid.i2t and not (config.learns_prompts or config.model.init_from):
        yield _problem(
            "needs prompts, but no stage learns them: give model.init_from=RUN_OF_THE_FIRST_STAGE, "
            "take the stages of clipreid_vit.yaml, or set i2t to false",
            "reid",
            "i2t",
        )
    for index, stage in enumerate(config.stages[:-1]):
        if not (config.reid.i2t or stage.skip or config.stages[-1].skip):
            fault = "learns prompts that are not used with reid.i2t=false: set skip to true"
            yield _problem(fault, "stages", index)


def _problem(fault: str, *location: str | int) -> ErrorDetails:
    return {
        "type": "value_error",
        "loc": location,
        "msg": fault,
        "input": None,
        "ctx": {"error": ValueError(fault)},
    }
