"""``floss-sim profiles``: what networks there are, what they mean, and one of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from floss_sim.cli.common import JsonOption
from floss_sim.errors import ProfileError
from floss_sim.network import NetworkProfile, load_profile, packaged_profiles
from floss_sim.network.fitting import PERCENTS, Fit, fit_classes, profile_text, report
from floss_sim.network.speed_tests import Reading, read_speed_tests
from floss_sim.records import write_atomically
from floss_sim.units import format_bytes, format_duration, format_rate

LIST_HELP = """List the packaged network profiles.

Examples:

  floss-sim profiles list

  floss-sim profiles list --json
"""
SHOW_HELP = """Show every class of a profile, and how long transfers take.

Examples:

  floss-sim profiles show lte

  floss-sim profiles show mine.toml --json
"""
CHECK_HELP = """Check a profile; say in one line what it holds or what is wrong.

Examples:

  floss-sim profiles check mine.toml
"""
FIT_HELP = """Fit a profile to a CSV file of speed tests, one a row.

The columns and units are read from the columns' names where these leave no choice, such as
download_mbps, upload_mbps and rtt_ms; name them otherwise. The report and the picture show what a
few classes lose.

Examples:

  floss-sim profiles fit tests.csv --out mine.toml --source "us, March" --date 2026-03

  floss-sim profiles fit tests.csv --out mine.toml --source "us" --where rat=4G --weight devices

  floss-sim profiles fit tests.csv.gz --out mine.toml --source "us" --rate-unit Mbit/s

  floss-sim run --network mine.toml
"""
_SAMPLES = (100_000, 1_000_000)  # bytes of the transfers that are shown
_SOURCE_WIDTH = 44  # characters of a source that the list shows
_KINDS = ("data", "fit")
_PERCENTILES = (
    ("download", "down_bits_per_s", format_rate),
    ("upload", "up_bits_per_s", format_rate),
    ("round trip", "rtt_s", format_duration),
    ("down : up", "down_up_ratio", "{:.3g}".format),
)

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Network profiles.")
ProfileArgument = Annotated[
    str, typer.Argument(metavar="PROFILE", help="Packaged profile, or a path that ends in .toml.")
]


@app.command("list", help=LIST_HELP)
def list_(json_: JsonOption = False) -> None:
    """List the packaged network profiles."""
    profiles = [load_profile(name) for name in packaged_profiles()]
    if json_:
        print(json.dumps([_summary(profile) for profile in profiles], indent=2))
        return
    table = _new_table("profile", "classes", "down", "up", "round trip", "date", "source")
    for profile in profiles:
        source = profile.source
        cut = source if len(source) <= _SOURCE_WIDTH else f"{source[: _SOURCE_WIDTH - 1]}…"
        table.add_row(profile.name, str(len(profile.clients)), *_ranges(profile), profile.date, cut)
    _show(table)


@app.command(help=SHOW_HELP)
def show(profile: ProfileArgument, json_: JsonOption = False) -> None:
    """Show every class of a profile, and how long transfers take."""
    loaded = load_profile(profile)
    if json_:
        print(json.dumps(_summary(loaded) | {"class_list": _class_list(loaded)}, indent=2))
        return
    transfers = [f"{format_bytes(size)} {way}" for way in ("down", "up") for size in _SAMPLES]
    table = _new_table("share", "down", "up", "round trip", "an example", *transfers)
    table.title = f"{loaded.name}, {loaded.date}"
    for group in _class_list(loaded):
        rates = [format_rate(group[f"{way}_bits_per_s"]) for way in ("down", "up")]
        times = [group["rtt_s"], group["compute_s_per_example"], *group["transfer_s"].values()]
        table.add_row(f"{group['share']:.3g}", *rates, *(format_duration(time) for time in times))
    _show(table)
    print(f"source: {loaded.source}")


@app.command(help=CHECK_HELP)
def check(profile: ProfileArgument) -> None:
    """Check a profile; say in one line what it holds or what is wrong."""
    loaded = load_profile(profile)
    down, up, rtt = _ranges(loaded)
    classes = len(loaded.clients)
    print(
        f"{profile}: {loaded.name!r} is a profile of {classes} client class"
        f"{'es' if classes > 1 else ''}: down {down}, up {up}, round trip {rtt}"
    )


def _summary(profile: NetworkProfile) -> dict[str, Any]:
    groups = profile.clients
    return {
        "name": profile.name,
        "date": profile.date,
        "source": profile.source,
        "classes": len(groups),
        "down_bits_per_s": _span(group.down for group in groups),
        "up_bits_per_s": _span(group.up for group in groups),
        "rtt_s": _span(group.rtt for group in groups),
    }


def _span(values: Iterable[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered[0], ordered[-1]]


def _ranges(profile: NetworkProfile) -> tuple[str, str, str]:
    summary = _summary(profile)
    return (
        _range(summary["down_bits_per_s"], format_rate),
        _range(summary["up_bits_per_s"], format_rate),
        _range(summary["rtt_s"], format_duration),
    )


def _range(span: Sequence[float], text: Callable[[float], str]) -> str:
    low, high = (text(value) for value in span)
    if low == high:
        return low
    number, unit = low.split()
    return f"{number if high.endswith(f' {unit}') else low} to {high}"


def _class_list(profile: NetworkProfile) -> list[dict[str, Any]]:
    """Return each class, and the seconds of sample transfers that nothing else delays."""
    listed = []
    for group in profile.clients:
        link = group.link()
        ways = {"down": link.download_s, "up": link.upload_s}
        times = {f"{way}_{size}": take(size) for way, take in ways.items() for size in _SAMPLES}
        listed.append(
            {
                "share": group.share,
                "down_bits_per_s": group.down,
                "up_bits_per_s": group.up,
                "rtt_s": group.rtt,
                "compute_s_per_example": group.compute_per_example,
                "transfer_s": times,
            }
        )
    return listed


@app.command(help=FIT_HELP)
def fit(
    tests: Annotated[
        Path, typer.Argument(metavar="CSV", help="Speed tests with a header; may end in .gz.")
    ],
    out: Annotated[Path, typer.Option(help="The profile; its picture is written beside it.")],
    source: Annotated[str, typer.Option(help="Who measured it, where.")],
    name: Annotated[
        str | None, typer.Option(help="Names the profile; default: the file's name.")
    ] = None,
    date_: Annotated[
        str | None, typer.Option("--date", help="When it was measured; default: today.")
    ] = None,
    classes: Annotated[int, typer.Option(min=1, max=100, help="Classes of equal weight.")] = 4,
    down: Annotated[str | None, typer.Option(help="Column of the download rate.")] = None,
    up: Annotated[str | None, typer.Option(help="Column of the upload rate.")] = None,
    latency: Annotated[str | None, typer.Option(help="Column of the round trip.")] = None,
    rate_unit: Annotated[
        str | None, typer.Option(help="Unit of both rates, such as Mbit/s, kbit/s or MB/s.")
    ] = None,
    latency_unit: Annotated[str | None, typer.Option(help="Unit of the latency: ms or s.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of the rows' weights.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Keep rows with COLUMN=VALUE; repeatable.")
    ] = None,
    compute_per_example: Annotated[
        str, typer.Option(help="Training time of one example: your assumption.")
    ] = "5 ms",
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    json_: JsonOption = False,
) -> None:
    """Fit a profile to a CSV file of speed tests, one a row."""
    picture = _picture(out, force)
    reading = Reading(down, up, latency, weight, rate_unit, latency_unit, tuple(where or ()))
    fitted = fit_classes(read_speed_tests(tests, reading), classes)
    today = date.today().isoformat()
    text = profile_text(
        fitted,
        name=name or out.stem,
        source=source,
        date=date_ or today,
        fitted_on=today,
        compute_per_example=compute_per_example,
    )
    _draw(fitted, picture)
    write_atomically(out, text)
    load_profile(str(out))
    found = report(fitted) | {"profile": str(out), "picture": str(picture)}
    if json_:
        print(json.dumps(found, indent=2))
    else:
        _print_fit(found)


def _picture(out: Path, force: bool) -> Path:
    """Return the path of the picture beside a profile, if both may be written."""
    if out.suffix != ".toml":
        raise ProfileError(f"profile {str(out)!r} must end in .toml")
    picture = out.with_suffix(".png")
    taken = [str(path) for path in (out, picture) if path.exists()]
    if taken and not force:
        raise ProfileError(f"{' and '.join(taken)} would be overwritten; add --force to do it")
    return picture


def _draw(fitted: Fit, picture: Path) -> None:
    from floss_sim.plots import draw_fit, fit_frame, save

    classes, tests = fitted.shares.size, fitted.tests
    title = f"{classes} classes fitted to {tests.weights.size} speed tests of {tests.source}"
    save(draw_fit(fit_frame(fitted), title), picture)


def _print_fit(found: dict[str, Any]) -> None:
    used, left, filtered = (found[f"rows_{what}"] for what in ("used", "left_out", "filtered"))
    read = [f"{found['columns'][role]} in {unit}" for role, unit in found["units"].items()]
    print(f"{used} rows used, {left} left out (a value missing or not above zero), ", end="")
    print(f"{filtered} filtered; down, up and latency from {', '.join(read)}")
    table = _new_table("", *(f"{percent} % {kind}" for percent in PERCENTS for kind in _KINDS))
    for title, key, text in _PERCENTILES:
        values = found["percentiles"][key]
        table.add_row(title, *(text(values[k][str(p)]) for p in PERCENTS for k in _KINDS))
    _show(table)
    both = (found["rank_correlation"][kind] for kind in _KINDS)
    data, fitted = ("-" if value is None else f"{value:.2f}" for value in both)
    print(f"rank correlation of down and up: {data} in the data, {fitted} in the fit")
    least = 1 / (2 * len(found["classes"]))
    print(
        f"largest distance of the distributions (Kolmogorov-Smirnov): down {found['ks_down']:.3f}, "
        f"up {found['ks_up']:.3f}; so many classes cannot do better than {least:.3f}"
    )
    print(f"profile: {found['profile']}, picture: {found['picture']}")


def _new_table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, no_wrap=True, justify="left" if name == "source" else "right")
    return table


def _show(table: Table) -> None:
    """Print a table whole: numbers are never cut, however narrow the terminal."""
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = max(console.width, Console(width=10_000).measure(table).maximum)
    console.print(table)
