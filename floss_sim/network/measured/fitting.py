"""Fleet fitting: the simplest law that keeps the rates, round trips and round times of speed tests.

The laws, in the order of simplicity:

``classes``
    Rows are sorted by download rate and cut into K groups of equal weight. The weight of a row at a
    cut is split between both groups. Each class has the median download rate, upload rate and
    round trip of one group, so that download and upload stay related.
``lognormal``
    Mean, standard deviation and correlation of the logarithms of all tests.
``rows``
    The tests themselves, each with a probability proportional to its weight. It has no error.

Classes lose the slow tail, which decides the time of a round that waits for all its clients. So a
law is accepted only if its figures (see fit_figures.py) are those of the tests within 10 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from floss_sim.errors import ProfileError
from floss_sim.network.measured.fit_figures import TOLERANCE, figures_of, largest_deviations
from floss_sim.network.measured.fitted_classes import FittedClass, links_of_classes
from floss_sim.network.measured.speed_tests import SpeedTests
from floss_sim.network.measured.weighted_links import WeightedLinks
from floss_sim.network.measured.weighted_statistics import FloatArray, quantile
from floss_sim.units import format_duration, format_rate, parse_duration, parse_rate

FitLaw = Literal["classes", "lognormal", "rows"]
LAWS: tuple[FitLaw, ...] = get_args(FitLaw)
_DEFAULT_CLASSES = 4
MOST_TRIED = 8  # classes of an automatic fit; more would be the tests by another name
_SHARE_DIGITS = 4  # decimal places of a class's share
_SIGMA_DIGITS = 4
_HIGHEST_SIGMA = 5.0  # that a profile may have


@dataclass(frozen=True)
class Fit:
    """A law fitted to speed tests.

    Attributes:
        law: ``"classes"``, ``"lognormal"`` (one class with spread) or ``"rows"``.
        tests: Speed tests behind the fit.
        classes: The classes, slowest download first, with rates and round trips rounded to three
            significant digits; empty for rows.
        links: Links with the distribution of the law; for rows the tests themselves, in their order
            and unrounded.
        is_chosen: Whether the law was chosen as the simplest acceptable one.
    """

    law: FitLaw
    tests: SpeedTests
    classes: tuple[FittedClass, ...]
    links: WeightedLinks
    is_chosen: bool = False

    @property
    def is_acceptable(self) -> bool:
        """Whether all figures of the fit are those of the tests within 10 %."""
        deviations = largest_deviations(figures_of(self.tests.links), figures_of(self.links))
        return all(abs(each.relative) <= TOLERANCE for each in deviations.values())


def fit_law(tests: SpeedTests, law: str | None = None, classes: int | None = None) -> Fit:
    """Return the fit of a law, or of the simplest law that keeps the figures of the tests.

    Args:
        tests: The speed tests.
        law: ``"classes"``, ``"lognormal"`` or ``"rows"``; None to choose.
        classes: Number of classes, which implies that law; None to choose, or 4.

    Raises:
        ProfileError: An unknown law, or a number of classes for another law.
    """
    if law not in (None, *LAWS):
        raise ProfileError(f"--law {law!r} is unknown; valid: {', '.join(LAWS)}")
    if classes is not None and law not in (None, "classes"):
        raise ProfileError(f"--classes requires --law classes; --law {law} has no classes")
    if law == "classes" or classes is not None:
        return fit_classes(tests, classes or _DEFAULT_CLASSES)
    if law == "lognormal":
        return fit_lognormal(tests)
    return fit_rows(tests) if law == "rows" else simplest_fit(tests)


def simplest_fit(tests: SpeedTests) -> Fit:
    """Return the simplest fit whose figures are those of the tests within 10 %."""
    found = next(fit for fit in _candidates(tests) if fit.is_acceptable)
    return replace(found, is_chosen=True)


def _candidates(tests: SpeedTests) -> Iterator[Fit]:
    """Yield fits in the order of simplicity; the last one is always acceptable."""
    for classes in range(1, MOST_TRIED + 1):
        yield fit_classes(tests, classes)
    yield fit_lognormal(tests)
    yield fit_rows(tests)


def fit_classes(tests: SpeedTests, classes: int) -> Fit:
    """Return ``classes`` classes of equal share without spread, fitted to the tests."""
    share_K = np.full(classes, round(1 / classes, _SHARE_DIGITS))
    share_K[-1] = round(1 - share_K[:-1].sum(), _SHARE_DIGITS)
    fitted = tuple(
        FittedClass(
            share,
            _rounded_rate(quantile(links.down_bits_per_s, links.weights, 0.5)),
            _rounded_rate(quantile(links.up_bits_per_s, links.weights, 0.5)),
            _rounded_duration(quantile(links.rtt_s, links.weights, 0.5)),
        )
        for share, links in zip(share_K.tolist(), _groups(tests.links, classes), strict=True)
    )
    return Fit("classes", tests, fitted, links_of_classes(fitted))


def fit_lognormal(tests: SpeedTests) -> Fit:
    """Return the lognormal law whose logarithms have the moments of the tests' logarithms."""
    links = tests.links
    logs = np.log([links.down_bits_per_s, links.up_bits_per_s, links.rtt_s])
    means = np.average(logs, axis=1, weights=links.weights)
    covariance = np.cov(logs, aweights=links.weights, ddof=0)
    sigmas = np.minimum(np.sqrt(np.diag(covariance)), _HIGHEST_SIGMA).round(_SIGMA_DIGITS)
    product = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    correlation = covariance[0, 1] / product if sigmas[:2].all() else 0.0
    down, up, rtt = np.exp(means).tolist()
    down_sigma, up_sigma, rtt_sigma = sigmas.tolist()
    one = FittedClass(
        share=1.0,
        down_bits_per_s=_rounded_rate(down),
        up_bits_per_s=_rounded_rate(up),
        rtt_s=_rounded_duration(rtt),
        down_sigma=down_sigma,
        up_sigma=up_sigma,
        rtt_sigma=rtt_sigma,
        correlation=round(float(np.clip(correlation, -1, 1)), _SIGMA_DIGITS),
    )
    return Fit("lognormal", tests, (one,), links_of_classes([one]))


def fit_rows(tests: SpeedTests) -> Fit:
    """Return the tests as a fleet of rows, each with a share proportional to its weight."""
    return Fit("rows", tests, (), tests.links)


def _groups(links: WeightedLinks, count: int) -> Iterator[WeightedLinks]:
    """Yield groups of equal weight, by download rate; a link at a cut is in both, by parts."""
    order = np.lexsort((links.rtt_s, links.up_bits_per_s, links.down_bits_per_s))
    end_N = np.cumsum(links.weights[order]) / links.weights.sum()
    start_N: FloatArray = np.concatenate([[0.0], end_N[:-1]])
    for k in range(count):
        part_N = np.minimum(end_N, (k + 1) / count) - np.maximum(start_N, k / count)
        inside = part_N > 0
        rows = order[inside]
        yield WeightedLinks(
            links.down_bits_per_s[rows], links.up_bits_per_s[rows], links.rtt_s[rows],
            part_N[inside],
        )  # fmt: skip


def _rounded_rate(bits_per_s: float) -> float:
    return parse_rate(format_rate(bits_per_s))


def _rounded_duration(seconds: float) -> float:
    return parse_duration(format_duration(seconds))
