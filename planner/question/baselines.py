"""Baselines of a plan: dense LoRA at the reference rank, and the thesis' rule.

The rule (thesis, section 5.3): down density 1/4, up density that divided by the ratio of the
fleet's mean down rate to its mean up rate, at most 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from floss_sim.network import NetworkProfile
from floss_sim.runs.config import stack_layers
from floss_sim.tasks import Task
from planner.candidates import Candidate

DENSE, THESIS_RULE = "dense", "thesis_rule"
NAMES = (DENSE, THESIS_RULE)
_RULE_DOWN_DENSITY = 1 / 4


def baselines_beside(
    candidates: Sequence[Candidate], task: Task, profile: NetworkProfile, rank: int
) -> dict[str, Candidate]:
    """Return the baselines of a search, by name.

    Args:
        candidates: The searched candidates. Where they name cohort, epochs, depth or rates, the
            baselines name the task's.
        task: The task.
        profile: The network.
        rank: LoRA rank of both.
    """
    down, up = profile.mean_rates(task.partition.clients)
    up = min(1.0, _RULE_DOWN_DENSITY / (down / up))
    said = _task_settings(candidates, task)
    pairs = {DENSE: (1.0, 1.0), THESIS_RULE: (_RULE_DOWN_DENSITY, up)}
    return {name: replace(Candidate(rank, *pair), **said) for name, pair in pairs.items()}


def _task_settings(candidates: Sequence[Candidate], task: Task) -> dict[str, Any]:
    """Return the task's cohort, epochs, depth and rates where candidates name theirs."""
    named = {k for k in ("cohort_size", "epochs", "depth", "client_lr", "server_lr")
             if any(getattr(c, k) for c in candidates)}  # fmt: skip
    client, server = task.client, task.server
    own: dict[str, Any] = {
        "cohort_size": server.cohort, "epochs": client.epochs,
        "client_lr": client.learning_rate, "server_lr": server.learning_rate,
    }  # fmt: skip
    if "depth" in named:
        own["depth"] = task.lora.depth or stack_layers(task)
    return {k: v for k, v in own.items() if k in named}
