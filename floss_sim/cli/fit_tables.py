"""Printed report of a fit: tables of its figures and of odd speed tests, and sentences on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from floss_sim.cli.console import note, plain_table, print_text, show_whole
from floss_sim.network.measured.fast_tests import FASTEST_BITS_PER_S, SHORTEST_RTT_S
from floss_sim.network.measured.fit_figures import PERCENTS, ROUNDS
from floss_sim.network.measured.fit_report import quantity_text
from floss_sim.network.measured.slow_tests import SLOW_RATIO
from floss_sim.network.text_lines import shown
from floss_sim.units import duration_texts, format_bytes, format_duration, format_rate

_LISTED = 5  # slow tests of the table
_FEW_TESTS_SHARE = 0.1  # of the rounds of 50 clients that one test decides
_NAMED_SHARE = 0.05  # of the expected time, from which slow tests are named
_MARK = "*"
_RATE_UNITS = (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3), ("bit/s", 1.0))


def print_fit(found: Mapping[str, Any]) -> None:
    """Print the report of a fit (see ``fit_report.report``) and the names of its files."""
    _print_rows_read(found)
    show_whole(_figures_table(found))
    note(
        "Round: time until the slowest client has downloaded and uploaded so many bytes, without "
        "training or overhead. Off: largest deviation of the fit from the tests, marked "
        f"{_MARK} above {100 * found['tolerance']:.0f} %."
    )
    both = (found["rank_correlation"][kind] for kind in ("data", "fit"))
    tests, fitted = ("-" if value is None else f"{value:.2f}" for value in both)
    note(
        f"Rank correlation of download and upload: {tests} in the tests, {fitted} in the fit. "
        "Largest distance of the distributions (Kolmogorov-Smirnov): "
        f"download {found['ks_down']:.3f}, upload {found['ks_up']:.3f}."
    )
    note(found["verdict"])
    _print_slow_tests(found)
    _print_fast_tests(found)
    files = [f"{what}: {found[what]}" for what in ("profile", "rows", "picture") if what in found]
    print_text(", ".join(files))


def _print_rows_read(found: Mapping[str, Any]) -> None:
    used, left, unreadable, filtered = (
        found[f"rows_{what}"] for what in ("used", "left_out", "unreadable", "filtered")
    )
    read = [f"{shown(found['columns'][role])} in {unit}" for role, unit in found["units"].items()]
    print(f"{used} rows used, {left} left out (a value missing or not above zero), ", end="")
    print(f"{unreadable} unreadable, {filtered} filtered; ", end="")
    print_text(f"down, up and latency from {', '.join(read)}; {_form(found)}")


def _form(found: Mapping[str, Any]) -> str:
    """Return delimiter and decimal sign in words."""
    delimiter = {"\t": "tab", ",": "comma"}.get(found["delimiter"], found["delimiter"])
    return f"delimiter {delimiter}, decimal {'comma' if found['decimal'] == ',' else 'point'}"


def _figures_table(found: Mapping[str, Any]) -> Any:
    """Return the table of figures: two lines a quantity, tests above fit."""
    table = plain_table("", "", *(f"{percent} %" for percent in PERCENTS), "off")
    for quantity, deviation in found["largest_deviations"].items():
        values = found["percentiles"][quantity]
        unit, size = _unit(quantity, values["data"])
        texts = {
            kind: [_number(values[kind][str(percent)] / size) for percent in PERCENTS]
            for kind in ("data", "fit")
        }
        off = f"{100 * deviation['relative']:+.0f} %"
        if abs(deviation["relative"]) > found["tolerance"]:
            texts["fit"][PERCENTS.index(deviation["percent"])] += _MARK
        table.add_row(f"{quantity_text(quantity)}, {unit}", "tests", *texts["data"], "")
        table.add_row("", "fit", *texts["fit"], off)
    return table


def _unit(quantity: str, tests: Mapping[str, float]) -> tuple[str, float]:
    """Return the unit of a quantity, and its size; that of a rate follows the tests' median."""
    if not quantity.endswith("_bits_per_s"):
        return ("ms", 1e-3) if quantity == "rtt_s" else ("s", 1.0)
    return next((unit for unit in _RATE_UNITS if tests["50"] >= unit[1]), _RATE_UNITS[-1])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print_slow_tests(found: Mapping[str, Any]) -> None:
    slow = found["slow_tests"]
    rounds = [each for each in ROUNDS if each.clients == max(one.clients for one in ROUNDS)]
    of = max(rounds, key=lambda each: slow["parts"][each.name]["time"])
    part = slow["parts"][of.name]
    if part["time"] >= _NAMED_SHARE:
        note(
            f"Slow tests, over {SLOW_RATIO} times the time of nine in ten: {slow['count']} of "
            f"{found['rows_used']}. They decide {_share(part['rounds'])} of the rounds of "
            f"{of.clients} clients with {format_bytes(of.nbytes)}, and these take "
            f"{_share(part['time'])} of the time: {format_duration(slow['expected_s'][of.name])} "
            f"a round on average, {format_duration(slow['expected_without_s'][of.name])} without "
            "such clients. If they will not take part, delete the lines and fit again."
        )
        show_whole(_slow_table(slow, of.name))
    slowest = slow["slowest"][of.name]["rounds"]
    if slowest > _FEW_TESTS_SHARE:
        note(
            f"{found['rows_used']} tests show little of the tail: the slowest one decides "
            f"{_share(slowest)} of the rounds of {of.clients} clients."
        )


def _print_fast_tests(found: Mapping[str, Any]) -> None:
    limits = {
        "down_bits_per_s": f"download above {format_rate(FASTEST_BITS_PER_S)}",
        "up_bits_per_s": f"upload above {format_rate(FASTEST_BITS_PER_S)}",
        "rtt_s": f"round trip below {format_duration(SHORTEST_RTT_S)}",
    }
    told = [
        f"{limits[quantity]} in {fast['count']} of {found['rows_used']} ({_share(fast['weight'])}),"
        f" first in line {fast['first_line']} ({_link_text(fast['first'])})"
        for quantity, fast in found["fast_tests"].items()
    ]
    if told:
        note(
            f"Fast tests, which no access line reaches: {'; '.join(told)}. See whether the units "
            "are right (--rate-unit, --latency-unit); if they are, delete the lines and fit again."
        )
    zero = found["zero_round_trips"]
    if zero["count"]:
        note(
            f"A round trip of 0 is no measurement: {zero['count']} "
            f"{'row is' if zero['count'] == 1 else 'rows are'} left out, first line "
            f"{zero['first_line']}. Give their round trips to use them."
        )


def _link_text(link: Mapping[str, float]) -> str:
    down, up = (format_rate(link[f"{way}_bits_per_s"]) for way in ("down", "up"))
    return f"{down} down, {up} up, round trip {format_duration(link['rtt_s'])}"


def _slow_table(slow: Mapping[str, Any], name: str) -> Any:
    table = plain_table("slow test", "download", "upload", "round trip", "rounds", "time")
    listed = slow["tests"][:_LISTED]
    rtts = duration_texts([each["rtt_s"] for each in listed])
    for each, rtt in zip(listed, rtts, strict=True):
        part, ways = each["parts"][name], ("down_bits_per_s", "up_bits_per_s")
        link = (*(format_rate(each[way]) for way in ways), rtt)
        table.add_row(f"line {each['line']}", *link, _share(part["rounds"]), _share(part["time"]))
    if (others := slow["count"] - _LISTED) > 0:
        table.add_row(f"{others} others", *[""] * 5)
    return table


def _share(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.0995 else f"{100 * fraction:.0f} %"
