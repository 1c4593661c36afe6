"""The configuration: YAML recipes and the command line become one typed, frozen, checked `Config`.

`config/config.yaml` is the one place of the default values; the classes here say which keys there
are and what they may hold. A recipe is a delta on the file that its `base:` names. Nothing heavy is
imported, so that `--help` answers at once.
"""

import argparse
import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from errors import InputError
from misc.settings.yaml12 import read_yaml, write_yaml

RECIPES = Path(__file__).resolve().parent / "config"
COMMAND_LINE = "command line"

Tree = dict[str, Any]

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]


def _square(size: Any) -> Any:
    """One number is a square; YAML's lists become tuples."""
    if isinstance(size, list):
        return tuple(size)
    return (size, size) if type(size) is int else size


class Section(BaseModel):
    """What all sections share: frozen, strictly typed, finite numbers, no undeclared key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Source(Section):
    """One more dataset."""

    name: Text
    annotation_file: Text
    image_root: Text


class TestSource(Source):
    """One more dataset to test on, whose captions may be in other languages."""

    languages: tuple[Text, ...] | None = None


class Data(Section):
    annotation_file: Text | None
    image_root: Text | None
    train_sets: tuple[Source, ...]
    test_sets: tuple[TestSource, ...]
    languages: tuple[Text, ...]
    image_size: Annotated[tuple[Count, Count], BeforeValidator(_square)]  # rows, columns
    batch_size: Count
    global_batch_size: Count | None
    test_batch_size: Count
    test_resampling: Literal["bicubic", "bilinear"]
    num_workers: Natural
    normalize: Literal["imagenet", "clip", "half"]

    @field_validator("languages")
    @classmethod
    def _name_each_once(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if len({*languages}) < len(languages):
            raise ValueError(f"{', '.join(languages)}: give each language once")
        return languages


class TextTower(Section):
    width: Count
    layers: Count
    heads: Count

    @model_validator(mode="after")
    def _divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads")
        return self


class VisionTower(Section):
    """A ViT, or a ResNet: then `layers` are the blocks of its four stages."""

    width: Count
    layers: Count | tuple[Count, Count, Count, Count]
    heads: Count
    patch_size: Count | None

    @field_validator("layers", mode="wrap")
    @classmethod
    def _complain_once(cls, layers: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(tuple(layers) if isinstance(layers, list) else layers)
        except ValidationError:  # one for each kind
            raise ValueError(
                f"{json.dumps(layers)} is neither the number of a ViT's blocks nor a list of the "
                "four of a ResNet"
            ) from None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        is_resnet = isinstance(self.layers, tuple)
        if is_resnet != (self.patch_size is None):
            raise ValueError(
                f"layers {json.dumps(self.layers)} and patch_size {json.dumps(self.patch_size)} do "
                "not go together: a ViT has a number of each, a ResNet a list of four layers and "
                "patch_size null"
            )
        width = 32 * self.width if is_resnet else self.width
        if width % self.heads:
            raise ValueError(f"width {width} cannot be divided among {self.heads} heads")
        return self


class Model(Section):
    backbone: Literal["clip", "altclip"]
    clip_pretrained: Text | None
    altclip_pretrained: Text | None
    init_from: Text | None
    activation: Literal["auto", "quickgelu", "gelu"]
    embed_dim: Count
    projection_dim: Count | None
    tokenizer_type: Literal["auto", "clip", "altclip"]
    tokenizer_cache_dir: Text | None
    stride: Count | None
    last_stride: Literal[1, 2]
    gradient_checkpointing: bool
    freeze: tuple[Text, ...]
    use_gather: bool
    softlabel_ratio: Probability
    temperature: Annotated[float, Field(ge=0.01)] | None  # the scale is 100 at most
    vision: VisionTower
    text: TextTower

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.tokenizer_type not in ("auto", self.backbone):
            raise ValueError(
                f"tokenizer_type is {self.tokenizer_type}, but backbone is {self.backbone}, which "
                "cannot read its tokens; give tokenizer_type auto"
            )
        if self.projection_dim not in (None, self.embed_dim):
            raise ValueError(
                f"projection_dim is {self.projection_dim}, but embed_dim is {self.embed_dim}: both "
                "are the width of the joint space, give the same"
            )
        if self.backbone == "altclip" and self.altclip_pretrained is None:
            raise ValueError("altclip_pretrained is not set, which backbone altclip is read from")
        from_scratch = self.backbone == "clip" and self.clip_pretrained is None
        is_resnet = from_scratch and self.vision.patch_size is None
        if is_resnet and self.stride is not None:
            raise ValueError(
                f"stride is {self.stride}, but vision is a ResNet, which has no patches: leave it "
                "null"
            )
        if self.last_stride == 1 and (self.backbone == "altclip" or from_scratch != is_resnet):
            raise ValueError("last_stride is 1, but the image tower is a ViT: leave it 2")
        return self


class Prompts(Section):
    n_ctx: Natural
    depth: Count
    direction: Literal["both", "text_to_image", "image_to_text", "independent"]
    init: Literal["random", "words"]
    words: Text

    @model_validator(mode="after")
    def _hold_words(self) -> Self:
        if self.init == "words" and not self.n_ctx:
            raise ValueError("init is words, but n_ctx is 0: there are no prompts to begin so")
        return self


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len({*names}) < len(names):
        raise ValueError(f"{', '.join(names)}: give each once")
    return names


Towers = Annotated[tuple[Literal["image", "text"], ...], AfterValidator(_once)]


class AdapterScale(Section):
    image: float
    text: float


class Adapters(Section):
    towers: Towers
    blocks: Annotated[tuple[Natural, ...], Field(min_length=1)] | None
    reduction: Count
    scale: AdapterScale


class Lora(Section):
    rank: Natural
    alpha: Positive
    dropout: BelowOne
    targets: Annotated[tuple[Literal["attention", "mlp"], ...], Field(min_length=1)]
    towers: Annotated[Towers, Field(min_length=1)]


class Losses(Section):
    """The losses and nothing else: of each its switch, and its weight in the total."""

    nitc: bool
    nitc_ratio: NonNegative
    ritc: bool
    ritc_ratio: NonNegative
    citc: bool
    citc_ratio: NonNegative
    ss: bool
    ss_ratio: NonNegative
    id: bool
    id_ratio: NonNegative
    mlm: bool
    mlm_ratio: NonNegative
    itc: bool
    itc_ratio: NonNegative
    sdm: bool
    sdm_ratio: NonNegative
    cmpm: bool
    cmpm_ratio: NonNegative

    def loss_weights(self) -> dict[str, float]:
        """The weight of each loss that is switched on."""
        return _loss_weights(self, Losses)

    @model_validator(mode="after")
    def _train_something(self) -> Self:
        if not any(self.loss_weights().values()):
            raise ValueError("no loss is left to train, set nitc, ritc or another one to true")
        return self


def _loss_weights(section: Section, losses: type[Section]) -> dict[str, float]:
    names = (name for name in losses.model_fields if not name.endswith("_ratio"))
    return {name: getattr(section, f"{name}_ratio") for name in names if getattr(section, name)}


class Experiment(Losses):
    ritc_eps: Positive
    citc_lambda1: NonNegative
    citc_lambda2: NonNegative
    simclr_mlp: Annotated[tuple[Count, ...], Field(min_length=2)]
    simclr_temperature: Positive
    cmt_depth: Count
    soft_pass: Literal["reuse", "fresh"]
    mvs_image: bool
    mixgen: bool
    mixgen_type: Literal["cat", "ori"]
    mixgen_p: Probability
    mixgen_ratio: Annotated[float, Field(ge=0, le=0.5)]
    mixgen_rows: Count
    augment_image: bool
    image_augment: Literal["pool", "erase"]
    back_trans: bool
    backtrans_p: Probability
    text_augment: Literal["deletion", "swap", "insertion", "replacement"]
    eda_alpha: Probability
    text_length: Annotated[int, Field(ge=3, le=77)]
    dropout: BelowOne
    use_altclip_processor: bool
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    select_on: Literal["val", "test", "last"]


class ReIDSource(Section):
    """One more dataset of image re-identification."""

    dataset: Text
    root: Text


class ReIDLosses(Section):
    """The losses of pictures of identities: of each its switch, and its weight in the total."""

    id: bool
    id_ratio: NonNegative
    triplet: bool
    triplet_ratio: NonNegative
    i2t: bool
    i2t_ratio: NonNegative

    def loss_weights(self) -> dict[str, float]:
        """The weight of each loss that is switched on."""
        return _loss_weights(self, ReIDLosses)

    @model_validator(mode="after")
    def _train_something(self) -> Self:
        if not any(self.loss_weights().values()):
            raise ValueError("no loss is left to train, set id, triplet or i2t to true")
        return self


class ReID(ReIDLosses):
    dataset: Text
    root: Text | None
    train_sets: tuple[ReIDSource, ...]
    test_sets: tuple[ReIDSource, ...]
    images_per_identity: Count
    noun: Literal["person", "vehicle"]
    sie: Literal["none", "camera", "view", "both"]
    sie_coe: Positive
    smoothing: BelowOne
    margin: NonNegative | None
    after_necks: bool
    flip: bool


class Stage(Section):
    """One stage of training: what it overrides in `schedule` and `data`, adds to `model.freeze`."""

    name: Text
    skip: bool = False
    learns: Literal["model", "prompts"] = "model"
    global_batch_size: Count | None = None
    schedule: dict[str, Any] = {}
    freeze: tuple[Text, ...] = ()


class Schedule(Section):
    optimizer: Literal["adamw", "adam"]
    curve: Literal["cosine", "epoch_cosine", "epoch_steps"]
    lr: Positive
    lr_start: NonNegative
    lr_end: NonNegative
    epoch: Count
    epoch_warmup: Natural
    warmup_factor: BelowOne
    weight_decay: NonNegative
    betas: tuple[BelowOne, BelowOne]
    eps: Positive
    decayed: Literal["matrices", "weights", "all"]
    bias_factor: Positive
    ratio_factor: Positive
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    clip_grad: Positive | None
    milestones: tuple[Count, ...]
    gamma: Positive

    @field_validator("milestones")
    @classmethod
    def _rise(cls, milestones: tuple[int, ...]) -> tuple[int, ...]:
        if list(milestones) != sorted({*milestones}):
            raise ValueError(f"{list(milestones)} are not epochs one after another: sort them")
        return milestones

    @model_validator(mode="after")
    def _end_warmup(self) -> Self:
        if self.epoch_warmup > self.epoch:
            raise ValueError(f"epoch_warmup {self.epoch_warmup} is more than epoch {self.epoch}")
        return self


class Rerank(Section):
    k1: Count
    k2: Count
    weight: Probability


class Evaluation(Section):
    period: Count
    chunk: Count
    ranked_lists: Natural
    rerank: Rerank | None


class Log(Section):
    print_period: Count
    save_period: Natural


class Distributed(Section):
    backend: Literal["auto", "nccl", "gloo"]


class Misc(Section):
    seed: Annotated[int, Field(ge=0, lt=2**32)]


class Config(Section):
    """The resolved configuration, one attribute a section of `config/config.yaml`."""

    task: Literal["text_to_image", "image_to_image"]
    data: Data
    model: Model
    prompts: Prompts
    adapters: Adapters
    lora: Lora
    experiment: Experiment
    reid: ReID
    stages: tuple[Stage, ...]
    schedule: Schedule
    evaluation: Evaluation
    log: Log
    distributed: Distributed
    misc: Misc

    @property
    def tunes(self) -> tuple[str, ...]:
        """The sections that add to a frozen backbone."""
        added = {
            "prompts": self.prompts.n_ctx,
            "adapters": self.adapters.towers,
            "lora": self.lora.rank,
        }
        return tuple(name for name, value in added.items() if value)

    @field_validator("stages")
    @classmethod
    def _name_stages_apart(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if all(stage.skip for stage in stages):
            raise ValueError("there is no stage to train, name one that is not skipped")
        if len({stage.name for stage in stages}) < len(stages):
            raise ValueError("two stages have the same name, give each its own")
        return stages

    def stage_schedule(self, stage: Stage) -> Schedule:
        """The configuration's schedule with the stage's own keys laid over it."""
        return Schedule.model_validate_json(json.dumps(to_tree(self.schedule) | stage.schedule))


def to_tree(config: Section) -> Tree:
    """The configuration as plain dicts, lists and scalars, as a checkpoint holds it."""
    return config.model_dump(mode="json")


def dump(config: Config) -> str:
    """The configuration as YAML that `--config` reads back to an equal one."""
    return write_yaml(to_tree(config))


# ---- From layers to a configuration --------------------------------------------------------------

Layer = tuple[Mapping[str, Any], str]  # keys, and where they stand


def _read_file(path: Path, named_by: str) -> Layer:
    source = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        why = f"cannot read {source} ({error.strerror})"
        raise InputError(f"{named_by}: {why}, give the path of a YAML recipe") from None
    except UnicodeDecodeError:
        raise InputError(f"{named_by}: {source} is not a text file in UTF-8") from None
    tree = read_yaml(text, source)
    if not isinstance(tree, dict | None):
        raise InputError(f"{source}: a recipe is sections of keys, not {json.dumps(tree)[:40]}")
    return tree or {}, source


def _read_recipe(path: Path, named_by: str, above: tuple[Path, ...] = ()) -> list[Layer]:
    """The layers of a recipe, its deepest base first; of several bases, the first one first, and
    what these have in common once.
    """
    if path.resolve() in above:
        raise InputError(f"{named_by}: {path} leads back to this recipe, take one `base:` out")
    tree, source = _read_file(path, named_by)
    delta = {key: value for key, value in tree.items() if key != "base"}
    base = tree.get("base", [])
    bases = [base] if isinstance(base, str) else base
    if not isinstance(bases, list) or not all(isinstance(name, str) for name in bases):
        raise InputError(f"{source}: base is {json.dumps(base)}, expected the name of a YAML file")
    layers: list[Layer] = []
    for name in bases:
        below = _read_recipe(path.parent / name, f"{source}: base", (*above, path.resolve()))
        layers += [layer for layer in below if layer not in layers]
    return [*layers, (delta, source)]


def _backbone(layer: Layer) -> Any:
    """The backbone that a layer chooses, if it does."""
    model = layer[0].get("model")
    return model.get("backbone") if isinstance(model, Mapping) else None


def _with_backbones(layers: Sequence[Layer]) -> Iterator[Layer]:
    """The layers, with the recipe of AltCLIP below the one that turns to it."""
    chosen = None
    for layer in layers:
        before, chosen = chosen, _backbone(layer) or chosen
        if chosen == "altclip" != before:
            yield _read_recipe(RECIPES / "altclip.yaml", "altclip")[-1]
        yield layer


def _merge(tree: Tree, layer: Layer, sources: dict[str, str], prefix: str = "") -> None:
    """Lays a layer over `tree`: sections merge, all else replaces; `sources` learns from where.

    The entries of a list that have names are sections, too, for a layer that gives them by name.
    """
    delta, source = layer
    for key, value in delta.items():
        sources[prefix + key] = source
        if isinstance(value, Mapping):
            under = tree.get(key)
            if isinstance(under, list):
                _merge_named(under, (value, source), sources, prefix + key)
                continue
            if not isinstance(under, dict):
                tree[key] = {}
            _merge(tree[key], (value, source), sources, f"{prefix}{key}.")
        else:
            tree[key] = copy.deepcopy(value)


def _merge_named(entries: list[Any], layer: Layer, sources: dict[str, str], key: str) -> None:
    delta, source = layer
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    for name, value in delta.items():
        if name not in names or not isinstance(value, Mapping):
            known = ", ".join(str(known) for known in names if known) or "none"
            raise InputError(
                f"{source}: {key}.{name}: expected a section of keys for an entry of {key} by its "
                f"name ({known}), or a whole list"
            )
        index = names.index(name)
        _merge(entries[index], (value, source), sources, f"{key}.{index}.")


def _resolve(layers: Sequence[Layer]) -> Config:
    tree: Tree = {}
    sources = {"": layers[0][1]}
    for layer in layers:
        _merge(tree, layer, sources)
    try:
        # Through JSON, because from there pydantic's strict mode takes a list for a tuple.
        config = Config.model_validate_json(json.dumps(tree))
        problems = list(_disagreements(config))
    except ValidationError as error:
        problems = list(error.errors())
    if problems:
        raise InputError("\n".join(_sentence(problem, sources) for problem in problems))
    return config


def _disagreements(config: Config) -> Iterator[Any]:
    """What is wrong between sections that are each right, in the form of pydantic's errors."""
    if config.task == "image_to_image":
        yield from _disagreements_of_reid(config)
    else:
        yield from _disagreements_of_text(config)
    patch, size = config.model.vision.patch_size, config.data.image_size
    least = patch or 16 * config.model.last_stride - 1
    if config.model.clip_pretrained is None and min(size) < least:
        cell = f"model.vision.patch_size {patch}" if patch else f"a ResNet's cell of {least} pixels"
        yield _problem(f"{list(size)} has no room for {cell}", "data", "image_size")
    if config.experiment.use_altclip_processor and config.model.backbone != "altclip":
        fault = f"goes with model.backbone altclip, which is {config.model.backbone}"
        yield _problem(fault, "experiment", "use_altclip_processor")
    for index, stage in enumerate(config.stages):
        try:
            config.stage_schedule(stage)
        except ValidationError as error:
            for problem in error.errors():
                yield {**problem, "loc": ("stages", index, "schedule", *problem["loc"])}


def _disagreements_of_text(config: Config) -> Iterator[Any]:
    width, widths = config.model.embed_dim, config.experiment.simclr_mlp
    if config.experiment.ss and widths[0] != width:
        yield _problem(
            f"begins with {widths[0]}, but model.embed_dim is {width}: the head reads features of "
            "that width",
            "experiment",
            "simclr_mlp",
        )
    for index, stage in enumerate(config.stages):
        if stage.learns == "prompts":
            yield _problem("goes with task image_to_image alone", "stages", index, "learns")
    for key in ("root", "train_sets", "test_sets"):
        if getattr(config.reid, key):
            yield _problem(
                "goes with task image_to_image, and this recipe is of text_to_image: give one such "
                "as --config config/clipreid_vit.yaml",
                "reid",
                key,
            )


def _disagreements_of_reid(config: Config) -> Iterator[Any]:
    for section in config.tunes:
        yield _problem("goes with task text_to_image alone", section)
    if config.model.temperature is not None:
        yield _problem("goes with task text_to_image alone", "model", "temperature")
    for key in ("annotation_file", "image_root", "train_sets", "test_sets", "languages"):
        if getattr(config.data, key):
            yield _problem(
                "goes with task text_to_image; pictures are named by reid.dataset and reid.root, "
                "reid.train_sets and reid.test_sets",
                "data",
                key,
            )
    if config.model.backbone != "clip":
        yield _problem(
            f"is {config.model.backbone}, but task image_to_image trains clip alone",
            "model",
            "backbone",
        )
    *before, last = [stage.learns for stage in config.stages]
    if last != "model" or {*before} - {"prompts"}:
        yield _problem("expected stages that learn prompts, if any, and one model after", "stages")
    learnt = any(stage.learns == "prompts" and not stage.skip for stage in config.stages)
    if config.reid.i2t and not (learnt or config.model.init_from):
        yield _problem(
            "compares with prompts that no stage learns: take the stages of clipreid_vit.yaml, or "
            "set i2t to false",
            "reid",
            "i2t",
        )
    for index, stage in enumerate(config.stages[:-1]):
        if not (config.reid.i2t or stage.skip or config.stages[-1].skip):
            yield _problem(
                "learns prompts that nothing reads with reid.i2t=false: set skip to true",
                "stages",
                index,
            )


def _problem(fault: str, *loc: str | int) -> Any:
    return {"type": "value_error", "loc": loc, "ctx": {"error": ValueError(fault)}}


EXPECTED = {  # by the type of pydantic's error; its own words do for the others
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text (a number is text in quotes)",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list in [ ]",
    "model_type": "a section of keys",
    "dict_type": "a section of keys",
    "too_long": "at most {max_length} values",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}


def _sentence(problem: Any, sources: Mapping[str, str]) -> str:
    """One of pydantic's errors in the user's words: where it stands, key, value, expectation."""
    kind, loc, context = problem["type"], problem["loc"], problem.get("ctx", {})
    key = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, loc)))
    prefixes = (".".join(map(str, loc[:length])) for length in range(len(loc), -1, -1))
    source = next(sources[prefix] for prefix in prefixes if prefix in sources)
    match kind:
        case "extra_forbidden":
            return f"{source}: there is no key {key}, did you mean {_nearest(key)}?"
        case "missing" if "[" in key:  # within a list, which comes whole from one place
            return f"{source}: {key} is missing"
        case "missing":
            return f"{sources['']}: {key} is missing, begin the recipe with `base: config.yaml`"
        case "value_error":
            return f"{source}: {key}: {context['error']}"
    expected = EXPECTED.get(kind, problem["msg"].removeprefix("Input should be "))
    value = json.dumps(problem["input"], ensure_ascii=False)
    return f"{source}: {key} is {value}, expected {expected.format(**context)}"


def _nearest(key: str) -> str:
    """The known key most like `key`, as a whole and in its last word, whatever its section."""

    def likeness(known: str) -> float:
        last_words = SequenceMatcher(None, key.split(".")[-1], known.split(".")[-1])
        return SequenceMatcher(None, key, known).ratio() + last_words.ratio()

    return max(_known_keys(Config), key=likeness)


def _known_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _known_keys(kind, f"{prefix}{name}.")


# ---- Command line --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """What the command line asks for; `configure` makes the configuration of it."""

    config: Path | None
    simplified: bool
    backbone: str | None
    evaluate: tuple[str, ...]  # checkpoints, or folders of runs
    resume: str | None  # "auto" or a checkpoint
    save_features: Path | None
    output: Path | None
    device: str | None
    overrides: tuple[Layer, ...]

    @property
    def recipe(self) -> str:
        """A name for the recipe, from its file; `config.yaml` of a run has that of its folder."""
        file = (self.config or RECIPES / "config.yaml").resolve()
        names = {
            RECIPES / "config.yaml": "tbps_clip",
            RECIPES / "s.config.yaml": "tbps_clip-simplified",
        }
        run = file.parent.name if file.stem == "config" else file.stem
        if file.is_relative_to(RECIPES) and file.parent != RECIPES:  # one of a dataset
            run = f"{file.parent.name}-{run}"
        name = names.get(file, run)
        suffix = "-simplified" if self.simplified and not name.endswith("-simplified") else ""
        return name + suffix

    def configure(self, saved: Mapping[str, Any] | None = None) -> Config:
        """The recipe, then `--simplified`, `--backbone` and `key=value` laid over it, checked.

        Args:
            saved: the `to_tree` of a run's configuration. It takes the recipe's place, unless the
                command line names one.

        Raises:
            InputError: a line for each thing that is wrong, with the place where it stands.
        """
        if saved is not None and not (self.config or self.simplified or self.backbone):
            # Over the defaults, for the keys that have come since.
            layers = _read_recipe(RECIPES / "config.yaml", "--config")
            layers.append((saved, "the configuration saved with the run"))
        else:
            layers = _read_recipe(self.config or RECIPES / "config.yaml", "--config")
        if self.simplified:
            layers.append(_read_recipe(RECIPES / "s.config.yaml", "--simplified")[-1])
        if self.backbone is not None:
            layers.append(({"model": {"backbone": self.backbone}}, COMMAND_LINE))
        if any(_backbone(layer) == "altclip" for layer in self.overrides):
            layers.append(({"model": {"backbone": "altclip"}}, COMMAND_LINE))
        config = _resolve([*_with_backbones(layers), *self.overrides])
        if self.simplified and config.task != "text_to_image":
            raise InputError(
                f"--simplified is of task text_to_image, and the recipe is of {config.task}: leave "
                "it out"
            )
        return config


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        hint = "--help lists the options, and settings are written section.key=value"
        raise InputError(f"{COMMAND_LINE}: {message}; {hint}")


def _override(word: str) -> Layer:
    """`section.key=value` as a layer; the value is YAML."""
    key, equals, text = word.partition("=")
    if not (key and equals):
        raise InputError(f"{COMMAND_LINE}: {word!r} is neither an option nor section.key=value")
    tree = read_yaml(text, f"{COMMAND_LINE}: {word}")
    for name in reversed(key.split(".")):
        tree = {name: tree}
    return tree, COMMAND_LINE


EPILOG = """\
every key of config/config.yaml can be set by section.key=value (the value is YAML):
  python main.py data.annotation_file=CUHK-PEDES/reid_raw.json data.image_root=CUHK-PEDES/imgs \\
                 model.clip_pretrained=ViT-B-16.pt
  torchrun --nproc_per_node=4 main.py --simplified schedule.lr=5e-5 'data.image_size=[384, 128]'
  python main.py --config config/demo.yaml --output runs/demo
  python main.py --evaluate runs/demo
"""


def parse(argv: Sequence[str] | None = None) -> Command:
    """Reads the command line, `sys.argv` unless given.

    Raises:
        InputError: an option that is not there, or a setting that cannot be read.
    """
    parser = _Parser(
        prog="main.py",
        description="Train or evaluate text-to-person search, on one process or under torchrun.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="recipe (default: config/config.yaml)")
    add("--simplified", action="store_true", help="the simplified method, laid over the recipe")
    add("--backbone", metavar="NAME", help="over the recipe: clip or altclip")
    add(
        "--evaluate",
        action="append",
        default=[],
        metavar="PATH",
        help="only evaluate this checkpoint, or a run's folder; given again: several, and their "
        "mean and deviation",
    )
    add(
        "--resume",
        metavar="PATH",
        help="go on with this run; auto: the one in --output, or the newest of the recipe, if any",
    )
    add("--save-features", type=Path, metavar="FILE", help="with --evaluate: what was encoded")
    add("--output", type=Path, metavar="DIR", help="the run's folder (default: runs/RECIPE-TIME)")
    add("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")
    add("overrides", nargs="*", metavar="section.key=value", help="settings over the recipe")
    arguments = vars(parser.parse_intermixed_args(argv))
    arguments["evaluate"] = tuple(arguments["evaluate"])
    if arguments["evaluate"] and arguments["resume"] is not None:
        parser.error("--evaluate and --resume do not go together, give one of them")
    if arguments["save_features"] is not None and len(arguments["evaluate"]) != 1:
        parser.error("--save-features goes with one --evaluate")
    overrides = tuple(map(_override, arguments.pop("overrides")))
    return Command(**arguments, overrides=overrides)
