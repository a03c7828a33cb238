"""``floss-sim account``: costs of a recorded run, by round, client or participation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.csv
import typer

from floss_sim.analysis.costs import COSTS, SECONDS, Account, MessageBytes, account, message_bytes
from floss_sim.analysis.recorded_networks import (
    find_recorded_network,
    is_timed_on,
    unknown_reason,
)
from floss_sim.analysis.recorded_privacy import recorded_privacy
from floss_sim.analysis.run_times import time_spread
from floss_sim.analysis.stragglers import Straggler, straggler_of
from floss_sim.analysis.time_spread import SHAPED_NOTE, SPREAD_LEGEND, traffic_alone_note
from floss_sim.cli.console import (
    note,
    plain_table,
    print_json,
    print_text,
    show_whole,
)
from floss_sim.cli.shared_options import JsonOption
from floss_sim.cli.size_legends import SIZES_LEGEND
from floss_sim.errors import ConfigError, RecordError
from floss_sim.files import replace_file
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.records import RunFolder, RunRecord
from floss_sim.records.measured_clock import measured_by
from floss_sim.runs.retiming import check_retimable, fleet_size, retime
from floss_sim.units import duration_texts, format_bytes

HELP = """Show the costs of a recorded run: seconds, bytes, energy and money.

The seconds are taken from the record. If --network differs from the recorded network, the run is
re-timed on it. Energy and prices come from --network, or else from the network on which the run was
recorded. Encoded bytes are framed bytes of both directions and of first downloads. Wire
bytes also include RPC framing, TLS, headers and the set-up of connections. A run with differential
privacy has its epsilon, too.

Examples:

  floss-sim account runs/first

  floss-sim account runs/first --network mine.toml --by client --csv clients.csv
"""
_ROW_KINDS = ("round", "client", "participation")


def show_account(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    network: Annotated[
        str | None, typer.Option(help="Packaged profile, or a path that ends in .toml.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Rows of --csv and --json: round (default), client or participation."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    json_: JsonOption = False,
) -> None:
    """Show the costs of a recorded run: seconds, bytes, energy and money."""
    by = _row_kind(by, csv is not None or json_)
    folder = RunFolder.read(run)
    record = folder.record()
    if not record.rounds.num_rows:
        raise RecordError(f"{run} holds no committed round")
    profile = load_profile(network) if network else find_recorded_network(folder)
    if profile and not is_timed_on(folder, profile):
        record = retime(record, profile)
    made = account(record, profile)
    name = profile.name if profile else folder.manifest().network
    rows = made.table() if by == "participation" else made.sums_by(by)
    if csv:
        _write(rows, csv)
    total, messages = made.total(), message_bytes(record, profile)
    straggler = straggler_of(record)
    notes = _fleet_notes(straggler, record, profile)
    if privacy := recorded_privacy(record):
        notes.append(f"privacy: {privacy.text}")
    if json_:
        said: dict[str, Any] = {"network": name, "currency": made.currency, "total": total}
        said["straggler"] = straggler and straggler.to_json()
        said["notes"] = notes
        said |= {"privacy": privacy.to_json()} if privacy else {}
        said["messages"] = {way: asdict(found) for way, found in messages.items()}
        print_json({**said, "by": by, "rows": rows.to_pylist()})
    else:
        _print(made, record.rounds.num_rows, name)
        _print_legend("first" in record.transfers["direction"].to_pylist())
        _print_messages(messages, name)
        for sentence in notes:
            note(sentence)
        if csv:
            print_text(f"by {by}: {csv}")


def _row_kind(by: str | None, listed: bool) -> str:
    """Return the kind of the rows: ``round`` (default), ``client`` or ``participation``.

    Raises:
        ConfigError: The kind is unknown, or it is given although no rows are listed.
    """
    if by is None:
        return _ROW_KINDS[0]
    if by not in _ROW_KINDS:
        raise ConfigError(f"--by {by!r} is unknown; valid: {', '.join(_ROW_KINDS)}")
    if not listed:
        raise ConfigError("--by chooses the rows of --csv or --json; give one of these")
    return by


def _write(rows: pa.Table, path: Path) -> None:
    with replace_file(path) as temporary, temporary.open("wb") as file:
        pyarrow.csv.write_csv(rows, file)


def _print(made: Account, rounds: int, network: str) -> None:
    total, count = made.total(), len(made.columns["sequence"])
    known = {name: amount for name, amount in total.items() if amount is not None}
    fates = made.columns["fate"]
    table = plain_table("", "total", "per client and round", title=f"{rounds} rounds on {network}")
    columns = [duration_texts([known[name] / n for name in SECONDS]) for n in (1, count)]
    for name, *texts in zip(SECONDS, *columns, strict=True):
        words = name.removesuffix("_s")
        table.add_row(f"of these, {words}" if words == "queueing" else words, *texts)
    for name, words in (
        ("useful_bytes", "encoded, aggregated"),
        ("wasted_bytes", "encoded, wasted"),
        ("wire_down_bytes", "on the wire, down"),
        ("wire_up_bytes", "on the wire, up"),
    ):
        table.add_row(words, *(format_bytes(known[name] / n) for n in (1, count)))
    for name, unit in zip(COSTS, ("J", made.currency), strict=True):
        amount = total[name]
        told = (
            ["unknown", ""] if amount is None else [f"{amount / n:.3g} {unit}" for n in (1, count)]
        )
        table.add_row(name.removesuffix("_j"), *told)
    show_whole(table)
    kinds = ", ".join(f"{(fates == kind).sum()} {kind}" for kind in _sort_fates(fates))
    print(f"{count} participations: {kinds}")


def _print_legend(first_downloads: bool) -> None:
    included = "frames and first downloads" if first_downloads else "frames"
    note(
        f"encoded: both directions ({included} included); on the wire: with RPC framing, TLS, "
        "headers and the set-up of connections"
    )


def _fleet_notes(
    straggler: Straggler | None, record: RunRecord, profile: NetworkProfile | None
) -> list[str]:
    """Return who holds up its rounds, and what the seconds are: of one fleet, of traffic alone."""
    clients = fleet_size(record.description)
    if framework := measured_by(record.description):
        return [
            f"seconds are measured by a deployment's server ({framework}), from dispatch to reply: "
            "all of it counts as compute, transfers and the framework's polls included"
        ]
    links = profile.links(clients) if profile else None
    own = links[straggler.client] if links and straggler else None
    notes = straggler.sentences(own) if straggler else []
    if notes and not (profile and not profile.draws):
        fleet = f"the one fleet of seed {profile.seed}" if profile else "the one recorded fleet"
        notes[0] = f"on {fleet}, {notes[0]}"
    if profile and profile.draws:
        notes.append(f"seconds: of one fleet (seed {profile.seed}){_other_fleets(record, profile)}")
    if profile and profile.is_traffic_alone:
        notes.append(traffic_alone_note(profile.name))
    return notes


def _other_fleets(record: RunRecord, profile: NetworkProfile) -> str:
    """Return the clause on the time of the run on the fleets that the network may draw."""
    try:
        check_retimable(record.description, profile)
    except ConfigError:
        return f"; {SHAPED_NOTE}"
    return f"; the run takes {time_spread(record, profile).text}: {SPREAD_LEGEND}"


def _print_messages(messages: Mapping[str, MessageBytes], network: str) -> None:
    set_up = any(found.setup != 0 for found in messages.values())
    columns = ("payload", "framed", "message", "link", *(("setup", "wire") if set_up else ()))
    names = {"setup": "set-up", "wire": "on the wire"}
    table = plain_table("a message", "number", *(names.get(name, name) for name in columns))
    for way, found in messages.items():
        sizes = [getattr(found, name) for name in columns]
        shown = ["?" if size is None else format_bytes(size) for size in sizes]
        table.add_row(way, str(found.messages), *shown)
    show_whole(table)
    note(f"{SIZES_LEGEND}, retransmissions included")
    if any(found.message is None for found in messages.values()):
        note(f"?: not known: {unknown_reason(network)}; pass --network FILE")


def _sort_fates(fates: Any) -> list[str]:
    return sorted(set(fates), key=lambda kind: (-(fates == kind).sum(), kind))
