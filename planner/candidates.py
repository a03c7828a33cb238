"""Search space: candidates of a rank, two densities and, on request, further axes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.methods import Method, method_from_name
from floss_sim.runs.config import RunConfig, stack_layers
from floss_sim.tasks import Task
from floss_sim.vectors.density import format_density
from floss_sim.wire import VALUE_CODES

FLOSS, FFA, SPARSE_ADAPTER = "floss", "ffa", "sparse-adapter"
FSLORA, FREEZING, RAVAN, FLEXLORA = "fslora", "freezing", "ravan", "flexlora"
SEARCHED_METHODS = (
    FLOSS, FFA, SPARSE_ADAPTER, FSLORA, FREEZING, "rolora", "lora-a2", "fedsrd", "ecolora",
    "fed-sb", RAVAN, FLEXLORA, "lora-fair", "fedsvd",
)  # fmt: skip
# Methods of one density, which both directions have, and their other options.
_ONE_DENSITY: Mapping[str, Mapping[str, str]] = {
    SPARSE_ADAPTER: {"scope": "tensor"},
    FSLORA: {},
    FREEZING: {},
}
PLAIN_VALUES = "fp32"
_HEADS = 4  # heads of Ravan
MAX_CANDIDATES = 2_000  # of a search; the default is 48
OPTIONAL_AXES = (
    "cohort_size", "epochs", "values", "method", "depth", "client_lr", "server_lr"
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Candidate:
    """One configuration: a rank, a download density and an upload density.

    Attributes:
        rank: LoRA rank, at least 1.
        down_density: Density of downloads, in (0, 1].
        up_density: Density of uploads, in (0, 1]. SparseAdapter, FSLoRA and freezing have
            one, so for them both densities are equal; FlexLoRA has none, so they are 1.
        cohort_size: Clients of a round; 0 means the task's value.
        epochs: Epochs of local training; 0 means the task's value.
        values: Value code of both directions.
        method: One of ``SEARCHED_METHODS``. Ravan has four heads, fewer where four do not divide
            the rank. SparseAdapter chooses its mask separately in each
            tensor; a mask over all tensors would keep almost no entry of B.
        depth: Layers with adapters, counted from the last; 0 means the task's value.
        client_lr: Learning rate of local SGD; 0 means the task's value.
        server_lr: Learning rate of the server's optimiser; 0 means the task's value.
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

    def __str__(self) -> str:
        """Return a text such as ``rank 16, down 1/4, up 1/16``; default axes are omitted."""
        down, up = format_density(self.down_density), format_density(self.up_density)
        told = f"rank {self.rank}, down {down}, up {up}"
        return f"{told}, {self.other_settings}" if self.other_settings else told

    @property
    def other_settings(self) -> str:
        """The optional axes that differ from their defaults, such as ``cohort 10, int8``."""
        words = [f"cohort {self.cohort_size}"] if self.cohort_size else []
        words += [f"{self.epochs} epoch{'s' * (self.epochs > 1)}"] if self.epochs else []
        words += [self.values] if self.values != PLAIN_VALUES else []
        words += [self.method] if self.method != FLOSS else []
        words += [f"depth {self.depth}"] if self.depth else []
        words += [f"client lr {self.client_lr:g}"] if self.client_lr else []
        words += [f"server lr {self.server_lr:g}"] if self.server_lr else []
        return ", ".join(words)

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
            ConfigError: The value code is unknown, or the method is not in ``SEARCHED_METHODS``.
        """
        if self.method not in SEARCHED_METHODS:
            raise ConfigError(
                f"cannot search method {self.method!r}; valid: {', '.join(SEARCHED_METHODS)}"
            )
        densities: dict[str, Any] = {
            "down_density": self.down_density, "up_density": self.up_density
        }  # fmt: skip
        if self.method == FLEXLORA:
            densities = {}
        elif self.method in _ONE_DENSITY:
            densities = {"density": self.down_density, **_ONE_DENSITY[self.method]}
        if self.method == RAVAN:
            densities["heads"] = math.gcd(_HEADS, self.rank)
        values = {"down_values": self.values, "up_values": self.values}
        return method_from_name(self.method, **densities, **values)

    @classmethod
    def of_settings(cls, values: Mapping[str, Any]) -> Candidate:
        """Return the candidate of JSON values; keys that are no axis are ignored."""
        axes = (axis.name for axis in fields(cls) if axis.name in values)
        return cls(**{axis: values[axis] for axis in axes})

    def settings(self) -> dict[str, Any]:
        """Return the candidate as JSON values; axes at their defaults are omitted."""
        own = {"rank", "down_density", "up_density"}
        return {k: v for k, v in vars(self).items() if k in own or v != getattr(DEFAULTS, k)}


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
) -> list[Candidate]:
    """Return candidates at every combination of the optional axes, in sorted order.

    SparseAdapter, FSLoRA and freezing have one density: they are combined only with pairs of equal
    densities below 1 (a density of 1 would be dense). FlexLoRA sends its ranks whole: it is
    combined only with densities of 1.

    Args:
        candidates: Candidates with their ranks and densities.
        cohorts: Cohort sizes; empty for the task's value.
        epochs: Epochs of local training; empty for the task's value.
        values: Value codes; empty for fp32.
        methods: Methods; empty for FLoSS.
        depths: Numbers of last layers with adapters; empty for the task's value.
        client_lrs: Learning rates of local SGD; empty for the task's value.
        server_lrs: Learning rates of the server's optimiser; empty for the task's value.

    Raises:
        ConfigError: A cohort size, epochs or depth is below 1, a learning rate is not above 0, a
            value code is unknown, or a method is not in ``SEARCHED_METHODS``, or there are more
            than ``MAX_CANDIDATES`` combinations.
    """
    for what, numbers in (("cohort", cohorts), ("epochs", epochs), ("depth", depths)):
        if any(number < 1 for number in numbers):
            raise ConfigError(f"{what} {min(numbers)} must be at least 1")
    for what, rates in (("client", client_lrs), ("server", server_lrs)):
        for rate in rates:
            check_rate(rate, f"{what} learning rate")
    for what, given, valid in (
        ("value code", values, tuple(VALUE_CODES)),
        ("method", methods, SEARCHED_METHODS),
    ):
        if strange := [name for name in given if name not in valid]:
            raise ConfigError(f"cannot search {what} {strange[0]!r}; valid: {', '.join(valid)}")
    axes: tuple[Sequence[Any], ...] = (
        cohorts or [0], epochs or [0], values or [PLAIN_VALUES], methods or [FLOSS], depths or [0],
        client_lrs or [0.0], server_lrs or [0.0],
    )  # fmt: skip
    _check_count([candidates, *map(set, axes)])
    every = (
        replace(candidate, **dict(zip(OPTIONAL_AXES, chosen, strict=True)))
        for candidate in candidates
        for chosen in product(*axes)
    )
    return sorted({c for c in every if _is_possible(c)})


def check_rate(rate: float, what: str) -> None:
    """Raise ConfigError unless a learning rate is a finite number above 0."""
    if not 0 < rate < math.inf:
        raise ConfigError(f"{what} {rate:g}; valid: a finite number above 0")


def _is_possible(candidate: Candidate) -> bool:
    """Return whether a candidate's method has its densities, and differs from others with them."""
    densities = candidate.down_density, candidate.up_density
    if candidate.method == FLEXLORA:
        return densities == (1, 1)
    return candidate.method not in _ONE_DENSITY or densities[0] == densities[1] < 1
