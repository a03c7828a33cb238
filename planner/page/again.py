"""Commands that make a plan again, and what it was made from."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from floss_sim.page import texts
from floss_sim.page.parts import Html, element, joined, section, table
from floss_sim.vectors.density import format_density
from planner.candidates import FLOSS, OPTIONAL_AXES
from planner.page.used_runs import UsedRuns
from planner.plans.plan import Plan
from planner.question.origin import Origin
from planner.search import PRIOR_SEARCHES

_LISTS = {  # keys of a request, and the option of each
    "cohort_size": "cohorts",
    "epochs": "epochs",
    "values": "values",
    "method": "methods",
    "depth": "depths",
    "client_lr": "client-lrs",
    "server_lr": "server-lrs",
}


def provenance(plan: Plan, used: UsedRuns | None, folder: Path, place: Path) -> Html:
    """Return the section on what a plan was made from, and how to make it again.

    Args:
        plan: The plan.
        used: Its stored runs; None if the store lacks them.
        folder: Folder of the page, to which paths are relative.
        place: The plan's folder or file.
    """
    told = [("task", plan.request["task"]), ("network", plan.request["network"])]
    seeds = plan.effort.get("seeds") or (plan.request["seed"],)
    told += [("seeds", ", ".join(map(str, seeds)))]
    told += sorted(_marks(plan).items())
    told += sorted(_versions(used).items()) if used else []
    near = shlex.quote(os.path.relpath(place.resolve(), folder.resolve()))
    commands = [plan_command(plan, folder), f"floss-plan apply {near}", f"floss-plan report {near}"]
    return section(
        texts.PROVENANCE,
        table(texts.PROVENANCE_TABLE, texts.PROVENANCE_COLUMNS, told, class_="wraps"),
        element("h3", texts.AGAIN),
        element("p", texts.AGAIN_TEXT, class_="note"),
        joined(element("pre", command) for command in commands),
        name="provenance",
    )


def _marks(plan: Plan) -> dict[str, str]:
    given = plan.request.get("origin")
    return Origin.model_validate(given).marks if given else {}


def _versions(used: UsedRuns) -> dict[str, str]:
    """Return the versions with which the recommended run was trained."""
    run = used.runs[used.plan.recommendation.candidate]
    trajectory = run.folder.description["trajectory"]
    versions = {name: str(told) for name, told in (trajectory.get("versions") or {}).items()}
    device = {key: str(trajectory[key]) for key in ("device", "threads") if key in trajectory}
    own = {"floss-sim": str(run.folder.description.get("floss_sim"))}
    return {**own, **versions, **device}


def plan_command(plan: Plan, folder: Path) -> str:
    """Return the command line that asks a plan's question again.

    Args:
        plan: The plan.
        folder: Folder of the page, to which paths are relative.
    """
    near = plan.with_origin(lambda origin: origin.relative_to(folder))
    words = ["--budget", plan.limit.budget.text, *_origin_words(near), *_search_words(near)]
    return shlex.join(["floss-plan", *words])


def _origin_words(plan: Plan) -> Iterator[str]:
    """Yield the options of a plan's task, fleet and network."""
    origin, fleet = plan.request.get("origin") or {}, plan.request.get("fleet") or {}
    yield from ("--task", origin.get("task") or plan.request["task"])
    for key in ("dataset", "backbone"):
        if origin.get(key):
            yield from (f"--{key}", origin[key])
    for key, value in {**(origin.get("changes") or {}), **_rates_before(plan)}.items():
        yield from ("--set", f"{key}={value}")
    for key, option in (("clients", "clients"), ("law", "partition"), ("alpha", "alpha")):
        if fleet.get(key) is not None and f"partition.{key}" not in (origin.get("changes") or {}):
            yield from (f"--{option}", _word(fleet[key]))
    yield from ("--network", origin.get("network") or plan.request["network"])
    for key in ("upload_ratio", "scale_down", "scale_up", "framework"):
        if origin.get(key) is not None:
            yield from (f"--{key.replace('_', '-')}", _word(origin[key]))


def _rates_before(plan: Plan) -> dict[str, float]:
    """Return the learning rates that a plan tuned, as they were before; empty if it tuned none."""
    test = plan.rate_test
    if test is None or not test.tuned:
        return {}
    return {"client.learning_rate": test.client_lr, "server.learning_rate": test.server_lr}


def _search_words(plan: Plan) -> Iterator[str]:
    """Yield the options of a plan's search."""
    asked = plan.request
    for key in ("ranks", "down_densities", "up_densities"):
        if asked.get(key):
            spell = str if key == "ranks" else format_density
            yield from (f"--{key.replace('_', '-')}", ",".join(map(spell, asked[key])))
    lists = {axis: asked[axis] for axis in OPTIONAL_AXES if axis in _LISTS and asked.get(axis)}
    if left_out := asked.get("left_out_methods"):
        lists["method"] = [*lists.get("method", [FLOSS]), *left_out]
    for axis, values in lists.items():
        yield from (f"--{_LISTS[axis]}", ",".join(map(_word, values)))
    yield from _own_axes_words(asked)
    yield from (("--accuracy", asked["accuracy"]) if asked.get("accuracy") else ())
    for key, value in (asked.get("privacy") or {}).items():
        yield from (f"--dp-{key.removeprefix('max_')}", _word(value))
    yield from ("--reference-rank", str(asked["reference_rank"]))
    yield from ("--max-rounds", str(asked["max_rounds"]))
    if plan.target is not None:
        yield from ("--target", _word(plan.target))
    if plan.front:
        yield "--pareto"
    for key, unit in (("max_client_bytes", "B"), ("max_round_s", "")):
        if asked.get(key):
            yield from (f"--{key.replace('_', '-')}", f"{_word(asked[key])}{unit}")
    effort = f"{_word(asked['training_s'])}s" if asked.get("training_s") else asked.get("effort")
    yield from (() if effort is None else ("--effort", _word(effort)))
    if asked.get("lr_test") is False:
        yield "--no-lr-test"
    if asked.get("tune_lr"):
        yield "--tune-lr"
    yield from _prior_words(plan)
    yield from ("--search", asked["search"], "--seed", str(asked["seed"]))


def _own_axes_words(asked: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options of axes in which a method differs from the lists of all methods."""
    lists = {"rank": "ranks", "down_density": "down_densities", "up_density": "up_densities"}
    for method, axes in (asked.get("method_axes") or {}).items():
        for axis, values in axes.items():
            if sorted(asked.get(lists.get(axis, ""), [])) != sorted(values):
                yield from ("--axis", f"{method}.{axis}={','.join(map(_word, values))}")


def _prior_words(plan: Plan) -> Iterator[str]:
    """Yield the option of a plan's prior over tasks; the packaged one needs none."""
    if file := (plan.request.get("origin") or {}).get("prior"):
        yield from ("--prior", file)
    elif plan.request["search"] in PRIOR_SEARCHES and not plan.effort.get("prior"):
        yield from ("--prior", "none")


def _word(value: Any) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
