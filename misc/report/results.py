"""Results of runs in rows: measured, beside them published ones in a column of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from misc.report.configuration import Setting, differences, show
from misc.report.run import Run, recipe_setting
from misc.retrieval.base import METRICS
from misc.retrieval.report import summarise
from misc.settings.loss_sections import ReIDLossSwitches, TextLossSwitches
from misc.settings.yaml12 import read_yaml

PUBLISHED = Path(__file__).with_name("published.yaml")
MAIN = ("text to image", "image to image")  # the directions that papers report
PUBLISHED_NOTE = (
    "Published numbers are those of the papers, on the datasets as published; all others were "
    "measured by these runs, on the data that their configuration names."
)
TITLES = ("Run", "Test set", "Direction", *METRICS, "Published", "Source")
METHOD = (  # the keys, and sections of keys, that make a recipe the published method
    *("task", "model.backbone", "model.embed_dim", "model.stride", "model.last_stride"),
    *("model.init_from", "model.token_selection", "model.class_tokens"),
    *("data.image_size", "data.noise", "data.train_sets", "reid.train_sets"),
    *("prompts", "adapters", "lora", "tuning", "reid.sie"),
    *("experiment.losses", "experiment.division", "experiment.token_change"),
    *(f"experiment.{name}" for name in TextLossSwitches.model_fields),
    *(f"reid.{name}" for name in ReIDLossSwitches.model_fields),
)
HUBS = ("hf:", "open_clip:")  # whose names tell the weights; that of a local file does not
PUBLISHED_WEIGHTS = (  # OpenAI's, which all these papers start from
    "hf:openai/clip-vit-base-patch16",
    *(f"open_clip:{name}/openai" for name in ("ViT-B-16", "ViT-B-16-quickgelu")),
    *(f"open_clip:{name}/openai" for name in ("RN50", "RN50-quickgelu")),
)
TOWER = ("width", "layers", "heads", "patch_size")  # the sizes that tell CLIP's image towers apart
WORDS = 3  # columns, from the left
LATEX = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"±": r"$\pm$", "\\": r"\textbackslash{}", "~": r"\~{}", "^": r"\^{}"}
)


@dataclass(frozen=True)
class Publication:
    """The results of a paper, by dataset and metric, in percent, with the paper's digits."""

    recipe: str
    method: str
    source: str
    results: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Row:
    """Results of one run, or of runs that differ in the seed, on one test set.

    Args:
        measured: a cell for each metric, with the deviation over several runs.
        published: a cell; empty where nothing is published of this method and dataset.
    """

    name: str
    dataset: str
    direction: str
    measured: Sequence[str]
    published: str = ""
    source: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table."""
        labels = self.name, self.dataset, self.direction
        return (*labels, *self.measured, self.published, self.source)


def read_publications() -> list[Publication]:
    """The published results that this project knows."""
    text = PUBLISHED.read_text(encoding="utf-8")
    return [Publication(**entry) for entry in read_yaml(text, PUBLISHED.name)]


def result_rows(groups: Mapping[str, Sequence[Run]]) -> list[Row]:
    """The closing results of groups of runs, with what was published of their recipe.

    Args:
        groups: runs that differ in the seed alone, by name; those that have not ended are left out.
    """
    rows = []
    for name, group in groups.items():
        ended = [run for run in group if run.results]
        publication = find_publication(ended[0]) if ended else None
        tables = ended[0].results if ended else {}
        for dataset, directions in tables.items():
            own = dataset == next(
                iter(tables)
            )  # further test sets are not of the training's dataset
            for direction in directions:
                found = [run.results.get(dataset, {}).get(direction) for run in ended]
                values = [metrics for metrics in found if metrics]
                cells = [str(summarise([row[metric] for row in values])) for metric in METRICS]
                printed = _published(publication if own else None, dataset, direction)
                rows.append(Row(name, dataset, direction, cells, *printed))
    return rows


def find_publication(run: Run) -> Publication | None:
    """The publication of a run's recipe; None if the run is of another method: with other weights,
    another backbone, tuning, losses, size of images or training data.
    """
    entries = (entry for entry in read_publications() if entry.recipe == run.recipe)
    if (publication := next(entries, None)) is None:
        return None
    _, recipe = recipe_setting(run.recipe)
    changed = differences([recipe, run.setting])
    is_other = any(key == name or key.startswith(f"{name}.") for key in changed for name in METHOD)
    if is_other or not _has_published_weights(run) or not _has_tower(run, recipe):
        return None
    return publication


def _has_published_weights(run: Run) -> bool:
    """Whether a run starts from OpenAI's weights, as far as their name tells."""
    source = run.config.model.source
    return source is not None and (source in PUBLISHED_WEIGHTS or not source.startswith(HUBS))


def _has_tower(run: Run, recipe: Setting) -> bool:
    """Whether the image tower is that of the recipe; taken for granted without a checkpoint."""
    if run.checkpoint is None:
        return True
    architecture = run.checkpoint.architecture
    vision = asdict(architecture.vision)
    held = {f"vision.{name}": vision.get(name) for name in TOWER}
    held["embed_dim"] = architecture.embed_dim
    return all(show(value) == show(recipe[f"model.{key}"]) for key, value in held.items())


def _published(publication: Publication | None, dataset: str, direction: str) -> tuple[str, str]:
    name = dataset.removesuffix(" test")
    if publication is None or direction not in MAIN or name not in publication.results:
        return "", ""
    values = publication.results[name]
    cell = ", ".join(f"{metric} {value}" for metric, value in values.items())
    return cell, f"{publication.method}: {publication.source}"


def to_markdown(rows: Sequence[Row]) -> str:
    """A table in markdown."""
    numbers = len(METRICS)
    ends = len(TITLES) - WORDS - numbers
    lines = [_line(TITLES), f"|{'---|' * WORDS}{'---:|' * numbers}{'---|' * ends}"]
    lines += [_line([cell.replace("|", "\\|") for cell in row.cells]) for row in rows]
    return "\n".join([*lines, "", PUBLISHED_NOTE]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def to_latex(rows: Sequence[Row]) -> str:
    """A table in LaTeX; it needs the package booktabs."""
    ends = len(TITLES) - WORDS - len(METRICS)
    body = [" & ".join(cell.translate(LATEX) for cell in row.cells) + r" \\" for row in rows]
    lines = [
        f"% {PUBLISHED_NOTE}",
        rf"\begin{{tabular}}{{{'l' * WORDS}{'r' * len(METRICS)}{'l' * ends}}}",
        r"\toprule",
        " & ".join(TITLES) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"
