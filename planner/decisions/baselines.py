"""Baselines of a plan: their predicted costs, and the reasons for which one has no run."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from planner.candidates import Candidate
from planner.execution.candidate_runs import CandidateRuns
from planner.plans.missing_baseline import (
    DIVERGED,
    FAILED,
    NOT_PRIVATE,
    NOT_REACHED,
    Reason,
)
from planner.question.baselines import NAMES
from planner.question.cost import Costs


def cost_values(candidate: Candidate, costs: Costs, runs: CandidateRuns) -> dict[str, Any]:
    """Return the predicted cost of a candidate, and its calibration by the rounds of its run."""
    predicted = costs.of[candidate].to_json()
    return {**candidate.settings(), **predicted, **runs.calibration_values(candidate)}


def baseline_costs(
    baselines: Mapping[str, Candidate], costs: Costs, runs: CandidateRuns
) -> dict[str, dict[str, Any]]:
    """Return the costs of the baselines that keep to the limits, by the baseline's name."""
    return {n: cost_values(c, costs, runs) for n, c in baselines.items() if c in costs.of}


def missing_baselines(
    baselines: Mapping[str, Candidate],
    costs: Costs,
    runs: CandidateRuns,
    shown: Container[Candidate],
) -> dict[str, Reason]:
    """Return why baselines have no run in a plan, by the baseline's name.

    Args:
        baselines: The baselines that can be trained, by name.
        costs: The costs of the request.
        runs: The runs of its search.
        shown: The candidates whose runs the plan has.
    """
    refused = {name: NOT_PRIVATE for name in NAMES if name not in baselines}
    lacking = {name: c for name, c in baselines.items() if c not in shown}
    return {**{name: _reason(c, costs, runs) for name, c in lacking.items()}, **refused}


def _reason(candidate: Candidate, costs: Costs, runs: CandidateRuns) -> Reason:
    if candidate in costs.missing:
        return costs.missing[candidate]
    if runs.has_failed(candidate):
        return FAILED
    history = runs.history()
    if candidate not in history or not history[candidate].evaluated:
        return NOT_REACHED
    return DIVERGED if history[candidate].failed else "budget"
