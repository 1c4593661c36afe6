"""The sampler of a sweep."""

import zlib

from optuna.distributions import BaseDistribution, CategoricalChoiceType
from optuna.samplers import BaseSampler, BruteForceSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

Distributions = dict[str, BaseDistribution]
Drawn = float | int | CategoricalChoiceType


class SeededSampler(BaseSampler):
    """The tree-structured Parzen estimator (Bergstra et al. 2011) with draws that can be repeated.

    A draw depends on the seed, the trial, the key and the trials that have ended, but not on what
    this process has drawn before: a sweep that was interrupted goes on with the same samples.

    Args:
        exhaustive: draw each combination of choices once, in random order, instead.
    """

    def __init__(self, seed: int, exhaustive: bool = False) -> None:
        self.seed, self.kind = seed, BruteForceSampler if exhaustive else TPESampler

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        """The keys that are drawn together: all, once enough trials have ended."""
        return self._sampler(trial, "").infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Drawn]:
        """The values of keys that are drawn together."""
        return self._sampler(trial, "").sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Drawn:
        """The value of a key that is drawn alone."""
        sampler = self._sampler(trial, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _sampler(self, trial: FrozenTrial, name: str) -> BaseSampler:
        return self.kind(seed=zlib.crc32(f"{self.seed} {trial.number} {name}".encode()))
