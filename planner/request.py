"""What is asked of the planner, as one inert value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from floss_sim.config import RunConfig
from floss_sim.errors import ConfigError
from floss_sim.families import NEXT_TOKEN
from floss_sim.methods import dense
from floss_sim.network import NetworkProfile
from floss_sim.tasks import Task
from planner.budget import Budget
from planner.space import Candidate

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

    def config(self, candidate: Candidate) -> RunConfig:
        """Return the run of a candidate."""
        return candidate.config(self.task, self.seed)

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
        return {
            "dense": Candidate(self.reference_rank, 1.0, 1.0),
            "thesis_rule": Candidate(self.reference_rank, THESIS_DOWN_DENSITY, up),
        }

    def checked(self) -> Request:
        """Return the request itself.

        Raises:
            ConfigError: An effort outside (0, 1], a cap below 1, no candidate, or one that
                cannot be.
        """
        if not 0 < self.effort <= 1:
            raise ConfigError(f"effort {self.effort} is outside (0, 1]")
        if self.max_rounds < 1:
            raise ConfigError(f"a cap of {self.max_rounds} rounds; it must be at least 1")
        if self.profile.shapes_training:
            raise ConfigError(
                f"on {self.profile.name} clients drop out or come and go, which changes what every "
                "candidate learns; plan on a profile without dropout and [availability]"
            )
        if not self.candidates:
            raise ConfigError("there is no candidate to search")
        for candidate in [*self.candidates, *self.baselines().values()]:
            _ = self.config(candidate)
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
            "search": self.search,
            "seed": self.seed,
            "candidates": len(self.candidates),
            "ranks": sorted({c.rank for c in self.candidates}),
            "down_densities": sorted({c.down_density for c in self.candidates}, reverse=True),
            "up_densities": sorted({c.up_density for c in self.candidates}, reverse=True),
            "validation_examples": len(self.task.content.validation[1]),
            "test_examples": len(self.task.content.test[1]),
            "judged": self.judged(),
        }

    def judged(self) -> dict[str, Any]:
        """Return how many predictions an accuracy is the mean of: examples, or next tokens."""
        splits = {"validation": self.task.content.validation, "test": self.task.content.test}
        if self.task.kind != NEXT_TOKEN:
            return {"what": "examples", **{name: len(y) for name, (_, y) in splits.items()}}
        tokens = {name: int((x[:, 1:] >= 0).sum()) for name, (x, _) in splits.items()}
        return {"what": "next tokens", **tokens}
