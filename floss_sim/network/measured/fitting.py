"""Fleet fitting: the simplest law that keeps the rates, round trips and round times of speed tests.

The laws, in the order of simplicity:

``classes``
    Rows are sorted by download rate and cut into K groups of equal weight. The weight of a row at a
    cut is split between both groups. Each class has the median download rate, upload rate and
    round trip of one group, so that download and upload stay related.
``lognormal``
    Mean, standard deviation and correlation of the logarithms of all tests.
``spread-classes``
    Groups as for classes, with mean, standard deviation and correlation of the logarithms of each.
``rows``
    The tests themselves, each with a probability proportional to its weight. It has no error.

Classes lose the slow tail, which decides the time of a round that waits for all its clients. So a
law is accepted only if its figures (see fit_figures.py) are those of the tests within 10 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from floss_sim.errors import ProfileError
from floss_sim.network.measured.fit_figures import (
    TOLERANCE,
    Deviation,
    Figures,
    figures_of,
    largest_deviations,
)
from floss_sim.network.measured.fitted_classes import FittedClass, links_of_classes
from floss_sim.network.measured.speed_tests import SpeedTests
from floss_sim.network.measured.weighted_links import WeightedLinks
from floss_sim.network.measured.weighted_statistics import FloatArray, quantile
from floss_sim.units import format_duration, format_rate, parse_duration, parse_rate

FitLaw = Literal["classes", "lognormal", "spread-classes", "rows"]
LAWS: tuple[FitLaw, ...] = get_args(FitLaw)
_DEFAULT_CLASSES = 4
MOST_TRIED = 8  # classes of an automatic fit; more would be the tests by another name
MOST_SPREAD_TRIED = 4  # classes with a spread of an automatic fit
_SHARE_DIGITS = 4  # decimal places of a class's share
_SIGMA_DIGITS = 4
_HIGHEST_SIGMA = 5.0  # that a profile may have


@dataclass(frozen=True)
class Fit:
    """A law fitted to speed tests.

    Attributes:
        law: ``"classes"``, ``"lognormal"`` (one class with spread), ``"spread-classes"`` or
            ``"rows"``.
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

    @cached_property
    def figures(self) -> Figures:
        """The figures of the law, beside those of the tests."""
        return self.tests.figures if self.law == "rows" else figures_of(self.links)

    @property
    def deviations(self) -> dict[str, Deviation]:
        """Largest deviation of each quantity of the fit from that of the tests."""
        return largest_deviations(self.tests.figures, self.figures)

    @property
    def is_acceptable(self) -> bool:
        """Whether all figures of the fit are those of the tests within 10 %."""
        return all(abs(each.relative) <= TOLERANCE for each in self.deviations.values())


def fit_law(tests: SpeedTests, law: str | None = None, classes: int | None = None) -> Fit:
    """Return the fit of a law, or of the simplest law that keeps the figures of the tests.

    Args:
        tests: The speed tests.
        law: ``"classes"``, ``"lognormal"``, ``"spread-classes"`` or ``"rows"``; None to choose.
        classes: Number of classes, without spread unless the law says so; None to choose, or 4.

    Raises:
        ProfileError: An unknown law, or a number of classes for another law.
    """
    if law not in (None, *LAWS):
        raise ProfileError(f"--law {law!r} is unknown; valid: {', '.join(LAWS)}")
    if classes is not None and law in ("lognormal", "rows"):
        raise ProfileError(f"--classes requires --law classes; --law {law} has no classes")
    if law == "spread-classes":
        return fit_spread_classes(tests, classes or _DEFAULT_CLASSES)
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
    for classes in range(2, MOST_SPREAD_TRIED + 1):
        yield fit_spread_classes(tests, classes)
    yield fit_rows(tests)


def fit_classes(tests: SpeedTests, classes: int) -> Fit:
    """Return ``classes`` classes of equal share without spread, fitted to the tests."""
    fitted = tuple(
        FittedClass(
            share,
            _rounded_rate(quantile(links.down_bits_per_s, links.weights, 0.5)),
            _rounded_rate(quantile(links.up_bits_per_s, links.weights, 0.5)),
            _rounded_duration(quantile(links.rtt_s, links.weights, 0.5)),
        )
        for share, links in _groups(tests.links, classes)
    )
    return Fit("classes", tests, fitted, links_of_classes(fitted))


def fit_lognormal(tests: SpeedTests) -> Fit:
    """Return the lognormal law whose logarithms have the moments of the tests' logarithms."""
    one = _lognormal_class(1.0, tests.links)
    return Fit("lognormal", tests, (one,), links_of_classes([one]))


def fit_spread_classes(tests: SpeedTests, classes: int) -> Fit:
    """Return ``classes`` classes of equal share, each with a lognormal law of its group."""
    fitted = tuple(_lognormal_class(*group) for group in _groups(tests.links, classes))
    return Fit("spread-classes", tests, fitted, links_of_classes(fitted))


def fit_rows(tests: SpeedTests) -> Fit:
    """Return the tests as a fleet of rows, each with a share proportional to its weight."""
    return Fit("rows", tests, (), tests.links)


def _lognormal_class(share: float, links: WeightedLinks) -> FittedClass:
    """Return the class whose logarithms have the moments of the links' logarithms."""
    logs = np.log([links.down_bits_per_s, links.up_bits_per_s, links.rtt_s])
    down, up, rtt = np.exp(np.average(logs, axis=1, weights=links.weights)).tolist()
    covariance = np.cov(logs, aweights=links.weights, ddof=0)
    sigmas = np.minimum(np.sqrt(np.diag(covariance)), _HIGHEST_SIGMA).round(_SIGMA_DIGITS)
    product = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    correlation = float(covariance[0, 1]) / product if sigmas[:2].all() else 0.0
    down_sigma, up_sigma, rtt_sigma = sigmas.tolist()
    return FittedClass(
        share=share,
        down_bits_per_s=_rounded_rate(down),
        up_bits_per_s=_rounded_rate(up),
        rtt_s=_rounded_duration(rtt),
        down_sigma=down_sigma,
        up_sigma=up_sigma,
        rtt_sigma=rtt_sigma,
        correlation=round(min(1.0, max(-1.0, correlation)), _SIGMA_DIGITS),
    )


def _groups(links: WeightedLinks, count: int) -> Iterator[tuple[float, WeightedLinks]]:
    """Yield share and links of groups of equal weight, by download rate.

    A link at a cut is in both groups, with a part of its weight. Shares add up to 1.
    """
    order = np.lexsort((links.rtt_s, links.up_bits_per_s, links.down_bits_per_s))
    end_N = np.cumsum(links.weights[order]) / links.weights.sum()
    start_N: FloatArray = np.concatenate([[0.0], end_N[:-1]])
    share = round(1 / count, _SHARE_DIGITS)
    for k in range(count):
        part_N = np.minimum(end_N, (k + 1) / count) - np.maximum(start_N, k / count)
        inside = part_N > 0
        rows = order[inside]
        last = k == count - 1
        yield (
            round(1 - share * k, _SHARE_DIGITS) if last else share,
            WeightedLinks(
                links.down_bits_per_s[rows], links.up_bits_per_s[rows], links.rtt_s[rows],
                part_N[inside],
            ),
        )  # fmt: skip


def _rounded_rate(bits_per_s: float) -> float:
    return parse_rate(format_rate(bits_per_s))


def _rounded_duration(seconds: float) -> float:
    return parse_duration(format_duration(seconds))
