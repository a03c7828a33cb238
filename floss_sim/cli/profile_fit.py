"""``floss-sim profiles fit``: a network profile from speed tests, a report and a picture."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from floss_sim.cli.console import plain_table, print_json, print_text, show_whole
from floss_sim.cli.shared_options import JsonOption, check_outputs
from floss_sim.errors import ProfileError
from floss_sim.files import write_atomically
from floss_sim.network import load_profile
from floss_sim.network.measured.fitting import PERCENTS, Fit, fit_classes, fit_rows, report
from floss_sim.network.measured.profile_files import profile_text, rows_text
from floss_sim.network.measured.speed_tests import ReadOptions, SpeedTests, read_speed_tests
from floss_sim.network.text_lines import shown
from floss_sim.units import format_duration, format_rate

HELP = """Fit a profile to a CSV file with one speed test in each row.

Columns and units are recognised if the names of the columns are unambiguous, such as
download_mbps, upload_mbps and rtt_ms; otherwise name them with options. Delimiter and decimal sign
are recognised from the whole file, or stated. Rows that cannot be read are counted; above 1 % they
are an error unless --skip-bad. The report and the picture show the error of fitting a few classes.
--law rows has no such error: the tests are written to a CSV file beside the profile, and every
client draws one of them.

Examples:

  floss-sim profiles fit tests.csv --out mine.toml --source "us, March" --date 2026-03

  floss-sim profiles fit tests.csv --out mine.toml --source "us" --where rat=4G --weight devices

  floss-sim profiles fit tests.csv.gz --out mine.toml --source "us" --rate-unit Mbit/s

  floss-sim profiles fit tests.csv --out mine.toml --source "us" --delimiter ";" --decimal ,

  floss-sim profiles fit tests.csv --out mine.toml --source "us" --law rows

  floss-sim run --network mine.toml
"""
_KINDS = ("data", "fit")
_CLASSES = 4
_PERCENTILES = (
    ("download", "down_bits_per_s", format_rate),
    ("upload", "up_bits_per_s", format_rate),
    ("round trip", "rtt_s", format_duration),
    ("down : up", "down_up_ratio", "{:.3g}".format),
)


def fit(
    tests: Annotated[
        Path, typer.Argument(metavar="CSV", help="Speed tests with a header; may end in .gz.")
    ],
    out: Annotated[
        Path, typer.Option(help="File of the profile; the picture is written beside it.")
    ],
    source: Annotated[str, typer.Option(help="Who measured the speed tests, and where.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the profile; default: the file's name.")
    ] = None,
    date_: Annotated[
        str | None, typer.Option("--date", help="Date of the measurement; default: today.")
    ] = None,
    law: Annotated[
        str, typer.Option(help="classes, or rows: clients draw whole tests from a CSV file.")
    ] = "classes",
    classes: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Number of classes, of equal weight; default 4."),
    ] = None,
    down: Annotated[str | None, typer.Option(help="Column of the download rate.")] = None,
    up: Annotated[str | None, typer.Option(help="Column of the upload rate.")] = None,
    latency: Annotated[str | None, typer.Option(help="Column of the round-trip time.")] = None,
    rate_unit: Annotated[
        str | None, typer.Option(help="Unit of both rates, such as Mbit/s, kbit/s or MB/s.")
    ] = None,
    latency_unit: Annotated[
        str | None, typer.Option(help="Unit of the latency: us, ms or s.")
    ] = None,
    weight: Annotated[str | None, typer.Option(help="Column of the weights of the rows.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Use only rows with COLUMN=VALUE; repeatable.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Character between cells, or tab; default: recognised.")
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="Decimal sign, . or a comma; default: recognised.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out any number of unreadable rows.")
    ] = False,
    compute_per_example: Annotated[
        str, typer.Option(help="Assumed training time of one example.")
    ] = "5 ms",
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    json_: JsonOption = False,
) -> None:
    """Fit a profile to a CSV file with one speed test in each row."""
    picture, rows = _sibling_paths(out, tests, law, force)
    conditions = tuple(where or ())
    reading = ReadOptions(
        *(down, up, latency, weight, rate_unit, latency_unit, conditions),
        delimiter=delimiter,
        decimal=decimal,
        skip_bad=skip_bad,
    )
    fitted = _fit_tests(read_speed_tests(tests, reading), law, classes)
    today = date.today().isoformat()
    text = profile_text(
        fitted,
        name=name or out.stem,
        source=source,
        date=date_ or today,
        fitted_on=today,
        compute_per_example=compute_per_example,
        rows_file=rows.name,
    )
    texts = {rows: rows_text(fitted), out: text} if law == "rows" else {out: text}
    _check_profile(texts, out)
    check_outputs(picture, *texts)
    _draw(fitted, picture)
    for path, content in texts.items():
        write_atomically(path, content)
    found = report(fitted) | {"profile": str(out), "picture": str(picture)}
    found |= {"rows": str(rows)} if law == "rows" else {}
    if json_:
        print_json(found)
    else:
        _print_fit(found)


def _sibling_paths(out: Path, tests: Path, law: str, force: bool) -> tuple[Path, Path]:
    """Return the paths of the picture and the rows beside a profile.

    Raises:
        ProfileError: The profile does not end in .toml, the rows would overwrite the speed tests,
            or a file exists and ``force`` is false.
    """
    if out.suffix != ".toml":
        raise ProfileError(f"profile {str(out)!r} must end in .toml")
    picture, rows = out.with_suffix(".png"), out.with_suffix(".csv")
    written = [out, picture, rows] if law == "rows" else [out, picture]
    taken = [str(path) for path in written if path.exists()]
    if rows in written and rows.resolve() == tests.resolve():
        raise ProfileError(f"the rows would overwrite {tests} itself; give another --out")
    if taken and not force:
        raise ProfileError(f"{' and '.join(taken)} would be overwritten; add --force to allow it")
    return picture, rows


def _check_profile(texts: Mapping[Path, str], out: Path) -> None:
    """Load the profile from a temporary folder, so that nothing is written that does not load."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in texts.items():
            (Path(folder) / path.name).write_text(text, encoding="utf-8")
        load_profile(str(Path(folder) / out.name))


def _fit_tests(tests: SpeedTests, law: str, classes: int | None) -> Fit:
    if law == "classes":
        return fit_classes(tests, classes or _CLASSES)
    if law != "rows":
        raise ProfileError(f"--law {law!r} is unknown; valid: classes, rows")
    if classes is not None:
        raise ProfileError("--classes requires --law classes; --law rows has no classes")
    return fit_rows(tests)


def _draw(fitted: Fit, picture: Path) -> None:
    from floss_sim.plots.figure import save
    from floss_sim.plots.network_fit import draw_fit, fit_frame

    tests = fitted.tests
    what = f"{fitted.shares.size} classes" if fitted.law == "classes" else "Rows"
    title = f"{what} fitted to {tests.weights.size} speed tests of {tests.source}"
    save(draw_fit(fit_frame(fitted), title), picture)


def _print_fit(found: dict[str, Any]) -> None:
    used, left, unreadable, filtered = (
        found[f"rows_{what}"] for what in ("used", "left_out", "unreadable", "filtered")
    )
    read = [f"{shown(found['columns'][role])} in {unit}" for role, unit in found["units"].items()]
    print(f"{used} rows used, {left} left out (a value missing or not above zero), ", end="")
    print(f"{unreadable} unreadable, {filtered} filtered; ", end="")
    print_text(f"down, up and latency from {', '.join(read)}; {_form(found)}")
    table = plain_table("", *(f"{percent} % {kind}" for percent in PERCENTS for kind in _KINDS))
    for title, key, text in _PERCENTILES:
        values = found["percentiles"][key]
        table.add_row(title, *(text(values[k][str(p)]) for p in PERCENTS for k in _KINDS))
    show_whole(table)
    both = (found["rank_correlation"][kind] for kind in _KINDS)
    data, fitted = ("-" if value is None else f"{value:.2f}" for value in both)
    print(f"rank correlation of down and up: {data} in the data, {fitted} in the fit")
    print(
        f"largest distance of the distributions (Kolmogorov-Smirnov): down {found['ks_down']:.3f}, "
        f"up {found['ks_up']:.3f}; {_distance_reference(found)}"
    )
    files = [f"{what}: {found[what]}" for what in ("profile", "rows", "picture") if what in found]
    print_text(", ".join(files))


def _form(found: dict[str, Any]) -> str:
    """Return delimiter and decimal sign in words."""
    delimiter = {"\t": "tab", ",": "comma"}.get(found["delimiter"], found["delimiter"])
    return f"delimiter {delimiter}, decimal {'comma' if found['decimal'] == ',' else 'point'}"


def _distance_reference(found: dict[str, Any]) -> str:
    """Return the reference value for the distances of the report."""
    if found["law"] == "rows":
        return "the fit consists of the tests themselves, so nothing is lost"
    classes = len(found["classes"])
    return f"{classes} classes of a smooth distribution reach {1 / (2 * classes):.3f}"
