"""Search space: candidates of a rank, two densities and, on request, further axes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import product
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.methods import Method, method_from_name
from floss_sim.methods.search_axes import (
    DENSITY,
    DOWN_DENSITY,
    RANK,
    UP_DENSITY,
    Number,
    SearchAxes,
    search_axes,
)
from floss_sim.runs.config import RunConfig, stack_layers
from floss_sim.tasks import Task
from floss_sim.vectors.density import format_density
from floss_sim.wire import VALUE_CODES

FLOSS = "floss"
PLAIN_VALUES = "fp32"
MAX_CANDIDATES = 2_000  # of a search; the default is 48
OPTIONAL_AXES = (
    "cohort_size", "epochs", "values", "method", "depth", "client_lr", "server_lr", "options"
)  # fmt: skip
OwnAxes = Mapping[str, Mapping[str, Sequence[Number]]]  # values by method and axis


@dataclass(frozen=True, order=True)
class Candidate:
    """One configuration: a rank, a download density and an upload density.

    Attributes:
        rank: LoRA rank, at least 1; 1 where the method has no adapter.
        down_density: Density of downloads, in (0, 1].
        up_density: Density of uploads, in (0, 1]. Of methods that have one density, such as
            FSLoRA, both are equal; of those that have none, both are 1.
        cohort_size: Clients of a round; 0 means the task's value.
        epochs: Epochs of local training; 0 means the task's value.
        values: Value code of both directions.
        method: One of :func:`floss_sim.methods.search_axes.searched_methods`.
        depth: Layers with adapters, counted from the last; 0 means the task's value.
        client_lr: Learning rate of local SGD; 0 means the task's value.
        server_lr: Learning rate of the server's optimiser; 0 means the task's value.
        options: Numbers that only the method has, such as ``heads=2`` or
            ``half_life=5,segments=2``, ordered by name; others have the method's defaults.
    """

    rank: int
    down_density: float
    up_density: float
    cohort_size: int = 0
    epochs: int = 0
    values: str = PLAIN_VALUES
    method: str = FLOSS
    depth: int = 0
    client_lr: float = 0.0
    server_lr: float = 0.0
    options: str = ""

    def __str__(self) -> str:
        """Return a text such as ``rank 16, down 1/4, up 1/16``; default axes are omitted."""
        down, up = format_density(self.down_density), format_density(self.up_density)
        rank = f"rank {self.rank}, " if self.has_rank else ""
        told = f"{rank}down {down}, up {up}"
        return f"{told}, {self.other_settings}" if self.other_settings else told

    @property
    def has_rank(self) -> bool:
        """Whether the method has an adapter, and so a rank."""
        return search_axes(self.method).has_rank

    @property
    def idle_axes(self) -> tuple[str, ...]:
        """The optional axes whose values change nothing in a run; a search leaves them at 0.

        Raises:
            ConfigError: The method cannot be searched, or has no such options.
        """
        return _idle_axes(self.method, self.options)

    @property
    def rank_text(self) -> str:
        """The rank in a table: ``-`` where there is none."""
        return str(self.rank) if self.has_rank else "-"

    @property
    def other_settings(self) -> str:
        """The optional axes that differ from their defaults, such as ``cohort 10, int8``."""
        words = [f"cohort {self.cohort_size}"] if self.cohort_size else []
        words += [f"{self.epochs} epoch{'s' * (self.epochs > 1)}"] if self.epochs else []
        words += [self.values] if self.values != PLAIN_VALUES else []
        words += [self.method] if self.method != FLOSS else []
        words += [self.own_words] if self.options else []
        words += [f"depth {self.depth}"] if self.depth else []
        words += [f"client lr {self.client_lr:g}"] if self.client_lr else []
        words += [f"server lr {self.server_lr:g}"] if self.server_lr else []
        return ", ".join(words)

    @property
    def own_words(self) -> str:
        """The numbers that only the method has in words, such as ``half life 5, segments 2``."""
        return ", ".join(f"{name.replace('_', ' ')} {n:g}" for name, n in self.own.items())

    def config(self, task: Task, seed: int) -> RunConfig:
        """Return the run configuration of this candidate on a task.

        Args:
            task: The task, which gives all other settings.
            seed: Seed of the run.

        Raises:
            LayoutError: The rank or the depth does not fit the task's backbone.
            DensityError: A density is outside (0, 1].
            ConfigError: The cohort size, epochs, value code, method or a learning rate is invalid.
        """
        if self.depth and self.depth != (task.lora.depth or stack_layers(task)):
            task = task.at_depth(self.depth)
        config = RunConfig.of(task, self.as_method(), rank=self.rank, seed=seed)
        client: dict[str, float] = {"epochs": self.epochs, "learning_rate": self.client_lr}
        server: dict[str, float] = {"cohort": self.cohort_size, "learning_rate": self.server_lr}
        client, server = ({k: v for k, v in of.items() if v} for of in (client, server))
        return config.with_(client=client, server=server) if client or server else config

    def as_method(self) -> Method:
        """Return the method of this candidate, with its densities and value codes.

        Raises:
            DensityError: A density is outside (0, 1].
            ConfigError: The value code is unknown, the method cannot be searched, or has no such
                options.
        """
        return method_from_name(
            self.method,
            **self.densities,
            **search_axes(self.method).fixed,
            **self.own,
            down_values=self.values,
            up_values=self.values,
        )

    @property
    def densities(self) -> dict[str, float]:
        """The method's densities, by option.

        Raises:
            ConfigError: The method cannot be searched.
        """
        both = {DOWN_DENSITY: self.down_density, UP_DENSITY: self.up_density}
        both[DENSITY] = self.down_density
        return {name: both[name] for name in search_axes(self.method).densities}

    @property
    def own(self) -> dict[str, Number]:
        """The numbers that only the method has, by option.

        Raises:
            ConfigError: ``options`` is not in its form.
        """
        return _own_numbers(self.options)

    @classmethod
    def of_settings(cls, values: Mapping[str, Any]) -> Candidate:
        """Return the candidate of JSON values; keys that are no axis are ignored."""
        axes = (axis.name for axis in fields(cls) if axis.name in values)
        return cls(**{axis: values[axis] for axis in axes})

    def settings(self) -> dict[str, Any]:
        """Return the candidate as JSON values; axes at their defaults are omitted."""
        own = {"rank", "down_density", "up_density"}
        return {k: v for k, v in vars(self).items() if k in own or v != getattr(DEFAULTS, k)}


@lru_cache(maxsize=1024)
def _idle_axes(method: str, options: str) -> tuple[str, ...]:
    one = Candidate(1, 0.5, 0.5, method=method, options=options)
    made, depth = one.as_method(), ("depth",) * (not one.has_rank)
    seeds = made.zeroth_order
    rates = ("server_lr",) * made.server_averages + ("client_lr",) * bool(seeds and seeds.rate)
    return depth + rates


DEFAULTS = Candidate(1, 1.0, 1.0)  # optional axes equal to these are omitted from names and JSON


def grid(
    ranks: Sequence[int], down_densities: Sequence[float], up_densities: Sequence[float]
) -> list[Candidate]:
    """Return every combination of ranks and densities once, in sorted order.

    Raises:
        ConfigError: There are more than ``MAX_CANDIDATES`` combinations.

    Example:
        >>> from planner import grid
        >>> len(grid([1, 4], [1.0], [1.0, 1 / 4]))
        4
    """
    axes = set(ranks), set(down_densities), set(up_densities)
    _check_count(axes)
    return sorted({Candidate(*values) for values in product(*axes)})


def _check_count(axes: Sequence[Collection[Any]]) -> None:
    """Raise ConfigError if values of axes have more than ``MAX_CANDIDATES`` combinations."""
    count = math.prod(len(values) for values in axes)
    if count > MAX_CANDIDATES:
        raise ConfigError(f"{count} candidates to search; valid: at most {MAX_CANDIDATES}")


def with_axes(
    candidates: Sequence[Candidate],
    *,
    cohorts: Sequence[int] = (),
    epochs: Sequence[int] = (),
    values: Sequence[str] = (),
    methods: Sequence[str] = (),
    depths: Sequence[int] = (),
    client_lrs: Sequence[float] = (),
    server_lrs: Sequence[float] = (),
    own: OwnAxes | None = None,
) -> list[Candidate]:
    """Return candidates at every combination of the optional axes, in sorted order.

    Methods of one density are combined only with pairs of equal densities below 1 (a density of 1
    would be dense), methods of none with densities of 1. Numbers that only a method has take the
    values of :data:`floss_sim.methods.search_axes.SEARCH_AXES`. An axis that changes no run of a
    method, such as the depth where there is no adapter, stays at the task's value.

    Args:
        candidates: Candidates with their ranks and densities.
        cohorts: Cohort sizes; empty for the task's value.
        epochs: Epochs of local training; empty for the task's value.
        values: Value codes; empty for fp32.
        methods: Methods; empty for FLoSS.
        depths: Numbers of last layers with adapters; empty for the task's value.
        client_lrs: Learning rates of local SGD; empty for the task's value.
        server_lrs: Learning rates of the server's optimiser; empty for the task's value.
        own: Values of single methods, by method and axis: ranks and densities instead of those of
            ``candidates``, such as ``{"fed-sb": {"rank": [32]}}``, and numbers that only the method
            has.

    Raises:
        ConfigError: A cohort size, epochs or depth is below 1, a learning rate is not above 0, a
            value code is unknown, a method cannot be searched, a method has no such axis or value,
            or there are more than ``MAX_CANDIDATES`` combinations.
        DensityError: A density of a single method is outside (0, 1].
    """
    for what, numbers in (("cohort", cohorts), ("epochs", epochs), ("depth", depths)):
        if any(number < 1 for number in numbers):
            raise ConfigError(f"{what} {min(numbers)} must be at least 1")
    for what, rates in (("client", client_lrs), ("server", server_lrs)):
        for rate in rates:
            check_rate(rate, f"{what} learning rate")
    if strange := [name for name in values if name not in VALUE_CODES]:
        raise ConfigError(
            f"cannot search value code {strange[0]!r}; valid: {', '.join(VALUE_CODES)}"
        )
    named = list(dict.fromkeys(methods)) or [FLOSS]
    for name in named:
        search_axes(name)
    given = own or {}
    for name in given:
        if name not in named:
            raise ConfigError(
                f"axes of method {name!r}, which is not searched; valid: {', '.join(named)}"
            )
    made = {c for name in named for c in candidates_of(name, candidates, given.get(name, {}))}
    axes: tuple[Sequence[Any], ...] = (
        cohorts or [0], epochs or [0], values or [PLAIN_VALUES], depths or [0],
        client_lrs or [0.0], server_lrs or [0.0],
    )  # fmt: skip
    _check_count([made, *map(set, axes)])
    shared = [name for name in OPTIONAL_AXES if name not in ("method", "options")]
    all_chosen = [dict(zip(shared, chosen, strict=True)) for chosen in product(*map(set, axes))]
    idle = {c: dict.fromkeys(c.idle_axes, 0) for c in made}
    return sorted({replace(c, **(chosen | idle[c])) for c in made for chosen in all_chosen})


def candidates_of(
    method: str, candidates: Iterable[Candidate], given: Mapping[str, Sequence[Number]]
) -> set[Candidate]:
    """Return the candidates of a method, with its own axes.

    Args:
        method: The method.
        candidates: Candidates with ranks and densities.
        given: Values of axes of the method, which replace those of ``candidates``.

    Raises:
        ConfigError: The method cannot be searched, or has no such axis or value, or there are more
            than ``MAX_CANDIDATES`` candidates.
        DensityError: A density is outside (0, 1].
    """
    axes = search_axes(method)
    if strange := [name for name in given if name not in axes.names or not given[name]]:
        raise ConfigError(
            f"cannot search {strange[0]!r} of method {method!r}; valid: values of "
            f"{', '.join(axes.names)}"
        )
    for rank in given.get(RANK, []):
        if rank < 1 or rank != int(rank):
            raise ConfigError(f"rank {rank:g} of method {method!r}; valid: whole numbers from 1")
    numbers = {**axes.own, **{name: v for name, v in given.items() if name in axes.numbers}}
    texts = [
        own_text(dict(zip(numbers, chosen, strict=True))) for chosen in product(*numbers.values())
    ]
    triples = {
        triple for c in candidates for triple in _triples(c, axes, given) if axes.takes(*triple)
    }
    _check_count([triples, texts])
    made = {Candidate(*t, method=method, options=text) for t in triples for text in texts}
    for text in texts:  # the method says which values it takes
        Candidate(1, 0.5, 0.5, method=method, options=text).as_method()
    return made


def _triples(
    candidate: Candidate, axes: SearchAxes, given: Mapping[str, Sequence[Number]]
) -> Iterator[tuple[int, float, float]]:
    """Yield the ranks and pairs of densities that a method has for a candidate."""
    ranks = [int(rank) for rank in given.get(RANK, [candidate.rank])] if axes.has_rank else [1]
    if DENSITY in given:
        pairs = [(density, density) for density in given[DENSITY]]
    elif not axes.densities:
        pairs = [(1.0, 1.0)]
    else:
        downs = given.get(DOWN_DENSITY, [candidate.down_density])
        ups = given.get(UP_DENSITY, [candidate.up_density])
        pairs = list(product(downs, ups))
    for rank, (down, up) in product(ranks, pairs):
        yield rank, float(down), float(up)


def axis_values(candidates: Iterable[Candidate]) -> dict[str, list[Number]]:
    """Return the values of a method's own axes that its candidates have, by axis, ascending."""
    found: dict[str, set[Number]] = {}
    for candidate in candidates:
        rank = {RANK: candidate.rank} if candidate.has_rank else {}
        told = {**rank, **candidate.densities, **candidate.own}
        for name, value in told.items():
            found.setdefault(name, set()).add(value)
    return {name: sorted(values) for name, values in found.items()}


def own_text(numbers: Mapping[str, Number]) -> str:
    """Return the numbers that only a method has as a candidate's ``options``."""
    return ",".join(f"{name}={numbers[name]:.12g}" for name in sorted(numbers))


def _own_numbers(text: str) -> dict[str, Number]:
    """Return the numbers of a candidate's ``options``.

    Raises:
        ConfigError: The text is none of :func:`own_text`.
    """
    numbers: dict[str, Number] = {}
    try:
        for part in text.split(",") if text else []:
            name, _, value = part.partition("=")
            numbers[name] = int(value) if value.lstrip("-").isdecimal() else float(value)
    except ValueError:
        numbers = {}
    if own_text(numbers) != text:
        raise ConfigError(f"options {text[:40]!r}; valid: numbers by name, such as heads=2")
    return numbers


def check_rate(rate: float, what: str) -> None:
    """Raise ConfigError unless a learning rate is a finite number above 0."""
    if not 0 < rate < math.inf:
        raise ConfigError(f"{what} {rate:g}; valid: a finite number above 0")
