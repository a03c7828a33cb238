"""Profile files of a fit: the TOML text, and for a fit by rows the CSV text of the rows."""

from __future__ import annotations

import json

from floss_sim.network.measured.fitting import Fit, classes_of
from floss_sim.plain_text import one_line
from floss_sim.units import format_duration, format_rate, parse_duration

ROW_COLUMNS = ("down_bits_per_s", "up_bits_per_s", "rtt_s", "weight")


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
        fit: Fit by classes or by rows.
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
    head = [f"# {_comment_text(line)}" for line in _header(fit, fitted_on)]
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
    lines = [",".join(ROW_COLUMNS), *(",".join(map(repr, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def _header(fit: Fit, fitted_on: str) -> list[str]:
    tests = fit.tests
    chosen = f" with {', '.join(tests.where)}" if tests.where else ""
    weights = f", weighted by {tests.columns['weight']}" if "weight" in tests.columns else ""
    read = [f"{role}: {tests.columns[role]} in {unit}" for role, unit in tests.units.items()]
    return [
        f"Fitted on {fitted_on} by floss-sim profiles fit to {tests.weights.size} speed tests of",
        f"{tests.source}{chosen}{weights}.",
        f"Columns read: {', '.join(read)}.",
        f"{tests.left_out} rows were left out: a value was missing or not above zero.",
        f"{tests.unreadable} rows were left out: they could not be read.",
        *_method_lines(fit),
        "compute_per_example is an assumption: speed tests do not measure it.",
        "Units: 1 Mbit/s is 10^6 bit/s, 1 kbit/s is 10^3 bit/s.",
    ]


def _method_lines(fit: Fit) -> list[str]:
    if fit.law == "rows":
        return ["Each client draws one row by weight: its rates and round trip are from one test."]
    return [
        f"The tests are sorted by download rate and cut into {fit.shares.size} groups of equal "
        "weight; each",
        "class has the median download rate, upload rate and latency of one group.",
    ]


def _comment_text(text: str) -> str:
    """Return the text for a comment: unprintable characters, such as line breaks, become spaces."""
    return "".join(c if c.isprintable() else " " for c in text)


def _toml_string(text: str) -> str:
    """Return a TOML string: JSON's syntax, with the delete character escaped as well."""
    sendable = text.encode("utf-8", "replace").decode()  # replaces lone surrogates
    return json.dumps(sendable, ensure_ascii=False).replace("\x7f", "\\u007f")


def _class_lines(fit: Fit, compute_per_example: str) -> list[str]:
    lines = []
    for share, down, up, rtt in classes_of(fit):
        lines += [
            "",
            "[[clients]]",
            f"share = {share}",
            f'down = "{format_rate(down)}"',
            f'up = "{format_rate(up)}"',
            f'rtt = "{format_duration(rtt)}"',
            f"compute_per_example = {_toml_string(compute_per_example)}",
        ]
    return lines
