"""The request: a question to the planner, as one inert value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from floss_sim.analysis.run_privacy import RunPrivacy
from floss_sim.errors import ConfigError, LayoutError
from floss_sim.methods import METHODS, dense
from floss_sim.methods.search_axes import reason_not_searched
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.runs.config import RunConfig, stack_layers
from floss_sim.runs.own_data import own_data_text
from floss_sim.tasks import Task, load_task
from planner.candidates import DEFAULTS, FLOSS, OPTIONAL_AXES, Candidate, axis_values, grid
from planner.curves import Curve
from planner.forecasts.intervals import KnownCurves
from planner.forecasts.prior_file import PACKAGED, read_prior
from planner.forecasts.task_prior import GridPrior, TaskPrior
from planner.question.baselines import baselines_beside
from planner.question.budget import Budget, parse_budget
from planner.question.judged import chance_accuracy, prediction_counts
from planner.question.limits import MAX_ROUNDS, MAX_TRANSFERS
from planner.question.objective import BEST, Objective
from planner.question.origin import Origin
from planner.question.privacy import Cohorts, Privacy

# Defaults of a request, and of the options of ``floss-plan``.
BUDGET = "50-dense-rounds"
RANKS = (1, 4, 16)  # LoRA ranks
DENSITIES = (1.0, 1 / 4, 1 / 16, 1 / 64)  # of downloads and of uploads
REFERENCE_RANK = 16
ROUND_CAP = 400
EFFORT = 0.2  # fraction of the rounds that the budget affords all candidates

GLOBAL, OWN = "global", "own"
MEASURES = (GLOBAL, OWN)  # of accuracy

FURTHER_SEEDS = 2  # seeds besides the request's with which finalists and baselines are repeated


@dataclass(frozen=True)
class Request:
    """A question to the planner.

    Attributes:
        task: The task.
        budget: The budget of one run.
        profile: The network.
        candidates: The configurations to search.
        reference_rank: The LoRA rank of dense rounds and of the baselines.
        max_rounds: The largest number of rounds of a run.
        effort: Rounds that the search may train, as a fraction of those that the budget affords
            all candidates together.
        seed: The seed of all random streams.
        search: The name of the search strategy.
        objective: The best accuracy within the budget (default), a target at least cost, or all of
            accuracy against cost.
        max_client_bytes: Bytes that the busiest client may transfer in a whole run.
        max_round_s: Simulated seconds that a round may take, as the mean over a run, in the
            median of fleets or in the confidence of a budget of seconds.
        training_s: Host seconds that the search may train, instead of ``effort``.
        lr_test: Whether learning rates around the task's are tested in short runs before the
            search, if that takes a small part of it.
        tune_lr: Whether all runs have the best of these rates, if it is clearly better.
        prior: What grids recorded on other tasks say, which counts in a race; None for nothing.
        origin: How the task and the network were loaded, so that a plan can be applied later.
        left_out_methods: Why methods that were asked for have no candidate, by their names.
        accuracy: What every accuracy is: ``"global"``, that of one model for all clients; or
            ``"own"``, the mean over clients of each one's own model on data like its own
            (:mod:`floss_sim.runs.own_data`), which methods with private entries need.
        privacy: Clip and noise of all runs, and the epsilon at which they end; None for neither.

    Example:
        >>> from planner import Request
        >>> request = Request.of("digits", "paper-200-20", budget="20MB", max_rounds=100)
        >>> len(request.candidates), request.budget.kind
        (48, 'bytes')
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
    lr_test: bool = True
    tune_lr: bool = False
    prior: GridPrior | None = None
    origin: Origin | None = None
    left_out_methods: Mapping[str, str] = field(default_factory=dict)
    accuracy: str = GLOBAL
    privacy: Privacy | None = None

    @classmethod
    def of(
        cls,
        task: Task | str | Path,
        profile: NetworkProfile | str | Path,
        *,
        budget: Budget | str = BUDGET,
        candidates: Sequence[Candidate] | None = None,
        reference_rank: int = REFERENCE_RANK,
        max_rounds: int = ROUND_CAP,
        effort: float = EFFORT,
        seed: int = 0,
        upload_ratio: float | None = None,
        changes: Mapping[str, Any] | None = None,
        prior: GridPrior | str | Path | None = PACKAGED,
        **further: Any,
    ) -> Request:
        """Return a valid request with the defaults of ``floss-plan``.

        Args:
            task: A task, or the name or path by which it is loaded.
            profile: A network, or the name or path by which it is loaded.
            budget: A budget, or its text.
            candidates: The configurations to search; by default 3 ranks x 4 x 4 densities.
            reference_rank: As of :class:`Request`.
            max_rounds: As of :class:`Request`.
            effort: As of :class:`Request`.
            seed: As of :class:`Request`.
            upload_ratio: Down rate over up rate that every link gets; None keeps the links.
            changes: Keys of the task to set, such as ``{"partition.clients": 20}``; the task must
                then be given by its name or path.
            prior: A prior over tasks, or its file; by default the packaged one, None for none.
            further: Further fields of :class:`Request`.

        Raises:
            ConfigError: The task, the network or the budget cannot be read, or the request
                contradicts itself.
        """
        if changes and isinstance(task, Task):
            raise ConfigError("changes need the task's name or path, not a loaded task")
        names = (
            task.name if isinstance(task, Task) else str(task),
            profile.name if isinstance(profile, NetworkProfile) else str(profile),
        )
        loaded = task if isinstance(task, Task) else load_task(names[0], changes=changes)
        network = profile if isinstance(profile, NetworkProfile) else load_profile(names[1])
        if upload_ratio is not None:
            network = network.with_upload_ratio(upload_ratio)
        origin = Origin.if_reloadable(
            loaded, network, names, changes=changes, upload_ratio=upload_ratio,
            just_loaded=not isinstance(task, Task) and not isinstance(profile, NetworkProfile),
        )  # fmt: skip
        return cls(
            task=loaded,
            budget=budget if isinstance(budget, Budget) else parse_budget(str(budget)),
            profile=network,
            candidates=grid(RANKS, DENSITIES, DENSITIES)
            if candidates is None
            else tuple(candidates),
            reference_rank=reference_rank,
            max_rounds=max_rounds,
            effort=effort,
            seed=seed,
            prior=read_prior(Path(prior)) if isinstance(prior, str | Path) else prior,
            **{"origin": origin, **further},
        ).checked()

    def config(self, candidate: Candidate) -> RunConfig:
        """Return the run of a candidate, with the request's privacy."""
        config = candidate.config(self.task, self.seed)
        return self.privacy.applied(config) if self.privacy else config

    @staticmethod
    def check_network(profile: NetworkProfile) -> None:
        """Raise ConfigError if clients can be lost or offline on a network."""
        if profile.shapes_training:
            raise ConfigError(
                f"on {profile.name} clients drop out or come and go, which changes what every "
                "candidate learns; plan on a profile without dropout and [availability]"
            )

    def check_candidate(self, candidate: Candidate) -> None:
        """Raise ConfigError unless a candidate can be run."""
        self.config(candidate)

    def reference(self) -> RunConfig:
        """Return the run that dense rounds are counted in."""
        return RunConfig.of(self.task, dense(), rank=self.reference_rank, seed=self.seed)

    def baselines(self) -> dict[str, Candidate]:
        """Return the baselines by name, without those that the privacy gives no guarantee."""
        every = baselines_beside(self.candidates, self.task, self.profile, self.reference_rank)
        asked = self.privacy
        return {
            name: candidate
            for name, candidate in every.items()
            if not (asked and asked.reason_against(candidate.as_method()))
        }

    def checked(self) -> Request:
        """Return the request itself, or one with the noise of an epsilon that is given alone.

        Raises:
            ConfigError: An effort outside [0, 1], a cap outside 1 to MAX_ROUNDS, no candidate, one
                that cannot be, or too many to price; an objective that contradicts itself; a
                privacy without an epsilon, or whose library is not installed.
        """
        self.objective.check()
        self._check_measure()
        if not 0 <= self.effort <= 1:
            raise ConfigError(f"effort {self.effort} is outside [0, 1]")
        if self.max_rounds < 1:
            raise ConfigError(f"a cap of {self.max_rounds} rounds; it must be at least 1")
        if self.max_rounds > MAX_ROUNDS:
            raise ConfigError(f"a cap of {self.max_rounds} rounds; it must be at most {MAX_ROUNDS}")
        if not isinstance(self.max_client_bytes, (int, float)) or not self.max_client_bytes > 0:
            raise ConfigError(f"max_client_bytes {self.max_client_bytes!r} is no number above 0")
        if not self.max_round_s > 0:
            raise ConfigError(f"rounds of at most {self.max_round_s} s; it must be above 0")
        self._check_rates()
        request = self._with_noise()
        if request.privacy:
            request.privacy.check(self.largest_cohorts, self.max_rounds)
        self.check_network(self.profile)
        if not self.candidates:
            raise ConfigError("there is no candidate to search")
        for candidate in [*self.candidates, *self.baselines().values()]:
            self.check_candidate(candidate)
        self._check_transfers()
        return request

    @property
    def _cohort_sizes(self) -> list[int]:
        """Clients of a round of all candidates, and the task's, ascending."""
        own = self.task.server.cohort
        return sorted({own, *(candidate.cohort_size or own for candidate in self.candidates)})

    def _cohorts(self, size: int) -> Cohorts:
        return Cohorts(self.task.partition.clients, size, self.seed)

    @property
    def largest_cohorts(self) -> Cohorts:
        """The cohorts of most clients that a candidate has, whose runs spend the most epsilon."""
        return self._cohorts(self._cohort_sizes[-1])

    def _with_noise(self) -> Request:
        """Return the request with a noise, if its privacy has an epsilon alone.

        It is the least for which the cap on rounds keeps to the epsilon with the largest cohorts.

        Raises:
            ConfigError: No noise does, or the library of epsilon is not installed.
        """
        privacy = self.privacy
        if privacy is None or privacy.settings.noise or not privacy.has_limit:
            return self
        enough = privacy.with_least_noise(self.largest_cohorts, self.max_rounds)
        return replace(self, privacy=enough)

    def spent_privacy(self, candidate: Candidate, rounds: int) -> RunPrivacy | None:
        """Return the privacy of a candidate's run after some rounds; None without privacy."""
        size = candidate.cohort_size or self.task.server.cohort
        return self.privacy.spent(self._cohorts(size), rounds) if self.privacy else None

    def private_rounds(self) -> dict[int, int]:
        """Return the rounds that epsilon allows, by clients of a round, where below the cap.

        Raises:
            ConfigError: The library of epsilon is not installed.
        """
        if self.privacy is None:
            return {}
        cap = self.max_rounds
        found = {n: self.privacy.most_rounds(self._cohorts(n), cap) for n in self._cohort_sizes}
        return {size: rounds for size, rounds in found.items() if rounds < cap}

    @property
    def measures_own(self) -> bool:
        """Whether accuracies are those of the clients' own models."""
        return self.accuracy == OWN

    @property
    def measure_text(self) -> str:
        """What every accuracy is, in words; empty if it is that of one model for all clients."""
        return own_data_text(self.task.partition.law) if self.measures_own else ""

    def _check_measure(self) -> None:
        """Raise ConfigError if the measure is unknown, or a candidate needs the other one."""
        if self.accuracy not in MEASURES:
            raise ConfigError(f"accuracy {self.accuracy!r}; valid: {', '.join(MEASURES)}")
        for name in sorted({c.method for c in self.candidates} & METHODS.keys()):
            if why := reason_not_searched(name, own=self.measures_own):
                raise ConfigError(f"cannot search method {name!r}: {why}")

    @property
    def has_rates(self) -> bool:
        """Whether candidates name learning rates, which are then searched."""
        return any(c.client_lr or c.server_lr for c in self.candidates)

    def _check_rates(self) -> None:
        """Raise ConfigError if a learning rate is searched and set, or tuned without a test."""
        fixed = self.origin.changes if self.origin else {}
        for side in ("client", "server"):
            if f"{side}.learning_rate" in fixed and any(
                getattr(candidate, f"{side}_lr") for candidate in self.candidates
            ):
                raise ConfigError(
                    f"--{side}-lrs searches the {side}'s learning rate, and --set "
                    f"{side}.learning_rate fixes it; give one of both"
                )
        if self.tune_lr and not self.lr_test:
            raise ConfigError("--tune-lr needs the test of learning rates: no --no-lr-test")
        if self.tune_lr and self.has_rates:
            raise ConfigError(
                "--tune-lr chooses the learning rates before the search, and --client-lrs or "
                "--server-lrs searches them; give one of both"
            )

    def _check_transfers(self) -> None:
        """Raise ConfigError if pricing the request would predict more than MAX_TRANSFERS."""
        cohort = self.task.server.cohort
        clients = sum(candidate.cohort_size or cohort for candidate in self.candidates)
        if clients * self.max_rounds > MAX_TRANSFERS:
            raise ConfigError(
                f"{len(self.candidates)} candidates of {self.max_rounds} rounds make "
                f"{clients * self.max_rounds} transfers to predict; valid: at most "
                f"{MAX_TRANSFERS}; search fewer candidates, or lower the cap on rounds"
            )

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
            "candidates": len(set(self.candidates)),
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
            "lr_test": None if self.lr_test else False,
            "tune_lr": self.tune_lr or None,
            **{name: self._axis_values(name) for name in OPTIONAL_AXES},
            "method_axes": self._method_axes(),
            "left_out_methods": dict(self.left_out_methods) or None,
            "accuracy": None if self.accuracy == GLOBAL else self.accuracy,
            "privacy": self.privacy and self.privacy.to_json(),
        }
        return {name: value for name, value in every.items() if value is not None}

    def _axis_values(self, axis: str) -> list[Any] | None:
        """Return what candidates vary in, or None where all are as always.

        A number of 0 beside others is left out: those candidates have no such axis.
        """
        values = sorted({getattr(c, axis) for c in self.candidates})
        if values in ([], [getattr(DEFAULTS, axis)]):
            return None
        return [value for value in values if value != 0]

    def _method_axes(self) -> dict[str, dict[str, list[Any]]] | None:
        """Return the values of each method's axes; None if the lists of all methods tell them."""
        names = sorted({c.method for c in self.candidates})
        made = {name: axis_values(c for c in self.candidates if c.method == name) for name in names}
        own = any(candidate.options for candidate in self.candidates)
        return made if own or any(one != made[names[0]] for one in made.values()) else None

    def prediction_counts(self) -> dict[str, Any]:
        """Return how many predictions an accuracy is the mean of: examples, or next tokens."""
        return prediction_counts(self.task)

    def known_curves(
        self,
        history: Mapping[Candidate, Curve],
        again: Mapping[Candidate, Sequence[Curve]] | None = None,
    ) -> KnownCurves:
        """Return curves of this task as the one source of expected accuracies.

        Plans and answers take all accuracies from here. They differ where they know other curves.

        Args:
            history: Curves of the request's seed, by candidate.
            again: Curves of another seed.
        """
        return KnownCurves(
            history,
            self.prediction_counts()["validation"],
            self.max_rounds,
            again or {},
            sorted({*self.candidates, *self.baselines().values()}),
        )

    @cached_property
    def task_prior(self) -> TaskPrior | None:
        """What grids recorded on other tasks say of this one; None if there is no such grid.

        Grids with the task's own backbone do not count, which includes the task's own. The grids
        are FLoSS's, and say nothing of a search without it, of clients' own models, or of noise.
        """
        if (
            self.prior is None
            or self.privacy
            or self.measures_own
            or all(c.method != FLOSS for c in self.candidates)
        ):
            return None
        half = 0.5 / self.prediction_counts()["validation"]
        chance = min(max(self.chance_accuracy(), half), 1 - half)
        try:
            layers = self.task.lora.depth or stack_layers(self.task)
        except LayoutError:  # no stack of layers, and so no candidate that names a depth
            layers = 1
        return self.prior.for_task(self.task.backbone_hash, chance, layers)

    def chance_accuracy(self) -> float:
        """Return the validation accuracy of always predicting the most frequent class or token.

        In a search of own models each client may always name another label.
        """
        return chance_accuracy(self.reference(), own=self.measures_own)
