"""The importance of the keys of a sweep: the share of the metric's variance that each explains."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from optuna import Study
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from misc.runtime.atomic import atomic_write

LEAST = 10  # trials: a forest on fewer says little
BAR = "#1b5e8c"
DPI = 110


def importances(study: Study, seed: int) -> dict[str, float] | str:
    """The importance of each key by fANOVA (Hutter et al., ICML 2014), in shares that sum to 1.

    Returns:
        The shares, largest first, or a sentence that says why there are none; it is empty where
        fewer than two keys are varied.
    """
    ended = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    keys = ended[0].params if ended else {}
    if len(keys) < 2:
        return ""
    if len(ended) < LEAST:
        return (
            f"The importance of the keys needs {LEAST} trials that have ended, and there are "
            f"{len(ended)}: raise `trials`, or set `prune: none`."
        )
    if len({trial.value for trial in ended}) == 1:
        return "No key has an importance: all trials have the same value."
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed))


def draw_importances(file: Path, shares: Mapping[str, float], metric: str, trials: int) -> None:
    """Write a PNG with a bar for each key.

    Args:
        metric: that the keys explain.
        trials: that the shares rest on.
    """
    figure = Figure(figsize=(6.4, 0.9 + 0.35 * len(shares)), layout="constrained")
    FigureCanvasAgg(figure)
    area = figure.subplots()
    bars = area.barh([*shares], [100 * share for share in shares.values()], color=BAR)
    area.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
    area.invert_yaxis()
    area.set_xlabel(f"% of the variance of {metric} over {trials} trials (fANOVA)")
    area.spines[["top", "right"]].set_visible(False)
    with atomic_write(file) as partial:
        figure.savefig(partial, dpi=DPI, format="png")
