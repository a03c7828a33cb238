"""Estimates as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from floss_sim.analysis.estimate import Estimate
from floss_sim.analysis.framework_floor import framework_text
from floss_sim.analysis.round_parts import FRAMEWORK, ROUND_PARTS
from floss_sim.analysis.time_spread import SPREAD_LEGEND, spread_texts, traffic_alone_note
from floss_sim.cli.console import PlainConsole, note, plain_table, show_whole
from floss_sim.cli.profile_links import device_names
from floss_sim.units import (
    duration_texts,
    format_bytes,
    format_duration,
    format_error,
    format_money,
    format_operations,
)
from floss_sim.wire.framing import OVERHEAD_BYTES

_SHOWN = 8  # sizes in a note, at most
_LARGER = "; those runs trained fewer entries than this one"


def print_estimate(made: Estimate) -> None:
    """Print an estimate."""
    given, trained = made.deployment, made.trained
    note(
        f"{given.model.name} ({trained.model_type}, {trained.parameters:,} parameters), "
        f"{given.model.kind}: {trained.entries:,} entries in {len(trained.tensors)} tensors train"
    )
    sizes = plain_table("", "payload", "message", "link", "dense NumPy", "error")
    dense = made.dense_numpy_bytes
    for name, way in (("download", "down"), ("upload", "up")):
        one = made.message(way)
        levels = (one.payload, one.message, one.link, dense)
        sizes.add_row(name, *map(format_bytes, levels), format_error(made.errors[way]))
    show_whole(sizes)
    totals = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _rows(made):
        totals.add_row(name, value)
    PlainConsole().print(totals)
    if made.compute_bound:
        note(made.compute_bound)
    note(_legend(made))
    show_assumptions(made)


def show_assumptions(made: Estimate) -> None:
    """Print what the estimate assumes about the model and its clients, if anything."""
    if made.table.defaults:
        shown = [
            name if value is None else f"{name} {value}"
            for name, value in made.table.defaults.items()
        ]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        note(
            "Not in the config, so that the model library's defaults are used: "
            f"{', '.join(shown[:_SHOWN])}{more}."
        )
    if made.expert_entries_without_adapter:
        note(
            f"With these targets {made.expert_entries_without_adapter:,} entries of experts get no "
            "adapter."
        )
    _note_networks([made])


def _note_networks(made: Sequence[Estimate]) -> None:
    """Print what times leave out or have beside traffic.

    Left out are absent clients, and round trips and compute that a file lacks; beside traffic is
    the floor of a framework.
    """
    profiles = [one.deployment.profile for one in made]
    for name in dict.fromkeys(profile.name for profile in profiles if profile.is_traffic_alone):
        note(f"{traffic_alone_note(name)}.")
    for one in made:
        given = one.deployment
        if given.profile.transport.framework:
            round_s = one.time.per_round(given.rounds).median_s
            note(framework_text(one.shares[FRAMEWORK], round_s, given.profile.name))
    names = dict.fromkeys(profile.name for profile in profiles if profile.shapes_training)
    if names:
        note(
            f"Clients of {', '.join(names)} drop out or are off at times. Bytes and times here are "
            "those of clients that are always there and never drop out."
        )


def _rows(made: Estimate) -> list[tuple[str, str]]:
    given, memory = made.deployment, made.memory
    participations = given.cohort * given.rounds
    parts = ", ".join(
        f"{100 * made.shares[name]:.0f} % {name}"
        for name in (*ROUND_PARTS, FRAMEWORK)
        if made.shares.get(name, 0.0) >= 0.005
    )
    rows = [
        ("a client, a round", format_bytes(made.run_bytes / participations)),
        ("a client, the run", f"{format_bytes(made.run_bytes / given.clients)} on average"),
        ("a round", f"{format_bytes(made.run_bytes / given.rounds)} of {given.cohort} clients"),
        (
            "the run",
            f"{format_bytes(made.run_bytes)} framed, {format_bytes(sum(made.link_bytes))} on the "
            f"links; dense NumPy {format_bytes(made.dense_numpy_run_bytes)}",
        ),
        *([("privacy", made.privacy.text)] if made.privacy else []),
        ("round time", f"{made.time.per_round(given.rounds).text}: {parts}"),
        ("run time", made.time.text),
        *([("slow fleets", made.slow_fleets.text)] if made.slow_fleets else []),
        ("compute", _compute_text(made)),
        (
            "memory",
            f"{format_bytes(memory.total)}: weights {format_bytes(memory.weights)}, trained "
            f"entries, gradients and momentum {format_bytes(3 * memory.trained)}, activations "
            f"{format_bytes(memory.activations)}",
        ),
    ]
    energy = money = "unknown: the network's file does not state it"
    if made.energy_j is not None:
        energy = f"{made.energy_j / given.clients:.3g} J a client"
    if made.money is not None and given.profile.prices:
        money = format_money(made.money, given.profile.prices.currency)
    return [*rows, ("energy", energy), ("money", money)]


def _compute_text(made: Estimate) -> str:
    """Return operations and seconds of a client's local training, in words."""
    work, steps = made.work, made.steps
    total_s = made.client_compute_s
    return (
        f"{format_duration(total_s)} a client and round: {steps} step{'s' * (steps != 1)} of "
        f"{format_operations(work.operations.of_step(work.batch))}, "
        f"{format_duration(total_s / steps)} each"
    )


def _legend(made: Estimate) -> str:
    given = made.deployment
    batch = min(given.batch, given.examples)
    spread = (
        SPREAD_LEGEND
        if made.time.draws > 1
        else "this network is the same for every seed: one time"
    )
    return (
        f"Bytes of a client, a round and the run are framed: payloads in our frame of "
        f"{OVERHEAD_BYTES} bytes, as a run's record counts them. "
        f"Time on {given.profile.name}: {spread}; {made.binding} takes most of a round. A client "
        f"trains {given.examples} examples a round; {_compute_legend(made)} Memory: "
        f"{batch} example{'s' * (batch > 1)} of "
        f"{given.tokens} tokens at a time, in {made.precision_text}. Dense NumPy: 4 bytes an entry "
        "and 128 a tensor, as Flower sends adapters. Error: nine of ten recorded runs that were "
        "held out were predicted within it"
        f"{_LARGER if made.is_beyond_recorded else ''}."
    )


def _compute_legend(made: Estimate) -> str:
    """Return where the seconds of compute come from."""
    if made.deployment.profile.has_devices:
        return (
            "compute is the operations of its steps over the rate of its device "
            f"({', '.join(device_names(made.deployment.profile))})."
        )
    return "compute is the network's own time for an example, which knows nothing of this model."


def sweep_table(option: str, made: Mapping[str, Estimate]) -> None:
    """Print one row for each value of a sweep."""
    table = plain_table(option, "entries", "download", "upload", "dense NumPy", "run", "round time",
                        "run time", "memory")  # fmt: skip
    round_times = spread_texts(e.time.per_round(e.deployment.rounds) for e in made.values())
    run_times = duration_texts([one.time.median_s for one in made.values()])
    rows = zip(made.items(), round_times, run_times, strict=True)
    for (value, one), round_time, run_time in rows:
        table.add_row(
            value,
            f"{one.trained.entries:,}",
            format_bytes(one.message("down").link),
            format_bytes(one.message("up").link),
            format_bytes(one.dense_numpy_bytes),
            format_bytes(one.run_bytes),
            round_time,
            run_time,
            format_bytes(one.memory.total),
        )
    show_whole(table)
    note(
        f"download, upload: bytes on the link; run: framed bytes of all messages; "
        f"round time: {SPREAD_LEGEND}; run time: median"
    )
    _note_networks([*made.values()])
