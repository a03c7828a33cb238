"""The planner's public calls: what its commands do, without a console.

::

    plan        search by training, and recommend            floss-plan
    dry_run     what a search would train, and how long      floss-plan --dry-run
    answer      the best of what is stored, without training  floss-plan --effort 0, --also
    apply_plan  train a plan's recommendation                 floss-plan apply
    export_plan a plan's recommendation as an app             floss-plan export
    read_plan   a plan from its file                          floss-plan show
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

from floss_sim.analysis.run_memory import check_memory
from floss_sim.deployment.export import check_export, export_app
from floss_sim.errors import ConfigError
from floss_sim.files import remove_leftovers
from floss_sim.training import resolve_device
from planner.answers import BudgetOnNetwork, answer_all, check_cells, parse_cells
from planner.apply import AppliedPlan, plan_request, train_recommendation
from planner.cluster.engine import Engine
from planner.decisions.better_stored import better_stored_run
from planner.decisions.stored_start import stored_start
from planner.decisions.training_offer import TrainingOffer, training_offer
from planner.execution.begin import OnEstimate, measuring
from planner.execution.dry_run import DryRun, dry_run_of
from planner.execution.pace import Pace, measured_pace, pace_here
from planner.execution.rate_test import with_rates
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool
from planner.planning import StoppedError, make_plan
from planner.plans import plan_file
from planner.plans.answer import Answer
from planner.plans.plan import Plan
from planner.progress import OnProgress
from planner.question.request import Request
from planner.report import applied_text, plan_folder
from planner.report.reported_plan import ReportedPlan
from planner.session import (
    LOCAL,
    Workers,
    open_session,
    open_store,
    open_trainer,
    worker_count,
)


def plan(
    request: Request,
    *,
    also: str | Sequence[str | BudgetOnNetwork] = (),
    store: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    executor: str | Executor | Engine = LOCAL,
    runs_per_worker: int | None = None,
    shared_store: bool = False,
    mix_machines: bool = False,
    replay: Plan | None = None,
    on_progress: OnProgress = lambda progress: None,
    on_estimate: OnEstimate | None = None,
) -> ReportedPlan:
    """Search by training, and recommend a rank and two densities for a budget.

    Every learning curve is kept in the store and serves all later plans. Ctrl-C returns the best
    plan so far, marked as ``interrupted`` and without the answers of ``also``.

    Args:
        request: The question.
        also: Further budgets to answer from the store: a text such as ``"2GB,lte:1h"``, or values.
        store: The folder of the curve store; by default ``$FLOSS_SIM_STORE`` or the user cache.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        workers: Training processes, of one thread each; by default one for each core, on a GPU one.
            Of a cluster: calls that run at once; by default as many as it tells.
        executor: What trains: ``"local"``, processes of this machine; the engine of a cluster by
            its text, such as ``"module:function"``; or any ``concurrent.futures.Executor`` that
            runs a function of bytes on another machine.
        runs_per_worker: Runs that a worker trains side by side, at most; by default by the device.
        shared_store: Whether a cluster's workers reach the store's folder, so that only names
            travel.
        mix_machines: Whether a begun run may continue on a machine of another type. Its last bits
            are then those of no single type.
        replay: Plan of the same request with ``search="async-race"``: its decisions are made again
            in their order. Otherwise they depend on the order in which runs end.
        on_progress: Called a few times a second with the progress of the search.
        on_estimate: Called before training with what the search will do and how long that takes,
            as :func:`dry_run` returns it. Without it nothing is measured to that end.

    Returns:
        The plan: ``summary()`` is its text, ``save(folder)`` writes its files.

    Raises:
        ConfigError: The request contradicts itself, or a budget or network cannot be read.
        BudgetError: No candidate affords two rounds, or a round of a budget of ``also``, or the
            effort finishes no run.
        DivergedError: Every run diverged.
        PlanError: ``replay`` has no decisions, or the search departs from them.
        KeyboardInterrupt: Interrupted before any run was finished.

    Example:
        >>> from planner import Request, grid, plan
        >>> request = Request.of("digits", "lte", budget="3-dense-rounds", max_rounds=5, effort=1,
        ...                      candidates=grid([1, 2], [1.0], [1.0, 1 / 4]))
        >>> made = plan(request, workers=1)
        >>> made.recommendation.candidate in request.candidates
        True
        >>> made.save("plans/mine")
        >>> print(made.summary().splitlines()[0])
        digits on lte: 3-dense-rounds = 1.3 s of link time
    """
    asked = Workers(
        device, workers, executor, runs_per_worker, shared_store, mix_machines
    ).checked()
    root = _path(store)
    cells = _cells(also, request)
    check_cells(request, cells)
    if asked.is_local:
        check_memory(request.reference(), asked.device)
    try:
        with open_session(root, asked, own=request.measures_own) as trainer:
            made = make_plan(request, trainer, on_progress, on_estimate, replayed=replay)
            curves = trainer.store
    except StoppedError as stopped:
        return ReportedPlan.of(stopped.plan)
    request = with_rates(request, made.rate_test)
    made = replace(made, better_stored=better_stored_run(made, request, curves))
    if cells:
        made = replace(made, also=answer_all(request, cells, curves))
    return ReportedPlan.of(made)


def dry_run(
    request: Request,
    *,
    store: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    executor: str | Executor | Engine = LOCAL,
    on_progress: OnProgress = lambda progress: None,
) -> DryRun:
    """Return what a search would train and how long that takes here; nothing is stored.

    The seconds are those of stored runs. If there are none, some steps of the reference
    configuration are really trained in as many processes as the search has, to time them.

    Args:
        request: The question.
        store: The folder of the curve store; by default ``$FLOSS_SIM_STORE`` or the user cache.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        workers: Training processes; by default one for each core, on a GPU one.
        executor: What would train, as in :func:`plan`.
        on_progress: Called a few times a second while a step is measured.

    Raises:
        ConfigError: The request contradicts itself.
        BudgetError: No candidate affords two rounds, or the effort finishes no run.

    Example:
        >>> from planner import Request, dry_run
        >>> found = dry_run(Request.of("digits", "lte", budget="20MB"), store="new", workers=1)
        >>> found.wall_low_s < found.wall_s < found.wall_high_s
        True
    """
    asked, root = Workers(device, workers, executor).checked(), _path(store)

    def tick() -> None:
        on_progress(measuring(request))

    if not asked.is_local:
        with open_trainer(root, asked, own=request.measures_own) as trainer:
            measure = partial(measured_pace, request, trainer, tick)
            return dry_run_of(request, trainer.store, trainer.workers, measure, stored_start)
    check_memory(request.reference(), asked.device)

    def measure_here() -> Pace:
        with open_trainer(root, asked, own=request.measures_own) as trainer:
            return measured_pace(request, trainer, tick)

    curves = open_store(root, asked.device, own=request.measures_own)
    count = worker_count(asked.device, workers)
    return dry_run_of(request, curves, count, measure_here, stored_start)


def answer(
    request: Request,
    *,
    also: str | Sequence[str | BudgetOnNetwork] = (),
    store: str | Path | None = None,
    device: str = "auto",
) -> tuple[Answer, ...]:
    """Return the best of what is stored for a budget; nothing is trained.

    Args:
        request: The question; its ``effort`` is not used.
        also: Further budgets: a text such as ``"2GB,lte:1h"``, or values.
        store: The folder of the curve store; by default ``$FLOSS_SIM_STORE`` or the user cache.
        device: The device whose curves are read: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Returns:
        One answer for the request's budget and one for each budget of ``also``. The ``kind`` of
        each is ``"measured"``, ``"forecast"`` or ``"unknown"``. If nothing of the task is stored,
        it is a forecast from the grids of other tasks that ``from_tasks`` names.

    Raises:
        ConfigError: A budget or a network cannot be read.
        BudgetError: A budget affords no candidate a round, or the network lacks its prices or its
            energy.

    Example:
        >>> from planner import Request, answer
        >>> request = Request.of("digits", "lte", budget="1GB", prior=None)
        >>> [found.kind for found in answer(request, store="new")]
        ['unknown']
    """
    place = resolve_device(device)
    cells = _cells(also, request)
    asked = (BudgetOnNetwork(request.profile, request.budget), *cells)
    return answer_all(request, asked, open_store(_path(store), place, own=request.measures_own))


def training_offer_of(
    request: Request, *, store: str | Path | None = None, device: str = "auto"
) -> TrainingOffer | None:
    """Return what ten minutes of training would buy where a task is forecast from other tasks.

    If stored runs do not tell the seconds of training, some steps of the reference configuration
    are really trained in this process, to time them; nothing is stored.

    Args:
        request: The question.
        store: The folder of the curve store; by default ``$FLOSS_SIM_STORE`` or the user cache.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    place = resolve_device(device)
    check_memory(request.reference(), place)
    curves = open_store(_path(store), place, own=request.measures_own)
    count = worker_count(place, None)
    return training_offer(request, curves, count, lambda: pace_here(request, place))


def apply_plan(
    made: Plan,
    *,
    out: str | Path | None = None,
    seed: int | None = None,
    store: str | Path | None = None,
    device: str = "auto",
    fetch: bool = False,
    on_rounds: Callable[[int], None] = lambda rounds: None,
) -> AppliedPlan:
    """Train a plan's recommendation; with the plan's own seed the store holds it already.

    Args:
        made: The plan.
        out: The folder for the adapter, ``curve.csv``, ``curve.png`` and ``applied.json``; None
            writes nothing.
        seed: The seed of the run; by default the plan's.
        store: The folder of the curve store; by default ``$FLOSS_SIM_STORE`` or the user cache.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        fetch: Whether what is not in the local hub cache may be downloaded.
        on_rounds: Called a few times a second with the number of trained rounds.

    Raises:
        PlanError: The task, its data, the backbone or the network has changed since, or the plan
            does not say where they are.
        BudgetError: With this seed the budget affords no evaluated round.
        DivergedError: The run diverged.
        RecordError: The folder or the store cannot be written.

    Example:
        >>> from planner import Request, apply_plan, grid, plan
        >>> request = Request.of("digits", "lte", budget="3-dense-rounds", max_rounds=5, effort=1,
        ...                      candidates=grid([1], [1.0], [1.0, 1 / 4]))
        >>> applied = apply_plan(plan(request, workers=1), seed=1, out="models/second")
        >>> applied.outcome.test_accuracy is not None
        True
    """
    request = plan_request(made, fetch=fetch)
    curves = open_store(_path(store), resolve_device(device), own=request.measures_own)
    chosen = made.request["seed"] if seed is None else seed
    if not isinstance(chosen, int) or chosen < 0:
        raise ConfigError(f"seed {chosen!r} is no whole number from 0")
    folder = _path(out)
    if folder is not None:
        plan_folder.check_writable(folder, plan_folder.APPLIED_FILES)
    with worker_pool(1) as pool:
        trainer = LocalTrainer(curves, pool)
        applied = train_recommendation(made, request, chosen, trainer, on_rounds)
    if folder is not None:
        applied_text.save(applied, folder)
    return applied


def export_plan(
    made: Plan, out: str | Path, *, seed: int | None = None, to: str = "flower", fetch: bool = False
) -> Path:
    """Write a plan's recommendation as an app of a deployment framework; return the app's folder.

    Args:
        made: The plan.
        out: Folder to write; it does not exist yet, or is empty.
        seed: The seed of the run; by default the plan's.
        to: The framework: ``"flower"``.
        fetch: Whether what is not in the local hub cache may be downloaded.

    Raises:
        PlanError: The task, its data, the backbone or the network has changed since, or the plan
            does not say where they are.
        ConfigError: The framework is unknown, or its apps cannot hold the method.
        RecordError: The folder is not empty, or cannot be written.

    Example:
        >>> from planner import Request, export_plan, grid, plan
        >>> request = Request.of("digits", "lte", budget="3-dense-rounds", max_rounds=5, effort=1,
        ...                      candidates=grid([1], [1.0], [1.0]))
        >>> export_plan(plan(request, workers=1), "app").name
        'app'
    """
    check_export(out, to)
    request, origin = plan_request(made, fetch=fetch), made.request["origin"]
    chosen = made.request["seed"] if seed is None else seed
    if not isinstance(chosen, int) or chosen < 0:
        raise ConfigError(f"seed {chosen!r} is no whole number from 0")
    planned = made.recommendation
    return export_app(
        replace(request, seed=chosen).config(planned.candidate),
        out,
        task=origin["task"],
        rounds=planned.rounds,
        dataset=origin.get("dataset"),
        backbone=origin.get("backbone"),
        to=to,
    )


def read_plan(path: str | Path) -> ReportedPlan:
    """Return the plan of a ``plan.json``, or of the folder that holds one.

    What killed processes have left in the folder is removed.

    Raises:
        PlanError: The file cannot be read, or is no valid plan.

    Example:
        >>> from planner import Request, grid, plan, read_plan
        >>> request = Request.of("digits", "lte", budget="3-dense-rounds", max_rounds=5, effort=1,
        ...                      candidates=grid([1], [1.0], [1.0]))
        >>> plan(request, workers=1).save("plans/one")
        >>> read_plan("plans/one").recommendation.rounds >= 1
        True
    """
    place = Path(path).expanduser()
    remove_leftovers(place if place.is_dir() else place.parent)
    return ReportedPlan.of(plan_file.read_plan(place))


def _cells(
    also: str | Sequence[str | BudgetOnNetwork], request: Request
) -> tuple[BudgetOnNetwork, ...]:
    """Return further budgets as values; texts are parsed.

    Raises:
        ConfigError: A budget or a network cannot be read, or clients can be lost on a network.
    """
    items = ([also] if also else []) if isinstance(also, str) else also
    cells: list[BudgetOnNetwork] = []
    for item in items:
        cells += parse_cells(item, request.profile) if isinstance(item, str) else [item]
    for cell in cells:
        request.check_network(cell.profile)
    return tuple(cells)


def _path(path: str | Path | None) -> Path | None:
    """Return a path with ``~`` expanded."""
    return None if path is None else Path(path).expanduser()
