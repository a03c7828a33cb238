"""The command ``floss-plan``."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from floss_sim.cli.common import (
    BackboneOption,
    DatasetOption,
    DeviceOption,
    FetchOption,
    JsonOption,
    NetworkOption,
    RatioOption,
    SeedOption,
    SetOption,
    TaskOption,
    given,
    guard,
    network,
    parse_settings,
    progress_bar,
)
from floss_sim.errors import ConfigError
from floss_sim.records import fingerprint
from floss_sim.sparsity import parse_density
from floss_sim.tasks import load_task
from floss_sim.training import resolve_device
from planner import report
from planner.budget import parse_budget
from planner.plan import Plan
from planner.planning import make_plan
from planner.request import Request
from planner.space import grid
from planner.store import CurveStore, default_root
from planner.strategies import DEFAULT, STRATEGIES, maker
from planner.workers import worker_pool

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

_HELP = """Which rank and densities give the best model within a budget.

Predicts the cost of every candidate, searches by really training (see --search), and
prints the recommendation beside dense LoRA and the thesis' rule at the same budget. Every curve is
kept: asking again, or for another budget or network, trains only what is missing.

Budgets: 50-dense-rounds, 2GB, 500MB/client, 90s, 36h.

Examples:

  floss-plan --budget 50-dense-rounds --upload-ratio 16

  floss-plan --budget 20MB --ranks 4,16 --network lte --out plans/lte

  floss-plan --budget 60s --network lte --json
"""


@app.command(help=_HELP)
def plan(
    budget: Annotated[str, typer.Option(help="What may be spent; see above.")] = "50-dense-rounds",
    task: TaskOption = "digits",
    dataset: DatasetOption = None,
    backbone: BackboneOption = None,
    fetch: FetchOption = False,
    set_: SetOption = None,
    clients: Annotated[int | None, typer.Option(help="Clients in the fleet.")] = None,
    partition: Annotated[str | None, typer.Option(help="iid, dirichlet or column.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Concentration of dirichlet.")] = None,
    network_name: NetworkOption = "paper-200-20",
    upload_ratio: RatioOption = None,
    ranks: Annotated[str, typer.Option(help="LoRA ranks to search.")] = "1,4,16",
    down_densities: Annotated[
        str, typer.Option(help="Download densities to search.")
    ] = "1,1/4,1/16,1/64",
    up_densities: Annotated[
        str, typer.Option(help="Upload densities to search.")
    ] = "1,1/4,1/16,1/64",
    reference_rank: Annotated[int, typer.Option(help="Rank of dense rounds and baselines.")] = 16,
    max_rounds: Annotated[int, typer.Option(help="Cap on rounds.")] = 400,
    effort: Annotated[
        float, typer.Option(help="Rounds the search may train, as a fraction of the full grid's.")
    ] = 0.2,
    search: Annotated[str, typer.Option(help=f"Strategy: {', '.join(STRATEGIES)}.")] = DEFAULT,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Training processes; default: one a core.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Curve store; default: $FLOSS_SIM_STORE or the user cache.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of plan.json and plot; default: below plans/.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Which rank and densities give the best model within a budget."""
    maker(search)  # an unknown name is said before anything is loaded
    fleet = given(clients=clients, law=partition, alpha=alpha)
    changes = parse_settings(set_) | {f"partition.{key}": value for key, value in fleet.items()}
    request = Request(
        task=load_task(task, dataset=dataset, backbone=backbone, fetch=fetch, changes=changes),
        budget=parse_budget(budget),
        profile=network(network_name, upload_ratio),
        candidates=grid(
            _integers(ranks),
            [parse_density(text) for text in _items(down_densities)],
            [parse_density(text) for text in _items(up_densities)],
        ),
        reference_rank=reference_rank,
        max_rounds=max_rounds,
        effort=effort,
        seed=seed,
        search=search,
    ).checked()
    curves = CurveStore(store or default_root(), resolve_device(device))
    folder = out or _default_folder(request)
    report.ensure(folder)
    made = _plan_with_progress(request, curves, workers or os.cpu_count() or 1)
    report.save(made, folder)
    if json_:
        print(json.dumps(made.to_json(), indent=2))
    else:
        _print(made, folder)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _integers(text: str) -> list[int]:
    try:
        return [int(item) for item in _items(text)]
    except ValueError:
        raise ConfigError(f"ranks {text!r} are not integers separated by commas") from None


def _default_folder(request: Request) -> Path:
    mark = fingerprint(request.to_json())[:6]  # other seeds and candidates keep their own plans
    parts = (request.task.name, request.budget.text, request.profile.name, mark)
    return Path("plans") / re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts))


def _plan_with_progress(request: Request, store: CurveStore, workers: int) -> Plan:
    console = Console(stderr=True)
    with progress_bar(console) as bar, worker_pool(workers) as pool:
        work = bar.add_task("predicting costs", total=None)
        tenths = -1

        def show(stage: str, done: int, expected: int) -> None:
            nonlocal tenths
            bar.update(work, description=stage, completed=done, total=expected or None)
            if bar.disable and expected and 10 * done // expected > tenths:  # a log, no terminal
                tenths = 10 * done // expected
                console.print(f"{stage}: {done} of at most {expected} rounds")

        return make_plan(request, store, pool, show)


def _print(made: Plan, folder: Path) -> None:
    console = Console()
    title = f"{made.request['task']} on {made.request['network']}: {made.limit.describe()}"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for position, column in enumerate(report.COLUMNS):
        table.add_column(column, no_wrap=True, justify="right" if position else "left")
    for row in report.table_rows(made):
        table.add_row(*row, style="bold" if row[0] == "plan" else "")
    console.print(table)
    for line in report.sentences(made):
        console.print(line, highlight=False)
    print(f"Saved plan.json and accuracy.png in\n{folder}")


def main() -> None:
    """Entry point of ``floss-plan``."""
    sys.exit(guard(app, "floss-plan"))
