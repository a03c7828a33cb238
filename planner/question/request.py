"""What is asked of the planner, as one inert value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.families import NEXT_TOKEN
from floss_sim.methods import dense
from floss_sim.network import NetworkProfile
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import Task
from planner.candidates import DEFAULTS, Candidate
from planner.question.budget import Budget
from planner.question.objective import BEST, Objective
from planner.question.origin import Origin

THESIS_DOWN_DENSITY = 1 / 4


@dataclass(frozen=True)
class Request:
    """A question to the planner.

    Attributes:
        task: What is learned.
        budget: What may be spent.
        profile: The fleet's links.
        candidates: What is searched.
        reference_rank: The rank of dense rounds and of the baselines.
        max_rounds: The cap on rounds.
        effort: Rounds of training that the search may take, as a fraction of the full grid's.
        search: The strategy's name.
        seed: Names every random stream.
        objective: What is sought within the budget.
        max_client_bytes: The most that the busiest client may transfer in a whole run.
        max_round_s: The most simulated seconds that a round may take, in the mean of a run.
        training_s: Seconds of training that the search may take, instead of ``effort``.
    """

    task: Task
    budget: Budget
    profile: NetworkProfile
    candidates: Sequence[Candidate]
    reference_rank: int
    max_rounds: int
    effort: float
    seed: int
    search: str = "race"
    objective: Objective = BEST
    max_client_bytes: float = math.inf
    max_round_s: float = math.inf
    training_s: float | None = None
    origin: Origin | None = None

    def config(self, candidate: Candidate) -> RunConfig:
        """Return the run of a candidate."""
        return candidate.config(self.task, self.seed)

    def check_candidate(self, candidate: Candidate) -> None:
        """Raise ConfigError unless a candidate can be run."""
        self.config(candidate)

    def reference(self) -> RunConfig:
        """Return the run that dense rounds are counted in."""
        return RunConfig.of(self.task, dense(), rank=self.reference_rank, seed=self.seed)

    def baselines(self) -> dict[str, Candidate]:
        """Return dense LoRA at the reference rank, and the thesis' rule.

        The rule (thesis, section 5.3): down density 1/4, up density that divided by the ratio of
        the fleet's mean down rate to its mean up rate, at most 1.
        """
        down, up = self.profile.mean_rates(self.task.partition.clients)
        up = min(1.0, THESIS_DOWN_DENSITY / (down / up))
        pairs = {"dense": (1.0, 1.0), "thesis_rule": (THESIS_DOWN_DENSITY, up)}
        said = self._task_settings()
        plain = {name: Candidate(self.reference_rank, *pair) for name, pair in pairs.items()}
        return {name: replace(candidate, **said) for name, candidate in plain.items()}

    def _task_settings(self) -> dict[str, Any]:
        """Return the task's cohort and epochs where candidates name theirs, to be the same."""
        task = {"cohort_size": self.task.server.cohort, "epochs": self.task.client.epochs}
        return {k: v for k, v in task.items() if any(getattr(c, k) for c in self.candidates)}

    def checked(self) -> Request:
        """Return the request itself.

        Raises:
            ConfigError: An effort outside [0, 1], a cap below 1, no candidate, or one that
                cannot be; an objective that contradicts itself.
        """
        self.objective.check()
        if not 0 <= self.effort <= 1:
            raise ConfigError(f"effort {self.effort} is outside [0, 1]")
        if self.max_rounds < 1:
            raise ConfigError(f"a cap of {self.max_rounds} rounds; it must be at least 1")
        if not self.max_round_s > 0:
            raise ConfigError(f"rounds of at most {self.max_round_s} s; it must be above 0")
        if self.profile.shapes_training:
            raise ConfigError(
                f"on {self.profile.name} clients drop out or come and go, which changes what every "
                "candidate learns; plan on a profile without dropout and [availability]"
            )
        if not self.candidates:
            raise ConfigError("there is no candidate to search")
        for candidate in [*self.candidates, *self.baselines().values()]:
            self.check_candidate(candidate)
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain values."""
        return {
            "task": self.task.name,
            "fleet": self.task.partition.model_dump(mode="json"),
            "network": self.profile.name,
            "reference_rank": self.reference_rank,
            "max_rounds": self.max_rounds,
            "effort": self.effort,
            **self._extra_settings(),
            "search": self.search,
            "seed": self.seed,
            "candidates": len(self.candidates),
            "ranks": sorted({c.rank for c in self.candidates}),
            "down_densities": sorted({c.down_density for c in self.candidates}, reverse=True),
            "up_densities": sorted({c.up_density for c in self.candidates}, reverse=True),
            "validation_examples": len(self.task.content.validation[1]),
            "test_examples": len(self.task.content.test[1]),
            "judged": self.prediction_counts(),
            "origin": self.origin and self.origin.model_dump(mode="json"),
        }

    def _extra_settings(self) -> dict[str, Any]:
        """Return as plain values what was asked for beside a budget and an effort."""
        every = {
            "objective": self.objective.to_json() if self.objective != BEST else None,
            "max_client_bytes": self.max_client_bytes if self.max_client_bytes < math.inf else None,
            "max_round_s": self.max_round_s if self.max_round_s < math.inf else None,
            "training_s": self.training_s,
            **{
                name: self._axis_values(name)
                for name in ("cohort_size", "epochs", "values", "method")
            },
        }
        return {name: value for name, value in every.items() if value is not None}

    def _axis_values(self, axis: str) -> list[Any] | None:
        """Return what candidates vary in, or None where all are as always."""
        values = sorted({getattr(c, axis) for c in self.candidates})
        return None if values in ([], [getattr(DEFAULTS, axis)]) else values

    def prediction_counts(self) -> dict[str, Any]:
        """Return how many predictions an accuracy is the mean of: examples, or next tokens."""
        splits = {"validation": self.task.content.validation, "test": self.task.content.test}
        if self.task.kind != NEXT_TOKEN:
            return {"what": "examples", **{name: len(y) for name, (_, y) in splits.items()}}
        tokens = {name: int((x[:, 1:] >= 0).sum()) for name, (x, _) in splits.items()}
        return {"what": "next tokens", **tokens}
