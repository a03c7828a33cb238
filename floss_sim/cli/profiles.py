"""``floss-sim profiles``: network profiles, listed, shown, checked and fitted to speed tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import typer

from floss_sim.cli import profile_fit
from floss_sim.cli.console import (
    command_app,
    plain_table,
    print_json,
    print_text,
    show_whole,
)
from floss_sim.cli.profile_sections import drawn_words, lines, sections, words
from floss_sim.cli.shared_options import JsonOption
from floss_sim.network import ClientLink, NetworkProfile, load_profile, packaged_profiles
from floss_sim.network.fleets.laws import RowsFleet
from floss_sim.units import format_bytes, format_duration, format_rate

LIST_HELP = """List the packaged network profiles.

Examples:

  floss-sim profiles list

  floss-sim profiles list --json
"""
SHOW_HELP = """Show every class of a profile, times of sample transfers, and all other settings.

If the profile has a law instead of classes, some clients are shown from slow to fast downloads: 5 %
of the fleet is slower than the first one. `compute` is the training time of one example. Transfer
times are for a transfer alone on the network, without jitter. Figures of a class with a spread are
medians; a spread is the standard deviation of the natural logarithm. The last lines say what the
seed draws.

Examples:

  floss-sim profiles show lte

  floss-sim profiles show mine.toml --json
"""
CHECK_HELP = """Check a profile; print a summary or the error in one line.

Examples:

  floss-sim profiles check mine.toml
"""
_SAMPLES = (100_000, 1_000_000)  # bytes of the sample transfers
_DRAWN = 1000  # clients drawn from a law to show its quantiles
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # fractions of the clients that are slower downloading
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
        listed = {"class_list": _class_list(loaded)}
        print_json(_summary(loaded) | _sections(loaded) | listed)
        return
    transfers = [f"{format_bytes(size)} {way}" for way in ("down", "up") for size in _SAMPLES]
    first = "slower" if loaded.fleet else "share"
    table = plain_table(first, "down", "up", "round trip", "compute", *transfers)
    table.title = f"{loaded.name}, {loaded.date}"
    for group in _class_list(loaded):
        rates = [format_rate(group[f"{way}_bits_per_s"]) for way in ("down", "up")]
        times = [group["rtt_s"], group["compute_s_per_example"], *group["transfer_s"].values()]
        table.add_row(group["share"], *rates, *(format_duration(time) for time in times))
    show_whole(table)
    said = [*lines(_sections(loaded)), drawn_words(loaded), f"source: {loaded.source}"]
    print_text("\n".join(said))


@app.command(help=CHECK_HELP)
def check(profile: ProfileArgument) -> None:
    """Check a profile; print a summary or the error in one line."""
    loaded = load_profile(profile)
    down, up, rtt = _ranges(loaded)
    found = _sections(loaded)
    server = f"; server {words(found.pop('server'))}" if "server" in found else ""
    others = f"; also {', '.join(found).replace('_', ' ')}" if found else ""
    print_text(
        f"{profile}: {loaded.name!r} is a profile of {_kind(loaded)}: "
        f"down {down}, up {up}, round trip {rtt}{server}{others}; {drawn_words(loaded)}"
    )


def _sections(profile: NetworkProfile) -> dict[str, dict[str, Any]]:
    return sections(profile, [link for _, link in _links(profile)])


def _kind(profile: NetworkProfile) -> str:
    """Return the kind of a profile's clients: a fleet by a law, or the number of classes."""
    if profile.fleet:
        return f"a fleet by {profile.fleet.law}"
    return f"{len(profile.clients)} class{'es' if len(profile.clients) > 1 else ''}"


def _links(profile: NetworkProfile) -> list[tuple[str, ClientLink]]:
    """Return share and link of each class; for a law, of clients from slow to fast downloads."""
    if profile.fleet is None:
        classes = zip(profile.clients, profile.class_links(), strict=True)
        return [(f"{group.share:.3g}", link) for group, link in classes]
    rows = profile.fleet.rows.links if isinstance(profile.fleet, RowsFleet) else ()
    table = len(rows) if profile.fleet.law == "table" else _DRAWN
    drawn = sorted(profile.links(table), key=lambda link: link.down_bits_per_s)
    return [(f"{share:.0%}", drawn[int(share * (table - 1))]) for share in _QUANTILES]


def _summary(profile: NetworkProfile) -> dict[str, Any]:
    links = [link for _, link in _links(profile)]
    return {
        "name": profile.name,
        "date": profile.date,
        "source": profile.source,
        "clients": _kind(profile),
        "down_bits_per_s": _span(link.down_bits_per_s for link in links),
        "up_bits_per_s": _span(link.up_bits_per_s for link in links),
        "rtt_s": _span(link.rtt_s for link in links),
        "draws": list(profile.draws),
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
    """Return each class with the seconds of sample transfers alone on the network."""
    listed = []
    for share, link in _links(profile):
        times = {
            f"{way}_{size}": link.transfer_s(
                way,
                size,
                profile.transport,
                limit_bits_per_s=profile.alone_bits_per_s(way),
            )
            for way in ("down", "up")
            for size in _SAMPLES
        }
        listed.append(
            {
                "share": share,
                "down_bits_per_s": link.down_bits_per_s,
                "up_bits_per_s": link.up_bits_per_s,
                "rtt_s": link.rtt_s,
                "compute_s_per_example": link.compute_s_per_example,
                "transfer_s": times,
            }
        )
    return listed
