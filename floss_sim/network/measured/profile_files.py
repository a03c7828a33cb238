"""Profile files of a fit: the TOML text, and for a fit by rows the CSV text of the rows.

The rows are in a file of their own beside the profile: ``mine.toml`` has ``mine.rows.csv``.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from floss_sim.network.measured.fit_report import verdict
from floss_sim.network.measured.fitted_classes import FittedClass
from floss_sim.network.measured.fitting import Fit
from floss_sim.plain_text import one_line
from floss_sim.units import format_duration, format_rate, parse_duration

ROW_COLUMNS = ("down_bits_per_s", "up_bits_per_s", "rtt_s", "weight")
_WIDTH = 96  # characters of a line of comment
_ROWS_HEADER = ",".join(ROW_COLUMNS)


def rows_path(profile: Path) -> Path:
    """Return the path of the rows beside a profile, such as ``mine.rows.csv`` for ``mine.toml``."""
    return profile.with_suffix(".rows.csv")


def is_rows_file(path: Path) -> bool:
    """Return whether a file begins as one that :func:`rows_text` wrote."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(len(_ROWS_HEADER) + 1) == f"{_ROWS_HEADER}\n"
    except (OSError, ValueError):
        return False


def profile_text(
    fit: Fit,
    *,
    name: str,
    source: str,
    date: str,
    fitted_on: str,
    compute_per_example: str,
    rows_file: str,
) -> str:
    """Return the TOML text of a network profile with the fitted classes or rows.

    Args:
        fit: Fit by any law.
        name: Name of the profile.
        source: Who measured, and where.
        date: Date of the measurement.
        fitted_on: Date of the fit, for the header.
        compute_per_example: Training time per example, with unit, such as ``"5 ms"``; speed tests
            do not measure it.
        rows_file: Name of the CSV file of rows, which is in the profile's folder.

    Raises:
        UnitError: A compute time that is not a duration.
    """
    parse_duration(compute_per_example)
    head = [f"# {line}" for text in _header(fit, fitted_on) for line in _comment_lines(text)]
    keys = {"name": name, "source": source, "date": date}
    head += [f"{key} = {_toml_string(one_line(value))}" for key, value in keys.items()]
    if fit.law == "rows":
        head += ["", "[fleet]", 'law = "rows"', f"file = {_toml_string(rows_file)}"]
        head += [f"compute_per_example = {_toml_string(compute_per_example)}"]
    else:
        head += _class_lines(fit, compute_per_example)
    return "\n".join(head) + "\n"


def rows_text(fit: Fit) -> str:
    """Return the CSV text of the rows: the numbers of the tests, exact to the bit, and weights."""
    tests = fit.tests
    columns = (tests.down_bits_per_s, tests.up_bits_per_s, tests.rtt_s, tests.weights)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    lines = [_ROWS_HEADER, *(",".join(map(repr, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def _header(fit: Fit, fitted_on: str) -> list[str]:
    """Return the sentences of the header, one text a paragraph."""
    tests = fit.tests
    chosen = f" with {', '.join(tests.where)}" if tests.where else ""
    weights = f", weighted by {tests.columns['weight']}" if "weight" in tests.columns else ""
    read = [f"{role}: {tests.columns[role]} in {unit}" for role, unit in tests.units.items()]
    return [
        f"Fitted on {fitted_on} by floss-sim profiles fit to {tests.weights.size} speed tests of "
        f"{tests.source}{chosen}{weights}.",
        f"Columns read: {', '.join(read)}.",
        f"{tests.left_out} rows were left out: a value was missing or not above zero.",
        f"{tests.unreadable} rows were left out: they could not be read.",
        _method(fit),
        verdict(fit),
        "compute_per_example is an assumption: speed tests do not measure it.",
        "Units: 1 Mbit/s is 10^6 bit/s, 1 kbit/s is 10^3 bit/s.",
    ]


def _method(fit: Fit) -> str:
    if fit.law == "rows":
        return "Each client draws one row by weight: its rates and round trip are from one test."
    if fit.law == "lognormal":
        return "Medians, sigmas and correlation follow from the logarithms of all tests."
    has = "the median download rate, upload rate and latency"
    if fit.law == "spread-classes":
        has = "medians, sigmas and correlation from the logarithms"
    return (
        f"The tests are sorted by download rate and cut into {len(fit.classes)} groups of equal "
        f"weight; each class has {has} of one group."
    )


def _comment_lines(text: str) -> list[str]:
    """Return the lines of a comment; unprintable characters, such as line breaks, become spaces."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return textwrap.wrap(plain, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _toml_string(text: str) -> str:
    """Return a TOML string: JSON's syntax, with the delete character escaped as well."""
    sendable = text.encode("utf-8", "replace").decode()  # replaces lone surrogates
    return json.dumps(sendable, ensure_ascii=False).replace("\x7f", "\\u007f")


def _class_lines(fit: Fit, compute_per_example: str) -> list[str]:
    lines = []
    for each in fit.classes:
        lines += ["", "[[clients]]", f"share = {each.share}", *_law_lines(each)]
        lines += [f"compute_per_example = {_toml_string(compute_per_example)}"]
    return lines


def _law_lines(one: FittedClass) -> list[str]:
    """Return the lines of rates, round trip and correlation, with the spreads that are not zero."""
    values = {
        "down": (format_rate(one.down_bits_per_s), one.down_sigma),
        "up": (format_rate(one.up_bits_per_s), one.up_sigma),
        "rtt": (format_duration(one.rtt_s), one.rtt_sigma),
    }
    lines = [
        f'{key} = {{ median = "{median}", sigma = {sigma} }}' if sigma else f'{key} = "{median}"'
        for key, (median, sigma) in values.items()
    ]
    return [*lines, f"correlation = {one.correlation}"] if one.correlation else lines
