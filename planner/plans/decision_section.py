"""Order of decisions of an asynchronous search, by which it can be replayed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from floss_sim.documents import Section
from planner.question.field_types import Configuration, Count, PositiveInt


class StepSection(Section):
    """One extension of an asynchronous search.

    Attributes:
        candidate: The candidate.
        rounds: Last round of the extension.
        after: Number of answers that were known when it began.
        answered: Its number among the answers, from 1; None if the search was interrupted before.
    """

    candidate: Configuration
    rounds: PositiveInt
    after: Count
    answered: PositiveInt | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the step as plain values."""
        numbers = {"rounds": self.rounds, "after": self.after, "answered": self.answered}
        return {"candidate": self.candidate.settings(), **numbers}


class DecisionsSection(Section):
    """The decisions of an asynchronous search.

    Attributes:
        workers: Runs that trained at once.
        steps: The extensions, in the order in which they began.
    """

    workers: PositiveInt
    steps: tuple[StepSection, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the decisions as plain values."""
        return {"workers": self.workers, "steps": [step.to_json() for step in self.steps]}

    def contradictions(self) -> Iterator[str]:
        """Yield the numbers of steps that no search could have."""
        answers = [step.answered for step in self.steps if step.answered is not None]
        if sorted(answers) != list(range(1, len(answers) + 1)):
            yield f"steps: the numbers of answers are not 1 to {len(answers)}"
        before = 0
        for number, step in enumerate(self.steps):
            name = f"steps.{number}"
            if not before <= step.after <= number:
                yield f"{name}.after: {step.after} answers cannot be known before step {number}"
            if number + 1 - step.after > self.workers:
                yield f"{name}.after: more runs than the {self.workers} workers train"
            if step.answered is not None and step.answered <= step.after:
                yield f"{name}.answered: answer {step.answered} came before the step began"
            before = step.after
        yield from self._extensions()

    def _extensions(self) -> Iterator[str]:
        """Yield extensions of a run that began before its earlier one was answered."""
        last: dict[Any, StepSection] = {}
        for number, step in enumerate(self.steps):
            if earlier := last.get(step.candidate):
                if earlier.answered is None or earlier.answered > step.after:
                    yield f"steps.{number}: the run's earlier extension was not answered yet"
                if earlier.rounds >= step.rounds:
                    yield f"steps.{number}.rounds: the run has {earlier.rounds} rounds already"
            last[step.candidate] = step
