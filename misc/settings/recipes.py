"""Recipes: YAML files, each a delta on the files that its `base:` names."""

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from errors import InputError
from misc.settings.base import LONGEST_WORD, Section, shorten
from misc.settings.checks import disagreements
from misc.settings.keys import content_at
from misc.settings.merging import Layer, Merging
from misc.settings.sections import Config
from misc.settings.wording import Location, missing_keys, quote, wrong_value
from misc.settings.yaml12 import LONGEST, read_yaml, write_yaml
from model.backbones import KINDS, recognise
from model.trees import Tree

RECIPES = Path(__file__).resolve().parents[2] / "config"
MOST_BASES = 20  # one on another


def to_tree(config: Section) -> Tree:
    """The configuration as plain dicts, lists and scalars, as a checkpoint holds it."""
    return config.model_dump(mode="json")


def dump(config: Config) -> str:
    """The configuration as YAML that `--config` reads back to an equal one."""
    return write_yaml(to_tree(config))


def known_recipes() -> dict[str, Path]:
    """The files in `config/` by the names that `--config` takes, such as veri776/clipreid_vit."""
    files = sorted(RECIPES.rglob("*.yaml"))
    return {file.relative_to(RECIPES).with_suffix("").as_posix(): file for file in files} | {
        "tbps_clip": RECIPES / "config.yaml"
    }


def find_recipe(path: Path, named_by: str) -> Path:
    """The file of a recipe: the one at `path`, or else the one in `config/` of this name.

    Args:
        named_by: the option or file that names it, for error messages.

    Raises:
        InputError: it is a mere name, and no recipe has it; the nearest ones are told.
    """
    known, name = known_recipes(), path.as_posix()
    if os.path.isfile(path):
        return path
    if name in known:
        return known[name]
    if path.suffix or len(path.parts) != 1 or os.path.exists(path):
        return path  # which `read_recipe` refuses
    near = get_close_matches(name[:LONGEST_WORD], known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the names are {', '.join(known)}"
    raise InputError(f"{named_by}: there is no file or recipe {shorten(name)}: {hint}")


def read_recipe(path: Path, named_by: str) -> list[Layer]:
    """The layers of a recipe, its deepest base first.

    Several bases lie one over another, the first one lowest; files that they share come once.

    Args:
        named_by: the option or file that names this recipe, for error messages.

    Raises:
        InputError: a file cannot be read, is its own base, or stands on too many others.
    """
    layers: dict[str, Layer] = {}  # by real path
    _lay(path, named_by, (), layers)
    return [*layers.values()]


def _lay(path: Path, named_by: str, above: tuple[str, ...], layers: dict[str, Layer]) -> None:
    """Add a recipe to `layers` after its bases, unless it is among them.

    Args:
        above: recipes that led here.
    """
    file = os.path.realpath(path)
    if file in above:
        raise InputError(f"{named_by}: {path} is its own base, take one `base:` out")
    if len(above) > MOST_BASES:
        raise InputError(f"{named_by}: a recipe stands on at most {MOST_BASES} others: merge some")
    if file in layers:
        return
    tree, source = read_layer(path, named_by)
    delta = {key: value for key, value in tree.items() if key != "base"}
    base = tree.get("base", [])
    bases = [base] if isinstance(base, str) else base
    if not isinstance(bases, list) or not all(isinstance(name, str) for name in bases):
        raise InputError(f"{source}: base is {quote(base)}, expected the name of a YAML file")
    for name in bases:
        _lay(path.parent / name, f"{source}: base", (*above, file), layers)
    layers[file] = Layer(delta, source)


def read_layer(path: Path, named_by: str, kind: str = "recipe") -> Layer:
    """The keys of one YAML file.

    Args:
        named_by: the option or file that names it, for error messages.
        kind: what errors call it.

    Raises:
        InputError: it cannot be read, or holds no keys.
    """
    source = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a device or a pipe may never end
            why = f"{source} is not a file"
            raise InputError(f"{named_by}: {why}, give the path of a YAML {kind}")
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(LONGEST + 1)
    except OSError as error:
        why = f"cannot read {source} ({error.strerror})"
        raise InputError(f"{named_by}: {why}, give the path of a YAML {kind}") from None
    except UnicodeDecodeError:
        raise InputError(f"{named_by}: {source} is not a text file in UTF-8") from None
    tree = read_yaml(text, source)
    if not isinstance(tree, dict | None):
        raise InputError(f"{source}: a {kind} is sections of keys, not {quote(tree)}")
    return Layer(tree or {}, source)


def chosen_backbone(layer: Layer) -> str | None:
    """The backbone that a layer chooses, if it does."""
    model = layer.tree.get("model")
    name = model.get("backbone") if isinstance(model, Mapping) else None
    return name if isinstance(name, str) else None


def recognise_backbone(layer: Layer) -> Layer:
    """The layer with the backbone whose weights it names as `model.clip_pretrained`, unless it
    names a backbone itself, or these weights do not tell theirs.
    """
    model = layer.tree.get("model")
    if not isinstance(model, Mapping) or "backbone" in model:
        return layer
    source = model.get("clip_pretrained")
    kind = recognise(source) if isinstance(source, str) else None
    if kind is None or kind.name == "clip":
        return layer
    chosen = {**model, "backbone": kind.name, kind.source_key: source}
    return layer._replace(tree={**layer.tree, "model": chosen})


def with_backbones(layers: Sequence[Layer]) -> Iterator[Layer]:
    """The layers, with the recipe of a backbone, if any, below each layer that turns to it."""
    current = None
    for layer in layers:
        layer = recognise_backbone(layer)
        before, current = current, chosen_backbone(layer) or current
        if current in KINDS and current != before and (recipe := KINDS[current].recipe):
            yield read_recipe(RECIPES / recipe, current)[-1]
        yield layer


def resolve(layers: Sequence[Layer]) -> Config:
    """The configuration that layers amount to, the first one lowest.

    Raises:
        InputError: a line for each mistake, with its source.
    """
    merging = Merging(layers)
    config, problems = _validate(merging.tree)
    if merging.faults:  # what is missing, or fits no other key, may be their consequence
        problems = [problem for problem in problems if not _is_about_several_keys(problem)]
    elif config is not None:
        problems = [*disagreements(config)]
    sentences = [*merging.faults, *_missing(problems, merging)]
    for problem in problems:
        within = [p for p in problems if p["loc"][: len(problem["loc"])] == problem["loc"]]
        if problem["type"] == "too_short" and len(within) > 1:
            continue  # a value in it is wrong, and was not counted
        if problem["type"] != "missing":
            sentences.append(f"{merging.source(problem['loc'])}: {wrong_value(problem)}")
    if sentences:
        raise InputError("\n".join(sentences))
    assert config is not None
    return config


def resolve_saved(saved: Tree) -> Config:
    """The configuration that a run was trained with, with the defaults of keys that are newer.

    Args:
        saved: its `to_tree`.

    Raises:
        InputError: it is no longer valid.
    """
    defaults = read_recipe(RECIPES / "config.yaml", "the defaults")
    layers = [*defaults, Layer(saved, "the configuration saved with the run")]
    return resolve([*with_backbones(layers)])


def _validate(tree: Tree) -> tuple[Config | None, list[ErrorDetails]]:
    try:
        # Through JSON, because from there pydantic's strict mode takes a list for a tuple.
        return Config.model_validate_json(json.dumps(tree)), []
    except ValidationError as error:
        return None, error.errors()


def _missing(problems: Sequence[ErrorDetails], merging: Merging) -> Iterator[str]:
    """One sentence for all keys that a base would bring, and one for each section without it."""
    locations: dict[Location, list[Location]] = {}
    for problem in problems:
        if problem["type"] == "missing":
            *parent, _ = problem["loc"]
            in_list = any(isinstance(part, int) for part in problem["loc"])
            is_own = in_list or content_at(parent).optional
            locations.setdefault(tuple(parent) if is_own else (), []).append(problem["loc"])
    for section, missing in locations.items():
        advice = "" if section else ", begin the recipe with `base: config.yaml`"
        yield f"{merging.source(section)}: {missing_keys(missing)}{advice}"


def _is_about_several_keys(problem: ErrorDetails) -> bool:
    inside = content_at(problem["loc"]).kind in ("section", "entries")
    return problem["type"] == "missing" or (problem["type"] == "value_error" and inside)
