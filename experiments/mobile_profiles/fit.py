"""Classes with spread of the packaged mobile profiles, fitted to speed tests and to 5G traces.

    python experiments/mobile_profiles/fit.py    # needs ../shared; some minutes

Writes the classes of ``lte``, ``3g``, ``5g`` and ``mobile-mixed`` below the headers of their files.

Shapes: N speed tests, Q = 4 quarters, K classes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from floss_sim.network import load_profile
from floss_sim.network.measured.fit_figures import figures_of, largest_deviations
from floss_sim.network.measured.fitted_classes import FittedClass, links_of_classes
from floss_sim.network.measured.weighted_links import WeightedLinks
from floss_sim.network.measured.weighted_statistics import quantiles
from floss_sim.units import format_duration, format_rate

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "network_traces"
PROFILES = ROOT / "network_profiles"
RATS = {"lte": "4G", "3g": "3G"}
SLOWEST_MBPS = 0.1  # a test below it stalled: no link of a whole run
# Sizes of the classes of each quarter by download rate, slowest upload first, for the start values.
GROUPS: dict[str, Sequence[Sequence[int]]] = {
    "lte": ((1, 1, 1), (1, 1), (1, 1), (1, 1, 1)),
    "3g": ((1, 1, 3), (1,), (1,), (1,)),
}
QUARTERS = 4
ON_WIFI = 0.62  # share of the clients of mobile-mixed
OF_3G = 91 / 1000  # share of the speed tests
PRIOR = 0.05  # weight of the distance from the moments of the groups
ITERATIONS = 25
LEAST_SIGMA = 0.1  # of a group, in the start values
COLUMNS = ("down_bits_per_s", "up_bits_per_s", "rtt_s")
Floats = NDArray[np.float64]


def main() -> None:
    """Fit the classes and write the four profiles."""
    found = {name: fit(speed_tests(rat), GROUPS[name]) for name, rat in RATS.items()}
    write("lte", found["lte"])
    write("3g", found["3g"])
    write("5g", five_g(found["lte"]))
    mobile = [
        replace(one, share=(1 - ON_WIFI) * part * one.share)
        for name, part in (("lte", 1 - OF_3G), ("3g", OF_3G))
        for one in found[name]
    ]
    write("mobile-mixed", [*mobile, *wifi()])


def speed_tests(rat: str) -> WeightedLinks:
    """Return the speed tests of a radio technology that did not stall, slowest download first."""
    table = pd.read_csv(DATA / "errant_monroe_speedtests.csv.gz")
    columns = ["dl_mbps", "ul_mbps", "rtt_ms"]
    table = table[table["rat"] == rat].sort_values(columns)
    kept = table[(table["dl_mbps"] >= SLOWEST_MBPS) & (table["ul_mbps"] >= SLOWEST_MBPS)]
    print(f"{rat}: {len(table)} tests, {len(table) - len(kept)} stalled")
    down, up, rtt = kept[columns].to_numpy().T
    return WeightedLinks(down * 1e6, up * 1e6, rtt / 1e3, np.ones(len(kept)))


def fit(tests: WeightedLinks, groups: Sequence[Sequence[int]]) -> list[FittedClass]:
    """Return classes whose figures are those of the tests, by least squares of their logarithms.

    The figures are the quantiles of rates, round trips and times of rounds by which ``profiles
    fit`` judges, the quartiles and means of rates and round trips, and the medians of each quarter
    by download rate.
    """
    quarters = [part(tests, i) for i in range(QUARTERS)]
    pairs = zip(quarters, groups, strict=True)
    first = [one for links, sizes in pairs for one in start(links, sizes)]
    quarter_K = np.repeat(np.arange(QUARTERS), [len(sizes) for sizes in groups])
    wanted = np.concatenate([summary(tests), *[medians(links) for links in quarters]])
    first_P = parameters(first)

    def residuals(now_P: Floats) -> Floats:
        now = classes_of(now_P, quarter_K)
        by_quarter = [
            medians(few_links([now[k] for k in np.flatnonzero(quarter_K == q)]))
            for q in range(QUARTERS)
        ]
        found = np.concatenate([summary(few_links(now)), *by_quarter])
        return np.concatenate([found - wanted, PRIOR * (now_P - first_P)])

    solved = least_squares(residuals, first_P, diff_step=1e-3, max_nfev=ITERATIONS)
    made = [rounded(one) for one in classes_of(solved.x, quarter_K)]
    off = largest_deviations(figures_of(tests), figures_of(links_of_classes(made)))
    for quantity, deviation in off.items():
        print(f"  {quantity}: {deviation.relative:+.2f} at {deviation.percent} %")
    return made


def part(tests: WeightedLinks, quarter: int) -> WeightedLinks:
    """Return a quarter of the tests, which are sorted by download rate."""
    count = len(tests.weights)
    chosen = slice(round(count * quarter / QUARTERS), round(count * (quarter + 1) / QUARTERS))
    return WeightedLinks(*(getattr(tests, name)[chosen] for name in (*COLUMNS, "weights")))


def start(links: WeightedLinks, sizes: Sequence[int]) -> Iterable[FittedClass]:
    """Yield the moments of the logarithms of groups by upload rate, of relative sizes."""
    order = np.argsort(links.up_bits_per_s, kind="stable")
    ends = np.cumsum(sizes)[:-1] * len(order) // sum(sizes)
    for chosen, size in zip(np.split(order, ends), sizes, strict=True):
        log_3N = np.log([getattr(links, name)[chosen] for name in COLUMNS])
        down, up, rtt = np.exp(log_3N.mean(axis=1)).tolist()
        sigmas = np.maximum(log_3N.std(axis=1), LEAST_SIGMA).tolist()
        correlation = float(np.corrcoef(log_3N)[0, 1])
        yield FittedClass(size / sum(sizes) / QUARTERS, down, up, rtt, *sigmas, correlation)


def summary(links: WeightedLinks) -> Floats:
    """Return logarithms of the figures, quartiles and means that a fit must keep."""
    figures = [v for part_ in figures_of(links).values() for v in part_.values()]
    columns = [getattr(links, name) for name in COLUMNS]
    quartiles = [quantiles(column, links.weights, [0.1, 0.25, 0.75, 0.9]) for column in columns]
    means = [np.average(column, weights=links.weights) for column in columns]
    return np.log([*figures, *np.ravel(quartiles), *means])


def few_links(classes: Sequence[FittedClass]) -> WeightedLinks:
    """Return an eighth of the links that stand for classes with spread, for speed."""
    links = links_of_classes(classes)
    chosen = np.arange(links.weights.size) % (links.weights.size // len(classes))
    first = chosen < links.weights.size // len(classes) // 8
    return WeightedLinks(*(getattr(links, name)[first] for name in (*COLUMNS, "weights")))


def medians(links: WeightedLinks) -> Floats:
    """Return the logarithms of the median rates and round trip."""
    return np.log([quantiles(getattr(links, n), links.weights, [0.5])[0] for n in COLUMNS])


def parameters(classes: Sequence[FittedClass]) -> Floats:
    """Return unbounded parameters of classes (8 K)."""
    rows = [
        [*np.log([one.share, one.down_bits_per_s, one.up_bits_per_s, one.rtt_s]),
         *np.log([one.down_sigma, one.up_sigma, one.rtt_sigma]),
         math.atanh(max(-0.95, min(0.95, one.correlation)))]
        for one in classes
    ]  # fmt: skip
    return np.ravel(rows)


def classes_of(parameters_P: Floats, quarter_K: NDArray[np.int64]) -> list[FittedClass]:
    """Return the classes of parameters; those of each quarter have a quarter of the clients."""
    rows = parameters_P.reshape(-1, 8)
    share_K = np.exp(rows[:, 0])
    share_K /= QUARTERS * np.bincount(quarter_K, weights=share_K)[quarter_K]
    plain = np.exp(rows[:, 1:7])
    return [
        FittedClass(share, *figures, math.tanh(correlation))
        for share, figures, correlation in zip(
            share_K.tolist(), plain.tolist(), rows[:, 7].tolist(), strict=True
        )
    ]


def rounded(one: FittedClass) -> FittedClass:
    """Return a class with three significant digits and two decimal places of spreads."""
    figures = {name: float(f"{getattr(one, name):.3g}") for name in COLUMNS}
    spreads = ("down_sigma", "up_sigma", "rtt_sigma", "correlation")
    return replace(one, **figures, **{name: round(getattr(one, name), 2) for name in spreads})


def five_g(lte: Sequence[FittedClass]) -> list[FittedClass]:
    """Return lte's classes with downloads and round trips of the quarters of the 5G traces."""
    table = pd.read_csv(DATA / "ucc_5g_1s.csv.gz")
    table = table[(table["app"] == "Download") & (table["mode"] == "5G") & (table["state"] == "D")]
    of_trace = table.groupby("trace").agg(
        down_bits_per_s=("dl_kbps", "mean"), rtt_s=("ping_avg_ms", "median")
    )
    traces = of_trace.sort_values("down_bits_per_s") * [1e3, 1e-3]
    made = []
    for number, one in enumerate(lte):
        ends = np.cumsum([len(sizes) for sizes in GROUPS["lte"]])
        quarter = int(np.searchsorted(ends, number, side="right"))
        five = traces.iloc[5 * quarter : 5 * quarter + 5]
        middle, spread = five.median(), np.log(five).std()
        figures = {"down_bits_per_s": middle["down_bits_per_s"], "rtt_s": middle["rtt_s"]}
        spreads = {"down_sigma": spread["down_bits_per_s"], "rtt_sigma": spread["rtt_s"]}
        made.append(rounded(replace(one, **figures, **spreads, correlation=0.0)))
    return made


def wifi() -> Iterable[FittedClass]:
    """Yield the classes of the profile wifi with their shares of mobile-mixed."""
    profile = load_profile("wifi")
    for group, link in zip(profile.clients, profile.class_links(), strict=True):
        share = ON_WIFI * group.share
        yield FittedClass(share, link.down_bits_per_s, link.up_bits_per_s, link.rtt_s)


def write(name: str, classes: Sequence[FittedClass]) -> None:
    """Write the classes of a profile below its header."""
    path = PROFILES / f"{name}.toml"
    header = path.read_text(encoding="utf-8").split("[[clients]]")[0].rstrip()
    share_K = np.array([round(one.share, 6) for one in classes])
    share_K[0] += round(1 - share_K.sum(), 6)
    blocks = [class_text(one, share) for one, share in zip(classes, share_K.tolist(), strict=True)]
    path.write_text("\n\n".join([header, *blocks]) + "\n", encoding="utf-8")


def class_text(one: FittedClass, share: float) -> str:
    """Return the TOML table of a class."""
    down, up = format_rate(one.down_bits_per_s), format_rate(one.up_bits_per_s)
    lines = [
        "[[clients]]",
        f"share = {share:.6g}",
        f"down = {law_text(down, one.down_sigma)}",
        f"up = {law_text(up, one.up_sigma)}",
        f"rtt = {law_text(format_duration(one.rtt_s), one.rtt_sigma)}",
        'compute_per_example = "5 ms"',
    ]
    if one.correlation:
        lines.insert(4, f"correlation = {one.correlation:g}")
    return "\n".join(lines)


def law_text(median: str, sigma: float) -> str:
    """Return the TOML value of a quantity, with or without a spread."""
    return f'{{ median = "{median}", sigma = {sigma:g} }}' if sigma else f'"{median}"'


if __name__ == "__main__":
    sys.exit(main())
