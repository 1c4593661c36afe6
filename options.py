"""The command line, which hands out the `Config` that it amounts to.

Nothing heavy is imported, so that `--help` and a mistyped key are answered at once.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from errors import InputError
from misc.runtime.outputs import FEATURES
from misc.runtime.script import given, given_path
from misc.settings.base import LONGEST_WORD, shorten
from misc.settings.merging import Layer
from misc.settings.recipes import (
    RECIPES,
    chosen_backbone,
    dump,
    find_recipe,
    read_recipe,
    recognise_backbone,
    resolve,
    to_tree,
    with_backbones,
)
from misc.settings.sections import Config
from misc.settings.yaml12 import read_yaml
from model.backbones import KINDS
from model.trees import Tree

__all__ = ["RECIPES", "Command", "Config", "dump", "parse", "to_tree"]

DEFAULT, SIMPLIFIED = RECIPES / "config.yaml", RECIPES / "s.config.yaml"
COMMAND_LINE = "command line"
CLEANED: Tree = {"experiment": {"clean_captions": True}}  # as all runs were before there was a key


@dataclass(frozen=True)
class Command:
    """A parsed command line; `configure` makes a configuration of it."""

    config: Path | None
    simplified: bool
    backbone: str | None
    sweep: Path | None  # the file of a study of many runs
    evaluate: tuple[str, ...]  # checkpoints, or folders of runs
    resume: str | None  # "auto" or a checkpoint
    save_features: Path | None
    output: Path | None
    overwrite: bool
    allow_changes: bool
    profile: bool
    device: str | None
    overrides: tuple[Layer, ...]

    @property
    def recipe(self) -> str:
        """A name for the recipe, from its file; `config.yaml` of a run has that of its folder."""
        file = (self.config or DEFAULT).resolve()
        names = {DEFAULT: "tbps_clip", SIMPLIFIED: "tbps_clip-simplified"}
        run = file.parent.name if file.stem == "config" else file.stem
        if file.is_relative_to(RECIPES) and file.parent != RECIPES:  # one of a dataset
            run = f"{file.parent.name}-{run}"
        name = names.get(file, run)
        suffix = "-simplified" if self.simplified and not name.endswith("-simplified") else ""
        return name + suffix

    def configure(self, saved: Tree | None = None, project: Tree | None = None) -> Config:
        """The recipe, with `--simplified`, `--backbone` and `key=value` laid over it, checked.

        Args:
            saved: the `to_tree` of a run's configuration. It takes the recipe's place, unless the
                command line names one.
            project: settings of a public project, over the defaults alone.

        Raises:
            InputError: one line per mistake, with its source.
        """
        layers = read_recipe(self.config or DEFAULT, "--config")
        alone = (self.config or DEFAULT).resolve()
        is_whole = len(layers) == 1 and alone != DEFAULT  # a run's own configuration
        above_defaults = 0 if is_whole else 1
        if project:
            layers.insert(above_defaults, Layer(project, "the checkpoint's project"))
        if saved is not None and not (self.config or self.simplified or self.backbone):
            # Over the defaults, for the keys that have come since.
            layers.append(Layer(saved, "the configuration saved with the run"))
        elif saved is not None:
            if "clean_captions" not in saved["experiment"]:
                layers.append(Layer(CLEANED, "the run, which is older than this key"))
            if mixture := saved["experiment"].get("mixture"):  # its default was not always null
                fit = {"experiment": {"mixture": mixture}}
                layers.insert(above_defaults, Layer(fit, "the configuration saved with the run"))
        if self.simplified:
            layers.append(read_recipe(SIMPLIFIED, "--simplified")[-1])
        overrides = self.overrides
        if self.backbone is None and not any(map(chosen_backbone, overrides)):
            overrides = tuple(map(recognise_backbone, overrides))
        for name in (self.backbone, *map(chosen_backbone, overrides)):
            if name is not None:
                layers.append(Layer({"model": {"backbone": name}}, COMMAND_LINE))
        config = resolve([*with_backbones(layers), *overrides])
        if self.simplified and config.task != "text_to_image":
            raise InputError(
                f"--simplified needs task text_to_image, but the recipe is for {config.task}: "
                "leave it out"
            )
        return config


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        hint = "--help lists the options, and settings are written section.key=value"
        raise InputError(f"{COMMAND_LINE}: {shorten(message, 300)}; {hint}")


def _overrides(words: Sequence[str]) -> tuple[Layer, ...]:
    """The settings as layers, each key once: which of two values is meant cannot be known."""
    layers: dict[str, tuple[str, Layer]] = {}
    for word in words:
        layer, key = _override(word), word.partition("=")[0]
        if key in layers:
            given = f"{shorten(layers[key][0])} and {shorten(word)}"
            raise InputError(f"{COMMAND_LINE}: {given} set the same key; give one of them")
        layers[key] = word, layer
    return tuple(layer for _, layer in layers.values())


def _override(word: str) -> Layer:
    """`section.key=value` as a layer; the value is YAML."""
    key, equals, text = word.partition("=")
    if not (key and equals):
        named = shorten(repr(word))
        raise InputError(f"{COMMAND_LINE}: {named} is neither an option nor section.key=value")
    tree = read_yaml(text, f"{COMMAND_LINE}: {shorten(word)}")
    if len(key) > LONGEST_WORD:
        raise InputError(
            f"{COMMAND_LINE}: there is no key {shorten(key)}; config.yaml has them all"
        )
    for name in reversed(key.split(".")):
        tree = {name: tree}
    return Layer(tree, COMMAND_LINE)


EPILOG = """\
section.key=value sets any key of config/config.yaml (the value is YAML):
  python main.py data.annotation_file=CUHK-PEDES/reid_raw.json data.image_root=CUHK-PEDES/imgs \\
                 model.clip_pretrained=ViT-B-16.pt
  torchrun --nproc_per_node=4 main.py --simplified schedule.lr=5e-5 'data.image_size=[384, 128]'
  python main.py --config rde --backbone siglip data.annotation_file=... data.image_root=...
  python main.py --config config/demo.yaml --output runs/demo
  python main.py --evaluate runs/demo
  python main.py --sweep lr.yaml --output runs/lr
"""


def parse(argv: Sequence[str] | None = None) -> Command:
    """Parse the command line, `sys.argv` unless given.

    Raises:
        InputError: an unknown option, options that exclude each other, or a setting that is not
            YAML.
    """
    parser = _build_parser()
    arguments = vars(parser.parse_intermixed_args(argv))
    arguments["evaluate"] = tuple(arguments["evaluate"])
    if len(arguments["config"]) > 1:
        given = " and ".join(map(str, arguments["config"]))
        raise InputError(
            f"{COMMAND_LINE}: --config is given several times ({given}): give one recipe, which "
            "may name several bases by `base: [A, B]`"
        )
    recipe = next(iter(arguments["config"]), None)
    arguments["config"] = None if recipe is None else find_recipe(recipe, "--config")
    if arguments["sweep"]:
        for name in ("evaluate", "resume", "save_features", "overwrite", "profile"):
            if arguments[name]:
                parser.error(f"--sweep and --{name.replace('_', '-')} do not go together")
    if arguments["evaluate"] and arguments["resume"] is not None:
        parser.error("--evaluate and --resume do not go together, give one of them")
    if arguments["save_features"] is not None and len(arguments["evaluate"]) != 1:
        parser.error("--save-features goes with one --evaluate")
    if arguments["allow_changes"] and arguments["resume"] is None:
        parser.error("--allow-changes goes with --resume")
    if arguments["profile"] and arguments["evaluate"]:
        parser.error("--profile is of a training, and --evaluate trains nothing")
    if arguments["overwrite"] and (arguments["output"] is None or arguments["resume"] is not None):
        parser.error("--overwrite goes with --output, and not with --resume")
    output = arguments["output"]
    if output and output.exists() and not output.is_dir():
        parser.error(f"--output {output} is a file, give a folder")
    overrides = _overrides(arguments.pop("overrides"))
    return Command(**arguments, overrides=overrides)


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="main.py",
        description="Train or evaluate a person search model, in one process or under torchrun.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    several: dict[str, Any] = {"action": "append", "default": []}
    known = (
        "recipe: a YAML file, or the name of one in config/, such as irra or veri776/clipreid_vit "
        "(default: tbps_clip, which is config/config.yaml)"
    )
    add("--config", **several, type=given_path, metavar="RECIPE", help=known)
    add("--simplified", action="store_true", help="apply the simplified TBPS-CLIP to the recipe")
    add("--backbone", metavar="NAME", help=f"change the recipe's backbone: {' or '.join(KINDS)}")
    known = (
        "evaluate a checkpoint or a run's folder without training; repeat it to compare several, "
        "or to get the mean and standard deviation of runs that differ in the seed"
    )
    add("--evaluate", **several, type=given, metavar="PATH", help=known)
    known = "train many times with settings that FILE varies, and find the best (docs/sweep.md)"
    add("--sweep", type=given_path, metavar="FILE", help=known)
    known = "continue a run; auto: the run in --output, else the recipe's newest, if any exists"
    add("--resume", type=given, metavar="PATH", help=known)
    add("--save-features", type=FEATURES, metavar="FILE", help="with --evaluate: save the features")
    known = "the run's folder (default: runs/RECIPE-TIME)"
    add("--output", type=given_path, metavar="DIR", help=known)
    add("--overwrite", action="store_true", help="remove the record of the run in --output first")
    known = "with --resume: go on with other settings or data than the run's, where they fit"
    add("--allow-changes", action="store_true", help=known)
    known = "record a trace of a few training steps in the run's folder (docs/performance.md)"
    add("--profile", action="store_true", help=known)
    add("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    known = "settings that override the recipe"
    add("overrides", nargs="*", metavar="section.key=value", help=known)
    return parser
