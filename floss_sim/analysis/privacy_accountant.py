"""Epsilon of Gaussian noise over rounds, by Google's ``dp-accounting`` (the extra ``privacy``).

Neighbours are two fleets of the same clients, of which one client has other data. Cohorts have a
fixed size, and to replace a client's update moves a sum of clipped updates by up to 2 C: noise of
multiplier s counts as a Gaussian mechanism of standard deviation s / 2 and sensitivity 1.

Rounds in which a client surely takes part compose exactly: deviations d_t have the epsilon of one
mechanism of deviation (sum of d_t**-2)**-0.5 (Balle and Wang, ICML 2018; Dong, Roth and Su 2022).

If K of N clients are drawn without replacement, with q = K / N, one round has for e' >= 0
the privacy profile (Balle, Barthe and Gaboardi, NeurIPS 2018, theorem 10)

    delta'(e') <= q delta(log(1 + (exp(e') - 1) / q)),

delta the profile of the Gaussian mechanism. For e' < 0 the relation's symmetry gives
delta'(e') = 1 - exp(e') + exp(e') delta'(-e'). A profile that bounds every pair of neighbours
composes like that of one pair (Zhu, Dong and Wang, AISTATS 2022); the library discretises it from
above and convolves it. Someone who knows the cohorts gains nothing from sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ConfigError
from floss_sim.methods.differential_privacy import MOST_NOISE

_STEP = 4e-3  # of the discretised privacy loss, for losses of the size of an epsilon
_MOST_CELLS = 200_000  # of a discretised loss; larger losses have wider cells
_MOST_LOSS = 700.0  # of a round; exp(710) is too large for a float64
_TAIL = 12.0  # standard deviations of the privacy loss that are discretised


def import_accounting() -> Any:
    """Return the library.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import dp_accounting
    except ImportError:
        raise ConfigError(
            "epsilon needs dp-accounting; install it with pip install 'floss-sim[privacy]'"
        ) from None
    return dp_accounting


def composed_epsilon(multipliers: Sequence[float], delta: float) -> float:
    """Return the epsilon of rounds in all of which a client takes part.

    Args:
        multipliers: Noise multiplier of each round, above 0.
        delta: The delta, in (0, 1).

    Raises:
        ConfigError: The library is not installed.
    """
    if not len(multipliers):
        return 0.0
    deviation = float(np.sum((np.asarray(multipliers, dtype=np.float64) / 2) ** -2.0)) ** -0.5
    if not deviation > 1e-6:
        return math.inf
    accounting = import_accounting()
    with np.errstate(divide="ignore"):  # of a delta of zero
        return float(accounting.get_epsilon_gaussian(deviation, delta))


@lru_cache(maxsize=256)
def sampled_epsilon(multiplier: float, share: float, rounds: int, delta: float) -> float:
    """Return the epsilon of rounds whose cohorts nobody knows.

    Where a round alone has losses of hundreds, too large for exponentials, it is that of known
    cohorts, which is never smaller.

    Args:
        multiplier: Noise multiplier, above 0.
        share: Share of the fleet in a cohort, q, in (0, 1].
        rounds: Number of rounds.
        delta: The delta, in (0, 1).

    Raises:
        ConfigError: The library is not installed.
    """
    known = composed_epsilon([multiplier] * rounds, delta)
    if share == 1 or not rounds or not math.isfinite(known):
        return known
    pmf = import_accounting().pld.pld_pmf
    mean = 2.0 / multiplier  # of the shift in standard deviations
    widest = mean * mean / 2 + _TAIL * mean
    if widest > _MOST_LOSS:
        return known
    step = max(_STEP * min(1.0, mean), 2 * widest / _MOST_CELLS)
    most = math.ceil(widest / step)
    losses = np.arange(-most, most + 1, dtype=np.float64) * step
    with np.errstate(over="ignore"):  # the library's bound of its tails takes large exponents
        one = pmf.create_pmf_pessimistic_connect_dots_fixed_gap(
            step, -most, most, _sampled_profile(losses, mean, share)
        )
        sampled = float(one.self_compose(rounds).get_epsilon_for_delta(delta))
    return min(known, max(0.0, sampled))


def _sampled_profile(losses: NDArray[np.float64], mean: float, share: float) -> NDArray[np.float64]:
    """Return the delta of one round of sampled clients at each privacy loss, as described above."""
    from scipy.special import log_ndtr, ndtr  # type: ignore[import-untyped]

    size = np.abs(losses)
    inner = np.log1p(np.expm1(size) / share)
    near, far = mean / 2 - inner / mean, -mean / 2 - inner / mean
    delta = share * np.maximum(ndtr(near) - np.exp(inner + log_ndtr(far)), 0.0)
    negative = -np.expm1(losses) + np.exp(losses) * delta
    return np.minimum.accumulate(np.where(losses < 0, negative, delta))


def noise_for(epsilon: float, epsilon_of: Callable[[float], float]) -> float:
    """Return the least noise multiplier for an epsilon, rounded up to four digits.

    Args:
        epsilon: The largest epsilon allowed, above 0.
        epsilon_of: Epsilon of a multiplier; it falls with the multiplier.

    Raises:
        ConfigError: The epsilon is not above 0 and finite, or no multiplier up to 1e5 reaches it.
    """
    if not 0 < epsilon < math.inf:
        raise ConfigError(f"epsilon {epsilon:g}; valid: numbers above 0")
    low, high = 0.0, 1.0
    while epsilon_of(high) > epsilon:
        low, high = high, 4 * high
        if high > MOST_NOISE:
            raise ConfigError(
                f"no noise multiplier up to {MOST_NOISE:g} reaches epsilon {epsilon:g}"
            )
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon_of(middle) > epsilon else (low, middle)
    digits = 3 - math.floor(math.log10(high))
    scale = 10.0**digits
    return math.ceil(high * scale) / scale
