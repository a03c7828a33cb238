"""Space of a search over methods: the candidates of each, and why a method has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from floss_sim.errors import ConfigError, LayoutError
from floss_sim.methods import METHODS
from floss_sim.methods.search_axes import RANK, reason_not_searched, search_axes
from floss_sim.tasks import Task
from planner.candidates import FLOSS, Candidate, OwnAxes, with_axes
from planner.question.privacy import Privacy

_NO_PAIR = "it needs equal densities down and up, below 1, that keep a rank or more; none are given"


@dataclass(frozen=True)
class MethodSpace:
    """The candidates of the methods that were asked for.

    Attributes:
        candidates: The candidates that can be run.
        left_out: Why a method has no candidate, by its name.
        misfits: Of the other methods: the number of candidates that the backbone cannot hold, or
            that are not private, and the first of them with its reason.
    """

    candidates: Sequence[Candidate]
    left_out: Mapping[str, str]
    misfits: Mapping[str, tuple[int, str]]

    def notes(self) -> list[str]:
        """Return a line for each method that lacks some or all of its candidates."""
        return [
            *(f"{name} is not searched: {why}" for name, why in self.left_out.items()),
            *(
                f"{name}: {count} candidates are left out, such as {first}"
                for name, (count, first) in self.misfits.items()
            ),
        ]


def method_space(
    task: Task,
    plain: Sequence[Candidate],
    methods: Sequence[str],
    own: OwnAxes | None = None,
    *,
    own_ranks: bool = False,
    own_models: bool = False,
    privacy: Privacy | None = None,
    **axes: Any,
) -> MethodSpace:
    """Return the candidates of some methods on a task.

    A method that a search cannot take is left out with its reason. So are candidates of ranks or
    numbers that nobody asked for (:data:`floss_sim.methods.search_axes.SEARCH_AXES`) and that the
    task's backbone cannot hold; where it cannot hold what was asked for, running them is an error.
    Candidates to which a privacy gives no guarantee are left out, too.

    Args:
        task: The task.
        plain: Candidates with ranks and densities.
        methods: The methods; empty for FLoSS.
        own: Values of single methods, as of :func:`planner.candidates.with_axes`.
        own_ranks: Whether methods whose rank is not LoRA's have ranks of their own.
        own_models: Whether the search measures the clients' own models.
        privacy: Clip and noise of all runs; None for neither.
        axes: The other axes of :func:`planner.candidates.with_axes`.

    Raises:
        ConfigError: A method is unknown, none is left, or an axis or a value is invalid.
        DensityError: A density is outside (0, 1].
    """
    asked = list(dict.fromkeys(methods)) or [FLOSS]
    reasons_by = {n: reason_not_searched(n, own=own_models) for n in asked if n in METHODS}
    left_out = {name: why for name, why in reasons_by.items() if why}
    left = [name for name in asked if name not in left_out]
    if not left:
        name, why = next(iter(left_out.items()))
        raise ConfigError(f"cannot search method {name!r}: {why}")
    given = {name: dict(values) for name, values in (own or {}).items() if name not in left_out}
    free = {}  # whether a method has values that nobody asked for
    for name in left:
        told, mine = search_axes(name), given.get(name, {})
        free[name] = any(number not in mine for number in told.own)
        if own_ranks and told.ranks and RANK not in mine:
            given[name], free[name] = {**mine, RANK: told.ranks}, True
    made = with_axes(plain, methods=left, own=given, **axes)
    against = {c: privacy.reason_against(c.as_method()) for c in made} if privacy else {}
    wrong = {
        c: why
        for c in made
        if (why := against.get(c) or (_misfit(task, c) if free[c.method] else ""))
    }
    kept = [c for c in made if c not in wrong]
    misfits: dict[str, tuple[int, str]] = {}
    for name in left:
        reasons = {c: why for c, why in wrong.items() if c.method == name}
        first = next(iter(reasons), None)
        if name not in {c.method for c in kept}:
            left_out[name] = reasons[first] if first else _NO_PAIR
        elif first:
            misfits[name] = (len(reasons), f"{first}: {reasons[first]}")
    if plain and not kept:
        name, why = next(iter(left_out.items()))
        raise ConfigError(f"cannot search method {name!r}: {why}")
    return MethodSpace(kept, {n: left_out[n] for n in asked if n in left_out}, misfits)


def _misfit(task: Task, candidate: Candidate) -> str:
    """Return why the task's backbone cannot hold a candidate; empty if it can."""
    try:
        candidate.config(task, 0)
    except LayoutError as error:
        return str(error)
    return ""
