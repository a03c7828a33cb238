"""Report on a fit: figures of tests and fit, slow and fast tests, and a verdict in a sentence."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from floss_sim.network.measured.fast_tests import fast_tests
from floss_sim.network.measured.fit_figures import (
    PERCENTS,
    ROUNDS,
    TOLERANCE,
    largest,
)
from floss_sim.network.measured.fitting import Fit
from floss_sim.network.measured.slow_tests import slow_tests
from floss_sim.network.measured.weighted_links import WeightedLinks
from floss_sim.network.measured.weighted_statistics import (
    kolmogorov_smirnov,
    quantiles,
    rank_correlation,
)
from floss_sim.units import format_bytes, format_duration, format_rate

MOST_SLOW_TESTS = 100  # that a report lists
_RATES = ("down_bits_per_s", "up_bits_per_s")


def report(fit: Fit) -> dict[str, Any]:
    """Return the fit's quality as plain values, in bits per second and seconds.

    ``percentiles`` has the figures of tests (``data``) and fit. ``largest_deviations`` has the
    largest relative deviation of each quantity, ``largest_deviation`` that of all of them, and
    ``is_acceptable`` says whether all are at most ``tolerance``. ``ks_down`` and ``ks_up`` are
    Kolmogorov-Smirnov distances; if all rates differ, K classes cannot bring them below 1 / (2 K).
    ``classes`` is empty for a fit by rows.
    """
    tests = fit.tests
    data, fitted, deviations = tests.figures, fit.figures, fit.deviations
    ratios = {kind: _ratios(links) for kind, links in _pair(fit).items()}
    return {
        "law": fit.law,
        "is_chosen": fit.is_chosen,
        "rows_used": tests.weights.size,
        "rows_left_out": tests.left_out,
        "rows_unreadable": tests.unreadable,
        "rows_filtered": tests.filtered,
        "delimiter": tests.delimiter,
        "decimal": tests.decimal,
        "columns": dict(tests.columns),
        "units": dict(tests.units),
        "classes": [asdict(each) for each in fit.classes],
        "percentiles": {
            **{name: {"data": data[name], "fit": fitted[name]} for name in data},
            "down_up_ratio": ratios,
        },
        "largest_deviations": {
            name: {"percent": each.percent, "relative": each.relative}
            for name, each in deviations.items()
        },
        "largest_deviation": asdict(largest(deviations.values())),
        "tolerance": TOLERANCE,
        "is_acceptable": fit.is_acceptable,
        "verdict": verdict(fit),
        **_associations(fit),
        "slow_tests": _slow_part(fit),
        "fast_tests": {name: asdict(each) for name, each in fast_tests(tests).items()},
        "zero_round_trips": {
            "count": len(tests.no_rtt),
            "first_line": tests.no_rtt[0] if tests.no_rtt else None,
        },
    }


def quantity_text(quantity: str) -> str:
    """Return the name of a quantity of the figures in words."""
    for each in ROUNDS:
        if quantity == each.name:
            return f"round of {each.clients} clients, {format_bytes(each.nbytes)}"
    return {_RATES[0]: "download", _RATES[1]: "upload"}.get(quantity, "round trip")


def law_text(fit: Fit) -> str:
    """Return the law of a fit in words."""
    if fit.law in ("rows", "lognormal"):
        return {"rows": "rows", "lognormal": "a lognormal law"}[fit.law]
    spread = " with a spread" if fit.law == "spread-classes" else ""
    return f"{len(fit.classes)} class{'es' if len(fit.classes) > 1 else ''}{spread}"


def verdict(fit: Fit) -> str:
    """Return a sentence on the fit's largest deviation, and on what to do about it."""
    within = f"within {100 * TOLERANCE:.0f} %"
    if fit.law == "rows":
        others = f": neither classes nor lognormal laws keep all figures {within}"
        return f"The law is rows, the tests themselves{others if fit.is_chosen else ''}."
    off = f"the largest deviation is {_deviation_text(fit)}"
    if fit.is_acceptable:
        simplest = ", the simplest law that" if fit.is_chosen else " and"
        return f"The law is {law_text(fit)}{simplest} keeps all figures {within}; {off}."
    return (
        f"The fit is bad: {law_text(fit)} cannot keep all figures {within}; {off}. "
        "Give --law rows, or no --law and no --classes."
    )


def _deviation_text(fit: Fit) -> str:
    data, fitted = fit.tests.figures, fit.figures
    most = largest(fit.deviations.values())
    quantity, percent = most.quantity, str(most.percent)
    text = format_rate if quantity in _RATES else format_duration
    both = f"{text(fitted[quantity][percent])} instead of {text(data[quantity][percent])}"
    return f"{100 * most.relative:+.0f} % ({quantity_text(quantity)}, {percent} %: {both})"


def _pair(fit: Fit) -> dict[str, WeightedLinks]:
    return {"data": fit.tests.links, "fit": fit.links}


def _ratios(links: WeightedLinks) -> dict[str, float]:
    """Return quantiles of download over upload rate."""
    ratio = links.down_bits_per_s / links.up_bits_per_s
    found = quantiles(ratio, links.weights, [percent / 100 for percent in PERCENTS])
    return dict(zip(map(str, PERCENTS), found, strict=True))


def _associations(fit: Fit) -> dict[str, Any]:
    """Return rank correlations of both rates, and distances of both distributions."""
    pair = _pair(fit)
    tests, fitted = pair.values()
    return {
        "rank_correlation": {
            kind: rank_correlation(links.down_bits_per_s, links.up_bits_per_s, links.weights)
            for kind, links in pair.items()
        },
        "ks_down": kolmogorov_smirnov(
            tests.down_bits_per_s, tests.weights, fitted.down_bits_per_s, fitted.weights
        ),
        "ks_up": kolmogorov_smirnov(
            tests.up_bits_per_s, tests.weights, fitted.up_bits_per_s, fitted.weights
        ),
    }


def _slow_part(fit: Fit) -> dict[str, Any]:
    found = slow_tests(fit.tests)
    return {
        "count": len(found.tests),
        "weight": found.weight,
        "parts": {name: asdict(part) for name, part in found.parts.items()},
        "slowest": {name: asdict(part) for name, part in found.slowest.items()},
        "expected_s": found.expected_s,
        "expected_without_s": found.expected_without_s,
        "tests": [asdict(each) for each in found.tests[:MOST_SLOW_TESTS]],
    }
