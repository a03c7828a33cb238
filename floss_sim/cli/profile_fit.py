"""``floss-sim profiles fit``: a network profile from speed tests, a report and a picture."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from floss_sim.cli.console import print_json
from floss_sim.cli.fit_tables import print_fit
from floss_sim.cli.shared_options import JsonOption, check_outputs
from floss_sim.errors import ProfileError
from floss_sim.files import write_atomically
from floss_sim.network import load_profile
from floss_sim.network.measured.fit_report import report
from floss_sim.network.measured.fitting import Fit, fit_law
from floss_sim.network.measured.profile_files import (
    is_rows_file,
    profile_text,
    rows_path,
    rows_text,
)
from floss_sim.network.measured.speed_tests import ReadOptions, read_speed_tests

HELP = """Fit a profile to a CSV file with one speed test in each row.

Columns and units are recognised if the names of the columns are unambiguous, such as
download_mbps, upload_mbps and rtt_ms; otherwise name them with options. Delimiter and decimal sign
are recognised from the whole file, or stated. Rows that cannot be read are counted; above 1 % they
are an error unless --skip-bad.

The law is the simplest one of a few classes, a lognormal law, classes with a spread and rows that
keeps 1, 5, 50, 95 and 99 % of rates, round trips and times of rounds within 10 %. Rows always do:
the tests are written to a CSV file beside the profile, and every client draws one of them. --law
forces a law. Report and picture show tests and fit side by side. Single tests that decide the time
of rounds are named, and those that are faster than any access line.

Examples:

  floss-sim profiles fit tests.csv --out mine.toml --source "us, March" --date 2026-03

  floss-sim profiles fit tests.csv --out mine.toml --source "us" --where rat=4G --weight devices

  floss-sim profiles fit tests.csv.gz --out mine.toml --source "us" --rate-unit Mbit/s

  floss-sim profiles fit tests.csv --out mine.toml --source "us" --delimiter ";" --decimal ,

  floss-sim profiles fit tests.csv --out mine.toml --source "us" --law rows

  floss-sim profiles fit tests.csv --out mine.toml --source "us" --classes 4 --force --json

  floss-sim run --network mine.toml
"""


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
        str | None,
        typer.Option(
            help="classes, lognormal, spread-classes or rows; default: the simplest that fits."
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Force so many classes of equal weight."),
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
    if out.suffix != ".toml":
        raise ProfileError(f"profile {str(out)!r} must end in .toml")
    picture, rows = out.with_suffix(".png"), rows_path(out)
    conditions = tuple(where or ())
    reading = ReadOptions(
        *(down, up, latency, weight, rate_unit, latency_unit, conditions),
        delimiter=delimiter,
        decimal=decimal,
        skip_bad=skip_bad,
    )
    fitted = fit_law(read_speed_tests(tests, reading), law, classes)
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
    texts = {rows: rows_text(fitted), out: text} if fitted.law == "rows" else {out: text}
    _check_free([out, picture, *texts], rows, tests, force)
    _check_profile(texts, out)
    check_outputs(picture, *texts)
    _draw(fitted, picture)
    for path, content in texts.items():
        write_atomically(path, content)
    found = report(fitted) | {"profile": str(out), "picture": str(picture)}
    found |= {"rows": str(rows)} if fitted.law == "rows" else {}
    if json_:
        print_json(found)
    else:
        print_fit(found)


def _check_free(written: Collection[Path], rows: Path, tests: Path, force: bool) -> None:
    """Check that no file of the user would be overwritten.

    Raises:
        ProfileError: A file exists and ``force`` is false, the rows would overwrite the speed tests
            or a file that is not of rows, or the picture would overwrite the speed tests.
    """
    own = [path for path in written if path.resolve() == tests.resolve()]
    if own:
        raise ProfileError(f"{own[0]} would overwrite the speed tests; give another --out")
    taken = [str(path) for path in dict.fromkeys(written) if path.exists()]
    if taken and not force:
        raise ProfileError(f"{' and '.join(taken)} would be overwritten; add --force to allow it")
    if rows in written and rows.exists() and not is_rows_file(rows):
        raise ProfileError(f"{rows} was not written by profiles fit; move it or give another --out")


def _check_profile(texts: Mapping[Path, str], out: Path) -> None:
    """Load the profile from a temporary folder, so that nothing is written that does not load."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in texts.items():
            (Path(folder) / path.name).write_text(text, encoding="utf-8")
        load_profile(str(Path(folder) / out.name))


def _draw(fitted: Fit, picture: Path) -> None:
    from floss_sim.plots.figure import save
    from floss_sim.plots.network_fit import draw_fit, fit_frame

    save(draw_fit(fit_frame(fitted), fitted), picture)
