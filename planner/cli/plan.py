"""``floss-plan`` itself: what is asked, and the search for its answer."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from floss_sim.analysis.run_memory import check_memory
from floss_sim.cli.console import note, print_json, print_text
from floss_sim.cli.exit_codes import ExitCode
from floss_sim.cli.progress_log import late_lines
from floss_sim.cli.shared_options import (
    BackboneOption,
    DatasetOption,
    DeviceOption,
    FetchOption,
    FrameworkOption,
    JsonOption,
    NetworkOption,
    RatioOption,
    ScaleDownOption,
    ScaleUpOption,
    SeedOption,
    SetOption,
    TaskOption,
    given_settings,
    network,
    parse_settings,
)
from floss_sim.errors import ConfigError
from floss_sim.files import remove
from floss_sim.fingerprints import fingerprint
from floss_sim.methods.search_axes import searched_methods
from floss_sim.page.library import MISSING, is_installed
from floss_sim.tasks import load_task
from floss_sim.vectors.density import format_density, parse_density
from planner.answers import parse_cells
from planner.calls import answer, read_plan, training_offer_of
from planner.candidates import grid
from planner.cli.printing import print_answers, print_dry_run, print_plan
from planner.cli.privacy_options import parse_privacy, takes_privacy_options
from planner.cli.progress_bar import dry_run_with_progress, plan_with_progress
from planner.cli.shared_options import (
    PACKAGED_PRIOR,
    StoreOption,
    completed_budget,
    depths,
    integers,
    items,
    own_axes,
    parse_client_bytes,
    parse_prior,
    rates,
)
from planner.decisions.training_offer import TrainingOffer
from planner.execution.curve_store import default_root
from planner.execution.effort import parse_effort
from planner.execution.workers import most_workers
from planner.page.plan_page import save_plan_page
from planner.plans.answer import Answer
from planner.question.budget import parse_budget
from planner.question.method_space import method_space
from planner.question.objective import BEST, Objective
from planner.question.origin import Origin
from planner.question.request import (
    BUDGET,
    DENSITIES,
    EFFORT,
    GLOBAL,
    OWN,
    RANKS,
    REFERENCE_RANK,
    ROUND_CAP,
    Request,
)
from planner.report import plan_folder
from planner.report.answer_text import offer_sentence
from planner.report.privacy_text import request_privacy_notes
from planner.report.search_status import StatusWriter
from planner.search import DEFAULT_SEARCH, STRATEGIES, check_search
from planner.session import LOCAL, Workers

_RANKS = ",".join(map(str, RANKS))
_DENSITIES = ",".join(map(format_density, DENSITIES))
HELP = """Which rank and densities give the best model within a budget.

Predicts the cost of every candidate, searches by really training (see --search), and
prints the recommendation beside dense LoRA and the thesis' rule at the same budget. Every curve is
kept: asking again, or for another budget or network, trains only what is missing.

Budgets: 50-dense-rounds, 2GB (of all devices), 500MB/client (of a cohort slot, a place in every
round), 10MB/device (of the busiest device in the whole run), 2GB/month with --rounds-per-day (of
the busiest device within any 30 days), 50EUR (by the prices of the network's
file), 500kJ (of all devices, by its energy), 5%battery (of the device that takes most), 90s, 36h
(in the median of simulated fleets), 36h@95% (in 95 % of them).

Examples:

  floss-plan --budget 50-dense-rounds --upload-ratio 16

  floss-plan --budget 20MB --ranks 4,16 --network lte --out plans/lte

  floss-plan --budget 60s --network lte --json

  floss-plan --budget 60s --network lte --scale-up 4

  floss-plan --budget 10MB/device --network lte

  floss-plan --budget 2GB/month --rounds-per-day 24 --network lte

  floss-plan --budget 50EUR --network mine.toml

  floss-plan --budget 5%battery --battery 15Wh --network mine.toml

  floss-plan --target 0.9 --max-client-bytes 5MB

  floss-plan --pareto --effort 10min --values fp32,int8

  floss-plan --budget 20MB --methods floss,fed-sb,ravan --axis ravan.heads=2,4

  floss-plan --methods ffa,fed-sb --dp-clip 0.1 --dp-noise 2 --dp-epsilon 8

  floss-plan --methods ffa --dp-clip 0.1 --dp-epsilon 8 --max-rounds 60

  floss-plan --budget 20MB --tune-lr

  floss-plan --client-lrs 0.02,0.05 --server-lrs 2e-3,5e-3 --ranks 4,16

  floss-plan --budget 20MB --also "10-dense-rounds,2GB,lte:1h"

  floss-plan --budget 2GB --network cable --effort 0

  floss-plan --budget 2GB --task mine.toml --effort 0 --prior none

  floss-plan --budget 20MB --dry-run

  floss-plan --budget 20MB --search async-race --workers 16 --out plans/wide

  floss-plan --budget 20MB --search async-race --replay plans/wide --out plans/again

  floss-plan --budget 20MB --executor dask:tcp://127.0.0.1:8786

  floss-plan --budget 20MB --executor my_cluster:executor --workers 16 --shared-store
"""


@takes_privacy_options
def plan(
    *,
    context: typer.Context,
    budget: Annotated[str, typer.Option(help="What may be spent; see above.")] = BUDGET,
    battery: Annotated[
        str | None,
        typer.Option(help="Size of a full battery, such as 15Wh, for a budget such as 5%battery."),
    ] = None,
    rounds_per_day: Annotated[
        float | None,
        typer.Option(
            help="Rounds that start each day, evenly spread, for a budget such as 2GB/month."
        ),
    ] = None,
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
    scale_down: ScaleDownOption = None,
    scale_up: ScaleUpOption = None,
    framework: FrameworkOption = None,
    ranks: Annotated[str, typer.Option(help="LoRA ranks to search.")] = _RANKS,
    down_densities: Annotated[str, typer.Option(help="Download densities to search.")] = _DENSITIES,
    up_densities: Annotated[str, typer.Option(help="Upload densities to search.")] = _DENSITIES,
    reference_rank: Annotated[
        int, typer.Option(help="Rank of dense rounds and baselines.")
    ] = REFERENCE_RANK,
    prior: Annotated[
        str,
        typer.Option(
            help="What grids recorded on other tasks say: packaged, none, or the file of a prior."
        ),
    ] = PACKAGED_PRIOR,
    max_rounds: Annotated[int, typer.Option(help="Cap on rounds.")] = ROUND_CAP,
    cohorts: Annotated[str | None, typer.Option(help="Clients a round, such as 5,10.")] = None,
    epochs: Annotated[str | None, typer.Option(help="Local epochs, such as 1,2.")] = None,
    depths_: Annotated[
        str | None,
        typer.Option("--depths", help="Last layers with adapters, such as all,6,3."),
    ] = None,
    client_lrs: Annotated[
        str | None, typer.Option(help="Learning rates of local SGD, such as 0.02,0.05.")
    ] = None,
    server_lrs: Annotated[
        str | None, typer.Option(help="Learning rates of the server, such as 2e-3,5e-3.")
    ] = None,
    values: Annotated[str | None, typer.Option(help="Value codes, such as fp32,int8.")] = None,
    methods: Annotated[
        str | None,
        typer.Option(help=f"Methods to search, default floss: of {', '.join(searched_methods())}."),
    ] = None,
    accuracy: Annotated[
        str,
        typer.Option(
            help="What every accuracy is: global, that of one model for all clients; or own, the "
            "mean over clients of each one's own model on data like its own, which methods with "
            "private entries need."
        ),
    ] = GLOBAL,
    privacy_options: dict[str, Any],
    axis: Annotated[
        list[str] | None,
        typer.Option(
            help="Values of one method alone, such as ravan.heads=2,4 or fed-sb.rank=16,64; repeat "
            "for more."
        ),
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Accuracy to reach at least cost, such as 0.9.")
    ] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Show all of accuracy against cost.")
    ] = False,
    max_client_bytes: Annotated[
        str | None, typer.Option(help="What the busiest client may transfer in all.")
    ] = None,
    max_round_s: Annotated[
        float | None,
        typer.Option(
            help="Simulated seconds that a round may take: its mean over a run, in the median of "
            "fleets (or in the share of fleets that --budget names)."
        ),
    ] = None,
    effort: Annotated[
        str,
        typer.Option(
            help="What the search may train: a fraction of the rounds that the budget affords all "
            "candidates, or time such as 10min, from the start of training; 0 trains nothing and "
            "answers from the store."
        ),
    ] = f"{EFFORT:g}",
    no_lr_test: Annotated[
        bool,
        typer.Option(
            "--no-lr-test",
            help="Leave out the test of learning rates (a third and three times the task's) that "
            "comes before a search of which it takes at most 5 %.",
        ),
    ] = False,
    tune_lr: Annotated[
        bool,
        typer.Option(
            "--tune-lr", help="Plan with the better learning rates if that test finds clear ones."
        ),
    ] = False,
    dry_run_: Annotated[
        bool,
        typer.Option("--dry-run", help="Train nothing: say what would be trained, and how long."),
    ] = False,
    also: Annotated[
        str | None,
        typer.Option(
            help="Other cells to answer from the store, such as 10-dense-rounds,2GB,lte:1h."
        ),
    ] = None,
    search: Annotated[
        str, typer.Option(help=f"Strategy: {', '.join(STRATEGIES)}.")
    ] = DEFAULT_SEARCH,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Plan of the same command with --search async-race: its decisions are made again "
            "in their order."
        ),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Training processes, 1 to {most_workers()}; default: one for each core, one on a "
            "GPU. With --executor: calls that run at once; default: as many as its engine tells.",
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            help="What trains: local (processes of this machine), dask:tcp://HOST:PORT, ray:auto, "
            "ray:HOST:PORT, slurm:key=value,..., parsl:FILE, or module:function, which returns a "
            "concurrent.futures.Executor."
        ),
    ] = LOCAL,
    runs_per_worker: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs that a worker trains side by side, at most; default: 4, on CUDA 64.",
        ),
    ] = None,
    shared_store: Annotated[
        bool,
        typer.Option(
            "--shared-store",
            help="The workers of --executor reach the store's folder, which their own "
            "FLOSS_SIM_STORE names: only names travel.",
        ),
    ] = False,
    mix_machines: Annotated[
        bool,
        typer.Option(
            "--mix-machines",
            help="A begun run may continue on a worker of another machine type: its last bits are "
            "then those of no single type.",
        ),
    ] = False,
    store: StoreOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of plan.json and plot; default: below plans/.")
    ] = None,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Write no report.html beside plan.json.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Which rank and densities give the best model within a budget."""
    if context.invoked_subcommand is not None:
        return
    check_search(search)  # what can be said before anything is loaded is said then
    told_by_others = parse_prior(prior)
    privacy = parse_privacy(privacy_options)
    objective, training = Objective(target, pareto), parse_effort(effort)
    objective.check()
    earlier = read_plan(replay) if replay else None
    if not training["effort"] and objective != BEST:
        raise ConfigError("--effort 0 answers for the best accuracy: no --target, no --pareto")
    asked = Workers(
        device, workers, executor, runs_per_worker, shared_store, mix_machines
    ).checked()
    if not training["effort"] and not asked.is_local:
        raise ConfigError("--effort 0 trains nothing: no --executor")
    if not training["effort"] and out:
        raise ConfigError("--effort 0 trains nothing and writes no folder: no --out; see --json")
    if not training["effort"] and dry_run_:
        raise ConfigError("--effort 0 trains nothing: no --dry-run")
    if not training["effort"] and tune_lr:
        raise ConfigError("--effort 0 trains nothing: no --tune-lr")
    fleet = given_settings(clients=clients, law=partition, alpha=alpha)
    changes = parse_settings(set_) | {f"partition.{key}": value for key, value in fleet.items()}
    profile = network(network_name, upload_ratio, scale_down, scale_up, framework)
    with late_lines("loading the task"):
        loaded = load_task(task, dataset=dataset, backbone=backbone, fetch=fetch, changes=changes)
        space = method_space(
            loaded,
            grid(
                integers(ranks, "ranks"),
                [parse_density(text) for text in items(down_densities)],
                [parse_density(text) for text in items(up_densities)],
            ),
            items(methods or ""),
            own_axes(axis or []),
            own_ranks=_is_default(context, "ranks"),
            own_models=accuracy == OWN,
            privacy=privacy,
            cohorts=integers(cohorts or "", "cohorts"),
            epochs=integers(epochs or "", "epochs"),
            values=items(values or ""),
            depths=depths(depths_ or "", loaded),
            client_lrs=rates(client_lrs or "", "client-lrs"),
            server_lrs=rates(server_lrs or "", "server-lrs"),
        )
        request = Request(
            task=loaded,
            budget=parse_budget(completed_budget(budget, battery, rounds_per_day)),
            profile=profile,
            candidates=space.candidates,
            left_out_methods=space.left_out,
            accuracy=accuracy,
            privacy=privacy,
            reference_rank=reference_rank,
            max_rounds=max_rounds,
            **training,
            lr_test=not no_lr_test,
            tune_lr=tune_lr,
            seed=seed,
            search=search,
            prior=told_by_others,
            objective=objective,
            max_client_bytes=math.inf
            if max_client_bytes is None
            else parse_client_bytes(max_client_bytes),
            max_round_s=math.inf if max_round_s is None else max_round_s,
            origin=None,
        ).checked()
        if training["effort"] and asked.is_local:  # before the weights of a large model are read
            check_memory(request.reference(), asked.device)
        origin = Origin.of(
            loaded,
            profile,
            names=(task, network_name),
            dataset=dataset,
            backbone=backbone,
            changes=changes,
            upload_ratio=upload_ratio,
            scales=(scale_down, scale_up),
            framework=framework,
            prior=None if prior in (PACKAGED_PRIOR, "none") else Path(prior),
        )
        request = replace(request, origin=origin)
    for line in (*space.notes(), *request_privacy_notes(request)):
        print(line, file=sys.stderr)
    if dry_run_:
        print_dry_run(dry_run_with_progress(request, store, asked), json_, request.measure_text)
        return
    cells = parse_cells(also, profile) if also else ()
    if not training["effort"]:
        found = answer(request, also=cells, store=store, device=asked.device)
        offer = None
        if found[0].from_tasks:
            with late_lines("measuring a step on this machine"):
                offer = training_offer_of(request, store=store, device=asked.device)
        _print_answers(found, request, json_, offer)
        return
    folder = (out or _default_folder(request)).expanduser()
    plan_folder.check_writable(folder)
    with StatusWriter(folder) as writer:
        made = plan_with_progress(
            request, also=cells, store=store, workers=asked, replay=earlier,
            on_progress=writer.update,
        )  # fmt: skip
        made.save(folder)
        writer.finish(interrupted=made.interrupted)
    saved = ["plan.json", "accuracy.png", *(["front.png"] if made.front else [])]
    remove(folder / plan_folder.PAGE_FILE)  # one of an earlier plan
    if not no_report and is_installed():
        save_plan_page(made, folder / plan_folder.PAGE_FILE, store or default_root())
        saved.append(plan_folder.PAGE_FILE)
    if json_:
        print_json(plan_folder.plan_content(made, folder))
    else:
        print_plan(made)
        print_text(f"Saved {', '.join(saved[:-1])} and {saved[-1]} in\n{folder}")
    if not no_report and not is_installed():
        print(f"{plan_folder.PAGE_FILE} is left out: {MISSING}", file=sys.stderr)
    if made.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if made.reached is False or not made.learned:
        raise typer.Exit(ExitCode.NO_ANSWER)


def _print_answers(
    answers: Sequence[Answer], request: Request, as_json: bool, offer: TrainingOffer | None
) -> None:
    """Print stored answers; exit with 3 where none is known, or none has learned anything."""
    if as_json:
        told = {"ten_minutes": offer.to_json()} if offer else {}
        print_json({"answers": [answer.to_json() for answer in answers], **told})
    else:
        print_answers(answers, request.profile.name, own=request.measures_own)
        if request.measures_own:
            note(f"Every accuracy is an own accuracy: {request.measure_text}.")
        if offer:
            note(offer_sentence(offer))
    if not any(answer.accuracy is not None and answer.learned for answer in answers):
        raise typer.Exit(ExitCode.NO_ANSWER)


def _is_default(context: typer.Context, option: str) -> bool:
    """Return whether an option was not given."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "DEFAULT"


def _default_folder(request: Request) -> Path:
    mark = fingerprint(request.to_json())[:6]  # other seeds and candidates keep their own plans
    parts = (request.task.name, request.budget.text, request.profile.name, mark)
    return Path("plans") / re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts))
