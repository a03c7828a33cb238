"""Range test: a task's learning rates beside a third and three times of each, in a few rounds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydantic import model_validator

from floss_sim.documents import Section
from planner.forecasts.smoothing import difference_error
from planner.question.field_types import Accuracy, Count, Positive, PositiveInt

ERRORS = 2.0  # standard errors of a difference by which a pair of rates is clearly better
_COLLAPSE = 0.5  # share of the own accuracy below which three times a rate no longer learns
_SAME = 1e-6  # relative difference of equal rates


class RatePair(Section):
    """A pair of learning rates, and the validation accuracy that it reached.

    Attributes:
        client_lr: Learning rate of local SGD.
        server_lr: Learning rate of the server's optimiser.
        accuracy: Validation accuracy after the test's rounds, 0 to 1; None for a run that diverged.
    """

    client_lr: Positive
    server_lr: Positive
    accuracy: Accuracy | None

    def has_rates(self, client_lr: float, server_lr: float) -> bool:
        """Return whether these are the rates of the pair."""
        return _same(self.client_lr, client_lr) and _same(self.server_lr, server_lr)

    def rates_text(self) -> str:
        """Return the rates in words, such as ``"client 0.05, server 0.005"``."""
        return f"client {self.client_lr:g}, server {self.server_lr:g}"

    def accuracy_text(self) -> str:
        """Return the accuracy with three digits, or that the run diverges."""
        return "diverges" if self.accuracy is None else f"{self.accuracy:.3f}"


class RateTest(Section):
    """Short runs of dense LoRA with the task's learning rates and with others around them.

    Attributes:
        rank: LoRA rank of the runs.
        rounds: Rounds of each run.
        examples: Validation predictions behind each accuracy.
        client_lr: The task's learning rate of local SGD.
        server_lr: The task's learning rate of the server.
        tested: All pairs of rates that were trained, the task's among them.
        better: A pair that is clearly better than the task's, see :func:`better_rates`; None if
            there is none.
        tuned: Whether the plan's runs have the better pair instead of the task's.
        trained_now_rounds: Rounds that were trained for the test; the others were in the store.
    """

    rank: PositiveInt
    rounds: PositiveInt
    examples: PositiveInt
    client_lr: Positive
    server_lr: Positive
    tested: tuple[RatePair, ...]
    better: RatePair | None = None
    tuned: bool = False
    trained_now_rounds: Count = 0

    @model_validator(mode="after")
    def _check_better(self) -> RateTest:
        if self._find(self.client_lr, self.server_lr) is None:
            raise ValueError("tested: the task's own rates are missing")
        if self.better != better_rates(self.own, self.tested, self.examples):
            raise ValueError("better: it is not the pair that the tested accuracies make clear")
        if self.tuned and self.better is None:
            raise ValueError("tuned: no pair of rates is clearly better than the task's")
        if self.trained_now_rounds > self.rounds * len(self.tested):
            raise ValueError("trained_now_rounds: more than all runs of the test have")
        return self

    @property
    def own(self) -> RatePair:
        """The task's pair."""
        return next(p for p in self.tested if p.has_rates(self.client_lr, self.server_lr))

    @property
    def collapsing(self) -> tuple[str, ...]:
        """Of ``"client"`` and ``"server"`` those of which three times the rate does not learn.

        Such a run diverges, or reaches less than half of the accuracy with the task's rates.
        """
        least = _COLLAPSE * (self.own.accuracy or 0.0)
        raised = {
            "client": self._find(3 * self.client_lr, self.server_lr),
            "server": self._find(self.client_lr, 3 * self.server_lr),
        }
        return tuple(
            name for name, pair in raised.items()
            if pair and (pair.accuracy is None or pair.accuracy < least)
        )  # fmt: skip

    @property
    def warning(self) -> str:
        """What to know of the task's rates before training with them; empty if all is well."""
        if self.tuned:
            return ""
        if self.better:
            return (
                f"Learning rates: the task's are clearly not the best: {self.better_text()}. "
                "--tune-lr plans with the better ones; a lead after few rounds may not last."
            )
        if names := " or of ".join(f"the {name}" for name in self.collapsing):
            return (
                f"Three times the learning rate of {names} does not learn: the task's is near the "
                "edge."
            )
        return ""

    def better_text(self) -> str:
        """Return what the better pair and the task's own reach; empty without a better one."""
        if self.better is None:
            return ""
        own = f"the task's own ({self.own.rates_text()}) {self.own.accuracy_text()}"
        reached = f"{self.better.rates_text()} reaches {self.better.accuracy_text()}"
        return f"{reached} in {self.runs_text()}, {own}"

    def runs_text(self) -> str:
        """Return what was trained, in words."""
        return f"{self.rounds} rounds of dense LoRA of rank {self.rank}"

    def to_json(self) -> dict[str, Any]:
        """Return the test as plain values."""
        return self.model_dump(mode="json")

    def _find(self, client_lr: float, server_lr: float) -> RatePair | None:
        return next((pair for pair in self.tested if pair.has_rates(client_lr, server_lr)), None)


def better_rates(own: RatePair, tested: Iterable[RatePair], examples: int) -> RatePair | None:
    """Return a pair whose accuracy exceeds that of ``own`` by ``ERRORS`` errors; None without one.

    Of those within one error of the best, it is the one whose rates are nearest to those of
    ``own`` (the rule of one standard error: Breiman et al., "Classification and Regression
    Trees", 1984). An error is that of the difference of two independent binomial accuracies.
    Where ``own`` diverged, every pair that did not is better.

    Args:
        own: The pair to compare with.
        tested: All pairs.
        examples: Validation predictions behind each accuracy.
    """

    def lead(pair: RatePair, other: RatePair) -> float:
        one, two = pair.accuracy or 0.0, other.accuracy or 0.0
        return (one - two) / difference_error((one + two) / 2, examples)

    clear = [
        pair for pair in tested
        if pair.accuracy is not None and (own.accuracy is None or lead(pair, own) > ERRORS)
    ]  # fmt: skip
    best = max(clear, key=lambda pair: pair.accuracy or 0.0, default=None)
    if best is None:
        return None
    near = [pair for pair in clear if lead(best, pair) <= 1]
    return min(near, key=lambda pair: (round(_distance(pair, own), 6), -(pair.accuracy or 0.0)))


def _distance(one: RatePair, other: RatePair) -> float:
    """Return the sum of both rates' distances, in octaves."""
    ratios = one.client_lr / other.client_lr, one.server_lr / other.server_lr
    return sum(abs(math.log2(ratio)) for ratio in ratios)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * other
