"""The evaluation of both tasks that chooses the best checkpoint."""

from dataclasses import dataclass, field

from misc.retrieval.base import Results
from misc.retrieval.image import DIRECTION
from misc.settings.sections import SelectionWeights
from misc.training.engine import Selection

WORDS, PICTURES = ("text to image", "R1"), (DIRECTION, "mAP")


@dataclass(frozen=True)
class JointSelection(Selection):
    """A selection by the weighted mean of text-to-image R1 and re-identification's mAP."""

    weights: SelectionWeights = field(default_factory=SelectionWeights)

    def score(self, results: Results) -> float:
        text, reid = (results[direction][metric] for direction, metric in (WORDS, PICTURES))
        weights = self.weights
        return (weights.text * text + weights.reid * reid) / (weights.text + weights.reid)

    def describe(self, results: Results) -> str:
        text, reid = (results[direction][metric] for direction, metric in (WORDS, PICTURES))
        return (
            f"mean of text R1 {text:.2f} (weight {self.weights.text:g}) and re-identification mAP "
            f"{reid:.2f} (weight {self.weights.reid:g}): {self.score(results):.2f}"
        )
