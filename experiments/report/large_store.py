"""A store of 64 made runs of 400 rounds, as if a plan had used them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from floss_sim.analysis.traffic import Traffic
from floss_sim.protocol import Snapshot
from floss_sim.records import RunFolder
from floss_sim.tasks import load_task
from floss_sim.training import learner_identity
from planner.candidates import Candidate, grid
from planner.execution.curve_store import last_evaluated_round
from planner.plans.plan import Plan

ROUNDS = 400


def write_large_store(plan: Plan, root: Path) -> Plan:
    """Write the runs of 64 candidates; return the plan as if it had searched these."""
    every = grid([1, 4, 8, 16], [1.0, 1 / 4, 1 / 16, 1 / 64], [1.0, 1 / 4, 1 / 16, 1 / 64])
    task, draw = load_task("digits"), np.random.default_rng(0)
    told = {r: accuracy for r, _, accuracy in plan.recommendation.curve}
    for number, candidate in enumerate(every):
        config = candidate.config(task, plan.request["seed"])
        description = config.description(learner_identity(config, device="cpu"))
        folder = RunFolder.open(root / str(description["fingerprint"])[:32], description)
        own = told if candidate == plan.recommendation.candidate else {}
        traffic = Traffic.predict(config, ROUNDS)
        spread = draw.lognormal(0, 0.05, traffic.shape)  # real sizes differ from round to round
        traffic = replace(traffic, up=np.maximum(1, traffic.up * spread).astype(np.int64))
        with folder.lock():
            folder.commit(
                [_round(r, traffic, number, own, draw) for r in range(1, ROUNDS + 1)],
                _transfers(traffic),
                timing="0" * 16,
                network="paper-200-20",
                snapshot=Snapshot(ROUNDS, {"P": np.zeros(1, np.float32)}),
                models={},
            )
    return _with_costs(plan, every)


def _with_costs(plan: Plan, every: list[Candidate]) -> Plan:
    """Return a plan as if it had searched these candidates; it is valid as a file."""
    own = {Candidate.of_settings(cost): cost for cost in plan.costs}
    costs = tuple(own.get(one, dict(plan.costs[0], **_settings(one))) for one in every)
    grid_rounds = sum(int(cost["affordable_rounds"]) for cost in costs)
    limit = round(plan.request["effort"] * grid_rounds)
    ranks = sorted({one.rank for one in every})
    effort = {"searched": len(every), "grid_rounds": grid_rounds, "limit_rounds": limit}
    return replace(
        plan,
        costs=costs,
        request={**plan.request, "ranks": ranks, "candidates": len(every)},
        effort={**plan.effort, **effort},
    )


def _settings(candidate: Candidate) -> dict[str, float]:
    return {
        "rank": candidate.rank,
        "down_density": candidate.down_density,
        "up_density": candidate.up_density,
    }


def _round(
    number: int, traffic: Traffic, place: int, told: dict[int, float], draw: np.random.Generator
) -> dict[str, object]:
    evaluated = last_evaluated_round(number) == number
    curve = 0.1 + (0.75 + place / 400) * (1 - math.exp(-number / (10 + place)))
    accuracy = told.get(number, min(0.99, curve + draw.normal(0, 0.005))) if evaluated else None
    down, up = int(traffic.down[number - 1].sum()), int(traffic.up[number - 1].sum())
    loss = None if accuracy is None else 1 - accuracy
    return {
        "round": number, "version": number, "opened_at_s": 0.0, "closed_at_s": float(number),
        "reports": traffic.shape[1], "down_bytes": down, "up_bytes": up, "wasted_bytes": 0,
        "wire_bytes": down + up, "accuracy": accuracy, "loss": loss,
        "dense_accuracy": None, "dense_loss": None,
    }  # fmt: skip


def _transfers(traffic: Traffic) -> list[dict[str, object]]:
    rounds, cohort = traffic.shape
    return [
        {
            "sequence": r * cohort + c, "round": r + 1, "client": int(traffic.clients[r, c]),
            "direction": way, "version": r, "nbytes": int(nbytes[r, c]), "entries": 1,
            "examples": int(traffic.examples[r, c]), "started_at_s": 0.0, "ended_at_s": 1.0,
            "sent_bytes": int(nbytes[r, c]), "wire_bytes": int(nbytes[r, c]), "alone_s": 1.0,
            "fate": "aggregated",
        }
        for r in range(rounds)
        for c in range(cohort)
        for way, nbytes in (("down", traffic.down), ("up", traffic.up))
    ]  # fmt: skip
