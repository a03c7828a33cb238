"""``floss-plan`` itself: what is asked, and the search for its answer."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated

import typer

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
    network,
    parse_settings,
)
from floss_sim.records import fingerprint
from floss_sim.sparsity import parse_density
from floss_sim.tasks import load_task
from floss_sim.training import resolve_device
from planner import report
from planner.budget import parse_budget
from planner.cli.common import integers, items, plan_with_progress, print_plan
from planner.request import Request
from planner.space import grid
from planner.store import CurveStore, default_root
from planner.strategies import STRATEGIES, maker

HELP = """Which rank and densities give the best model within a budget.

Predicts the cost of every candidate, searches by really training (see --search), and
prints the recommendation beside dense LoRA and the thesis' rule at the same budget. Every curve is
kept: asking again, or for another budget or network, trains only what is missing.

Budgets: 50-dense-rounds, 2GB, 500MB/client, 90s, 36h.

Examples:

  floss-plan --budget 50-dense-rounds --upload-ratio 16

  floss-plan --budget 20MB --ranks 4,16 --network lte --out plans/lte

  floss-plan --budget 60s --network lte --json
"""


def plan(
    context: typer.Context,
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
    search: Annotated[str, typer.Option(help=f"Strategy: {', '.join(STRATEGIES)}.")] = "halving",
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
    if context.invoked_subcommand is not None:
        return
    maker(search)  # an unknown name is said before anything is loaded
    fleet = given(clients=clients, law=partition, alpha=alpha)
    changes = parse_settings(set_) | {f"partition.{key}": value for key, value in fleet.items()}
    request = Request(
        task=load_task(task, dataset=dataset, backbone=backbone, fetch=fetch, changes=changes),
        budget=parse_budget(budget),
        profile=network(network_name, upload_ratio),
        candidates=grid(
            integers(ranks),
            [parse_density(text) for text in items(down_densities)],
            [parse_density(text) for text in items(up_densities)],
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
    made = plan_with_progress(request, curves, workers or os.cpu_count() or 1)
    report.save(made, folder)
    if json_:
        print(json.dumps(made.to_json(), indent=2))
    else:
        print_plan(made, folder)


def _default_folder(request: Request) -> Path:
    mark = fingerprint(request.to_json())[:6]  # other seeds and candidates keep their own plans
    parts = (request.task.name, request.budget.text, request.profile.name, mark)
    return Path("plans") / re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts))
