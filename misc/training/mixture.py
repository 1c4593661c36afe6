"""Two components in the losses of a training set: pairs that fit, and pairs that do not."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from misc.datasets.rstpreid import RSTPREID

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture


@dataclass(frozen=True)
class MixtureSettings:
    """Settings of the expectation maximisation, in scikit-learn's meaning."""

    max_iter: int = 10
    tol: float = 1e-2
    reg: float = 5e-4


MUCH_NOISE = 0.4  # above it, and on RSTPReid, RDE's code fits longer


def published_fit(noise: float, dataset: str) -> MixtureSettings:
    """The settings of RDE's code (Qin et al. 2024, arXiv 2308.09911).

    Args:
        noise: the share of the pairs into which noise was injected.
        dataset: the name of the dataset.
    """
    if noise > MUCH_NOISE or dataset == RSTPREID.name:
        return MixtureSettings(max_iter=100, tol=1e-4, reg=1e-6)
    return MixtureSettings()


# Of two components that are told apart (Ashman et al. 1994, Detecting Bimodality in Astronomical
# Datasets, AJ 108).
SEPARATED = 2.0
COINCIDENT = 0.1  # closer than that they are one
ROUNDING = 1e-6  # relative, of losses in float32


class Parted(NamedTuple):
    """The pairs that are clean (N,), and remarks on the fit."""

    clean: NDArray[np.bool_]
    remarks: tuple[str, ...] = ()


def part_by_loss(losses: NDArray[np.float32], settings: MixtureSettings, seed: int = 0) -> Parted:
    """Part pairs by a Gaussian mixture on their losses (Qin et al. 2024, arXiv 2308.09911, eq. 9).

    Clean are those that more likely belong to the component of the lower mean. If all do, the 1 %
    that are least likely to are noisy; if there is one component only, none is. As published, a
    fit is used that has not converged, and losses of one kind are parted into components that
    overlap: both are only remarked on.

    Args:
        losses: (N,), finite.
    """
    spread = losses.max() - losses.min()
    if spread <= ROUNDING * np.abs(losses).max():
        return Parted(np.ones(len(losses), bool), ("all losses are equal: all pairs are clean",))
    scaled = ((losses - losses.min()) / spread).reshape(-1, 1)
    mixture = _fit(scaled, settings, seed)
    remarks = []
    if not mixture.converged_:
        remarks.append(
            f"the mixture has not converged in {settings.max_iter} iterations "
            "(experiment.mixture.max_iter), and is used as it is"
        )
    separation = _separation(mixture.means_.ravel(), mixture.covariances_.ravel())
    if len(losses) * mixture.weights_.min() < 0.5 or separation < COINCIDENT:
        remarks.append("one component was found: all pairs are clean")
        return Parted(np.ones(len(losses), bool), tuple(remarks))
    if separation < SEPARATED:
        remarks.append(
            "the two components of the losses overlap: if there is no noise, pairs that fit are "
            "left out (experiment.division=none keeps them)"
        )
    p = mixture.predict_proba(scaled)[:, mixture.means_.argmin()]
    threshold = 0.5 if p.min() <= 0.5 else np.sort(p)[len(p) // 100]
    return Parted(p > threshold, tuple(remarks))


def _fit(scaled: NDArray[np.float32], settings: MixtureSettings, seed: int) -> "GaussianMixture":
    """A mixture of two components, converged or not."""
    from sklearn.exceptions import ConvergenceWarning  # here: it takes a second, and few need it
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        2, max_iter=settings.max_iter, tol=settings.tol, reg_covar=settings.reg, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is a remark
        mixture.fit(scaled)
    return mixture


def _separation(means: NDArray[np.float64], variances: NDArray[np.float64]) -> float:
    """Ashman's D of two components: the distance of their means in their mean deviation."""
    return float(abs(means[0] - means[1]) / np.sqrt(variances.mean()))
