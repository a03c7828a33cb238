"""``floss-sim export``: a recorded run as an app of a deployment framework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from floss_sim.cli.console import print_json, print_text
from floss_sim.cli.shared_options import (
    BackboneOption,
    DatasetOption,
    JsonOption,
    SetOption,
    parse_settings,
)

HELP = """Write a recorded run as an app of a deployment framework.

The app trains the run again: the same task, partition, seed, method and rounds, with floss-sim as
its library; a wheel of it lies beside the app. On one machine its curve is that of floss-sim run
--learner sequential, bit for bit. Two things differ: the noise of --dp-clip, which the app draws
from the operating system, and the global model of fedsa-lora, as the server lacks the clients' B.
Refused: --mask-ledger, and sparse-adapter and adapter-lth with --pick random, since nodes lack the
server's history of masks.

Examples:

  floss-sim export runs/first --to flower --out app

  floss-sim export runs/mine --task mine.toml --rounds 20 --out app
"""
ToOption = Annotated[str, typer.Option(help="The framework: flower.")]
OutOption = Annotated[Path, typer.Option(help="Folder to write; missing or empty.")]


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: OutOption,
    to: ToOption = "flower",
    task: Annotated[
        str | None,
        typer.Option(help="Task of the run, packaged or a path; default: the recorded name."),
    ] = None,
    dataset: DatasetOption = None,
    backbone: BackboneOption = None,
    set_: SetOption = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds to train; default: the record's.")
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option(min=1, help="Rounds between evaluations; default: the record's.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Write a recorded run as an app of a deployment framework."""
    from floss_sim.deployment import export_run

    made = export_run(
        run,
        out,
        task=task,
        rounds=rounds,
        eval_every=eval_every,
        dataset=dataset,
        backbone=backbone,
        changes=parse_settings(set_),
        to=to,
    )
    show_export(made, to, json_)


def show_export(made: Path, to: str, json_: bool) -> None:
    """Print where an app was written, and where its instructions are."""
    if json_:
        print_json({"app": str(made), "to": to})
        return
    print_text(f"app for {to}: {made}")
    print_text(f"how to install, simulate and deploy it: {made / 'README.md'}")
