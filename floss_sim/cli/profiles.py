"""``floss-sim profiles``: network profiles, listed, shown, checked and fitted to speed tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from floss_sim.cli import profile_fit
from floss_sim.cli.console import (
    command_app,
    plain_table,
    print_json,
    print_text,
    show_whole,
)
from floss_sim.cli.profile_links import (
    RANGE,
    SAMPLES,
    class_table,
    device_names,
    fleet_text,
    has_quantiles,
    link_table,
    links_of,
    quantiles_of,
)
from floss_sim.cli.profile_sections import drawn_words, lines, sections, words
from floss_sim.cli.shared_options import JsonOption
from floss_sim.cli.slow_links import slow_links
from floss_sim.network import NetworkProfile, load_profile, packaged_profiles
from floss_sim.units import duration_texts, format_bytes, format_duration, format_rate

LIST_HELP = """List the packaged network profiles.

Examples:

  floss-sim profiles list

  floss-sim profiles list --json
"""
SHOW_HELP = """Show every class of a profile, times of sample transfers, and all other settings.

If the profile has a law, rows, or classes with a spread, quantiles are shown, each column on its
own: 5 % of the clients are below a figure in the line of 5 %. `compute` is the training time of one
example. Transfer times are for a transfer alone on the network, without jitter. The classes follow
in a second table. The last lines say what the seed draws.

Examples:

  floss-sim profiles show lte

  floss-sim profiles show mine.toml --json
"""
CHECK_HELP = """Check a profile; print a summary or the error in one line.

A further line names clients that take over an hour to download and upload 5 MB.

Examples:

  floss-sim profiles check mine.toml

  floss-sim profiles check mine.toml --json
"""
_FIGURES = ("down_bits_per_s", "up_bits_per_s", "rtt_s")
_SOURCE_WIDTH = 44  # characters of a source that the list shows
app = command_app("Network profiles.")
app.command("fit", help=profile_fit.HELP)(profile_fit.fit)
ProfileArgument = Annotated[
    str, typer.Argument(metavar="PROFILE", help="Packaged profile, or a path that ends in .toml.")
]


@app.command("list", help=LIST_HELP)
def list_(json_: JsonOption = False) -> None:
    """List the packaged network profiles."""
    profiles = [load_profile(name) for name in packaged_profiles()]
    if json_:
        print_json([_summary(profile) for profile in profiles])
        return
    table = plain_table("profile", "clients", "down", "up", "round trip", "date", "source")
    for profile in profiles:
        source = profile.source
        cut = source if len(source) <= _SOURCE_WIDTH else f"{source[: _SOURCE_WIDTH - 1]}…"
        table.add_row(profile.name, _kind(profile), *_ranges(profile), profile.date, cut)
    show_whole(table)


@app.command(help=SHOW_HELP)
def show(profile: ProfileArgument, json_: JsonOption = False) -> None:
    """Show every class of a profile, times of sample transfers, and all other settings."""
    loaded = load_profile(profile)
    if json_:
        listed = {"class_list": link_table(loaded), "classes": class_table(loaded)}
        print_json(_summary(loaded) | _sections(loaded) | listed | _slow_json(loaded))
        return
    transfers = [f"{format_bytes(size)} {way}" for way in ("down", "up") for size in SAMPLES]
    drawn = has_quantiles(loaded)
    first = "below" if drawn else "share"
    table = plain_table(first, "down", "up", "round trip", "compute", *transfers)
    of = f"; quantiles of {fleet_text(loaded)}, each column on its own" if drawn else ""
    table.title = f"{loaded.name}, {loaded.date}{of}"
    groups = link_table(loaded)
    times = [[g["rtt_s"], g["compute_s_per_example"], *g["transfer_s"].values()] for g in groups]
    columns = [duration_texts(column) for column in zip(*times, strict=True)]
    for group, *texts in zip(groups, *columns, strict=True):
        rates = [format_rate(group[f"{way}_bits_per_s"]) for way in ("down", "up")]
        if "device" in group:
            texts[1] = "by device"
        table.add_row(group["share"], *rates, *texts)
    show_whole(table)
    if drawn and loaded.clients:
        show_whole(_spread_table(loaded))
    said = [
        *_device_lines(loaded),
        *lines(_sections(loaded)),
        *_slow_lines(loaded),
        drawn_words(loaded),
    ]
    print_text("\n".join([*said, f"source: {loaded.source}"]))


@app.command(help=CHECK_HELP)
def check(profile: ProfileArgument, json_: JsonOption = False) -> None:
    """Check a profile; print a summary or the error in one line."""
    loaded = load_profile(profile)
    if json_:
        print_json({"file": profile, **_checked_json(loaded)})
        return
    drawn = has_quantiles(loaded)
    down, up, rtt = _quantile_texts(loaded) if drawn else _ranges(loaded)
    of = f" (5, 50 and 95 % of {fleet_text(loaded)}, each on its own)" if drawn else ""
    found = _sections(loaded)
    server = f"; server {words(found.pop('server'))}" if "server" in found else ""
    others = f"; also {', '.join(found).replace('_', ' ')}" if found else ""
    summary = (
        f"{profile}: {loaded.name!r} is a profile of {_kind(loaded)}{of}: "
        f"down {down}, up {up}, round trip {rtt}{server}{others}; {drawn_words(loaded)}"
    )
    print_text("\n".join([summary, *_slow_lines(loaded)]))


def _checked_json(profile: NetworkProfile) -> dict[str, Any]:
    """Return the content of the summary as plain values.

    Figures are lowest and highest, or with ``quantiles`` of a drawn fleet those of these shares.
    """
    drawn, found = has_quantiles(profile), _sections(profile)
    figures = {name: quantiles_of(profile, name, RANGE) for name in _FIGURES} if drawn else {}
    return {
        **_summary(profile),
        "quantiles": {"shares": list(RANGE), "of": fleet_text(profile)} if drawn else None,
        **figures,
        "server": found.pop("server", {}),
        "also": list(found),
        **_slow_json(profile),
    }


def _device_lines(profile: NetworkProfile) -> list[str]:
    """Return a line on the devices, whose seconds follow from the operations of a step."""
    names = device_names(profile)
    if not names:
        return []
    return [f"compute: by the operations of a step, on {', '.join(names)}"]


def _slow_lines(profile: NetworkProfile) -> list[str]:
    slow = slow_links(profile)
    return [slow.text] if slow else []


def _slow_json(profile: NetworkProfile) -> dict[str, Any]:
    slow = slow_links(profile)
    return {"slow_clients": slow and slow.to_json()}


def _sections(profile: NetworkProfile) -> dict[str, dict[str, Any]]:
    return sections(profile, links_of(profile))


def _kind(profile: NetworkProfile) -> str:
    """Return the kind of a profile's clients: a fleet by a law, or the number of classes."""
    if profile.fleet:
        return f"a fleet by {profile.fleet.law}"
    spread = " with spread" if has_quantiles(profile) else ""
    return f"{len(profile.clients)} class{'es' if len(profile.clients) > 1 else ''}{spread}"


def _spread_table(profile: NetworkProfile) -> Table:
    """Return the medians and spreads of the classes."""
    table = plain_table(
        "share", "down", "sigma", "up", "sigma", "correlation", "round trip", "sigma"
    )
    table.title = "classes: medians, and standard deviations of natural logarithms (sigma)"
    laws = [group.law() for group in profile.clients]
    rtts = duration_texts([law.medians[2] for law in laws])
    for group, law, rtt in zip(profile.clients, laws, rtts, strict=True):
        (down, up, *_), sigmas = law.medians, [f"{sigma:.3g}" for sigma in law.sigmas]
        table.add_row(
            *(f"{group.share:.3g}", format_rate(down), sigmas[0], format_rate(up), sigmas[1]),
            *(f"{law.correlation:.3g}", rtt, sigmas[2]),
        )
    return table


def _summary(profile: NetworkProfile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "date": profile.date,
        "source": profile.source,
        "clients": _kind(profile),
        **{name: _span(profile, name) for name in _FIGURES},
        "draws": list(profile.draws),
    }


def _span(profile: NetworkProfile, figure: str) -> list[float]:
    """Return the lowest and highest figure of the classes; 5 and 95 % of a drawn fleet."""
    if has_quantiles(profile):
        low, _, high = quantiles_of(profile, figure, RANGE)
        return [low, high]
    values = [getattr(link, figure) for link in profile.class_links()]
    return [min(values), max(values)]


def _ranges(profile: NetworkProfile) -> tuple[str, str, str]:
    summary = _summary(profile)
    return (
        _range(summary["down_bits_per_s"], format_rate),
        _range(summary["up_bits_per_s"], format_rate),
        _range(summary["rtt_s"], format_duration),
    )


def _quantile_texts(profile: NetworkProfile) -> tuple[str, str, str]:
    """Return three quantiles of down, up and round trip of a drawn fleet."""
    figures = (("down_bits_per_s", format_rate), ("up_bits_per_s", format_rate),
               ("rtt_s", format_duration))  # fmt: skip
    down, up, rtt = (
        _texts([text(value) for value in quantiles_of(profile, figure, RANGE)])
        for figure, text in figures
    )
    return down, up, rtt


def _texts(quantities: Sequence[str]) -> str:
    """Return quantities in one text; a unit that all of them have is written once."""
    pairs = [quantity.split() for quantity in quantities]
    if len({unit for _, unit in pairs}) > 1:
        return ", ".join(quantities)
    return f"{', '.join(number for number, _ in pairs)} {pairs[0][1]}"


def _range(span: Sequence[float], text: Callable[[float], str]) -> str:
    low, high = (text(value) for value in span)
    if low == high:
        return low
    number, unit = low.split()
    return f"{number if high.endswith(f' {unit}') else low} to {high}"
