"""``floss-sim check-app``: bytes and time of a Flower app, from its pyproject.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from floss_sim.analysis.deployment_settings import deployment_of
from floss_sim.analysis.estimate import Estimate
from floss_sim.analysis.estimate import estimate as estimate_of
from floss_sim.analysis.flower_app import FlowerApp, read_flower_app
from floss_sim.analysis.time_spread import SPREAD_LEGEND
from floss_sim.cli.console import PlainConsole, note, print_json
from floss_sim.cli.estimate_table import show_assumptions
from floss_sim.cli.shared_options import FetchOption, JsonOption, NetworkOption, given_settings
from floss_sim.errors import ConfigError
from floss_sim.units import format_bytes, parse_bytes

HELP = """Show bytes and time of a Flower app, from its pyproject.toml; nothing of it is run.

Reads the keys of Flower's template for language models, and the constants of LoraConfig(...) in its
Python files. A message holds all adapters as dense
float32 arrays: 4 bytes an entry and 128 a tensor, both ways. Options replace what the app states.

Examples:

  floss-sim check-app my-app

  floss-sim check-app my-app --budget 200GB --clients 20 --network wifi

  floss-sim check-app my-app --backbone qwen2.5-0.5b --targets q,v --json
"""
_MIB = 2**20


def check_app(
    app: Annotated[Path, typer.Argument(help="Folder of the app.", metavar="DIR")],
    budget: Annotated[str, typer.Option(help="Bytes of all messages, such as 200GB.")] = "200GB",
    backbone: Annotated[
        str | None, typer.Option(help="Packaged backbone, hub id, model folder or config.json.")
    ] = None,
    fetch: FetchOption = False,
    targets: Annotated[str | None, typer.Option(help="LoRA targets.")] = None,
    rank: Annotated[int | None, typer.Option(help="LoRA rank.")] = None,
    dora: Annotated[bool, typer.Option("--dora", help="Adapters are DoRA.")] = False,
    clients: Annotated[int | None, typer.Option(min=1, help="Clients of the fleet.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds.")] = None,
    network: NetworkOption = "wifi",
    json_: JsonOption = False,
) -> None:
    """Show bytes and time of a Flower app, from its pyproject.toml; nothing of it is run."""
    read = read_flower_app(app)
    given = given_settings(
        backbone=backbone, targets=targets, rank=rank, clients=clients, rounds=rounds
    )
    settings = {**read.settings(), **given, "fetch": fetch, "network": network, "method": "dense"}
    settings["dora"] = dora or settings["dora"]
    assumed = "targets" not in settings
    _check_complete(settings)
    settings["cohort"] = read.cohort(settings["clients"])
    made = estimate_of(deployment_of(settings)).with_numpy_messages()
    most = parse_bytes(budget)
    if json_:
        told = {"app": read.name, "budget_bytes": most, "targets_assumed": assumed,
                "from_code": dict(read.code), "unread_arguments": list(read.unread)}  # fmt: skip
        print_json({**told, **_answer(made, most)})
    else:
        _print(read, made, budget, most, " (assumed)" if assumed else "")


def _check_complete(settings: dict[str, Any]) -> None:
    """Raise ConfigError if the app leaves something out that decides its bytes."""
    asked = {
        "backbone": "model.name", "rank": "model.lora.peft-lora-r", "rounds": "num-server-rounds",
        "clients": "options.num-supernodes of its default federation",
    }  # fmt: skip
    for name, key in asked.items():
        if name not in settings:
            raise ConfigError(f"the app does not state {key}; give --{name}")


def _answer(made: Estimate, most: int) -> dict[str, Any]:
    told = made.to_json()
    kept = ("backbone", "model_type", "adapters", "clients", "cohort", "rounds", "trained_entries",
            "sizes_not_in_config", "expert_entries_without_adapter", "precision",
            "checkpointing", "memory",
            "trained_tensors", "dense_numpy_bytes", "dense_numpy_bytes_of_run", "network",
            "round_time", "run_time", "assumes_presence", "binds")  # fmt: skip
    answer = {name: told[name] for name in kept}
    return {**answer, "budget_share": told["dense_numpy_bytes_of_run"] / most}


def _print(app: FlowerApp, made: Estimate, budget: str, most: int, assumed: str) -> None:
    given, message = made.deployment, made.dense_numpy_bytes
    total = made.dense_numpy_run_bytes
    targets = ", ".join(given.adapters.targets)
    kind = "DoRA" if given.adapters.dora else "LoRA"
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = [
        ("app", app.name),
        ("backbone", f"{given.model.name} ({made.trained.parameters:,} parameters)"),
        ("adapters", f"{kind} of rank {given.adapters.rank} on {targets}{assumed}: "
                     f"{made.trained.entries:,} entries in {len(made.trained.tensors)} tensors"),
        *([("from its code", ", ".join(app.code))] if app.code else []),
        ("a message", format_bytes(message)),
        ("the run", f"{format_bytes(total)} ({total / _MIB:,.2f} MiB): {given.cohort} of "
                    f"{given.clients} clients, {given.rounds} rounds, both ways"),
        (f"of {budget}", f"{100 * total / most:.3g} %"),
        ("memory", f"{format_bytes(made.memory.total)} of a client: {given.batch} examples of "
                   f"{given.tokens} tokens at a time, in {made.precision_text}"),
        (f"on {given.profile.name}", f"{made.time.text}; {made.binding} takes most of a round"),
    ]  # fmt: skip
    for name, value in rows:
        table.add_row(name, value)
    PlainConsole().print(table)
    show_assumptions(made)
    if app.unread:
        note(
            f"Not known, so that bytes may differ: {', '.join(app.unread)} of its LoraConfig(...)."
        )
    note(
        f"{SPREAD_LEGEND[0].upper()}{SPREAD_LEGEND[1:]}. Compute is the network's own "
        "time for an example, which knows nothing of this model."
    )
