"""Options of ``floss-plan`` that its commands share, and lists in options."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from floss_sim.errors import ConfigError, UnitError
from floss_sim.methods.search_axes import Number
from floss_sim.runs.config import stack_layers
from floss_sim.tasks import Task
from floss_sim.units import parse_bytes
from planner.forecasts.prior_file import PACKAGED, read_prior
from planner.forecasts.task_prior import GridPrior

_AXIS_FORM = "--axis {text!r}; valid: METHOD.AXIS=VALUES, each once, such as ravan.heads=2,4"
PACKAGED_PRIOR = "packaged"  # value of --prior

StoreOption = Annotated[
    Path | None, typer.Option(help="Curve store; default: $FLOSS_SIM_STORE or the user cache.")
]


def items(text: str) -> list[str]:
    """Return the parts of a text that commas separate."""
    return [item.strip() for item in text.split(",") if item.strip()]


def integers(text: str, what: str) -> list[int]:
    """Return whole numbers that commas separate.

    Raises:
        ConfigError: One of them is none.
    """
    try:
        return [int(item) for item in items(text)]
    except ValueError:
        raise ConfigError(f"{what} {text!r} are not integers separated by commas") from None


def depths(text: str, task: Task) -> list[int]:
    """Return numbers of last layers that commas separate; ``all`` is every layer of the task.

    Raises:
        ConfigError: One of them is no number of layers.
        LayoutError: The task's targets lie in no stack of layers, or in several.
    """
    named = items(text)
    layers = [str(stack_layers(task))] if "all" in named else []
    numbers = [layers[0] if item == "all" else item for item in named]
    try:
        if text and not numbers:
            raise ValueError
        return [int(item) for item in numbers]
    except ValueError:
        raise ConfigError(
            f"depths {text!r}; valid: numbers of layers separated by commas, or all: all,6,3"
        ) from None


def rates(text: str, what: str) -> list[float]:
    """Return learning rates that commas separate.

    Raises:
        ConfigError: One of them is no number.
    """
    named = items(text)
    try:
        if text and not named:
            raise ValueError
        return [float(item) for item in named]
    except ValueError:
        raise ConfigError(
            f"{what} {text!r}; valid: numbers above 0 separated by commas: 0.02,0.05"
        ) from None


def own_axes(texts: Sequence[str]) -> dict[str, dict[str, list[Number]]]:
    """Return the values of single methods, by method and axis.

    Args:
        texts: Texts such as ``ravan.heads=2,4`` or ``fed-sb.rank=16,64``.

    Raises:
        ConfigError: A text is not in this form, or names an axis twice.
    """
    made: dict[str, dict[str, list[Number]]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        method, _, axis = name.strip().partition(".")
        numbers = [_number(item, text) for item in items(values)]
        if not (method and axis and numbers) or axis in made.get(method, {}):
            raise ConfigError(_AXIS_FORM.format(text=text[:60]))
        made.setdefault(method, {})[axis] = numbers
    return made


def _number(item: str, text: str) -> Number:
    try:
        if item.lstrip("-").isdecimal() and len(item) < 10:
            return int(item)
        return float(Fraction(item)) if "/" in item else float(item)
    except (ValueError, ZeroDivisionError):
        raise ConfigError(_AXIS_FORM.format(text=text[:60])) from None


def parse_prior(text: str) -> GridPrior | None:
    """Return the prior of ``--prior``: the packaged one, that of a file, or None for ``none``.

    Raises:
        ConfigError: The file cannot be read, is of another version, or is no valid prior.
    """
    if text == "none":
        return None
    return read_prior(PACKAGED if text == PACKAGED_PRIOR else Path(text).expanduser())


def parse_client_bytes(text: str) -> int:
    """Return the bytes of ``--max-client-bytes``.

    Raises:
        ConfigError: They cannot be read.
    """
    try:
        return parse_bytes(text)
    except UnitError as error:
        raise ConfigError(f"--max-client-bytes: {error}") from None


def completed_budget(budget: str, battery: str | None, rounds_per_day: float | None) -> str:
    """Return the text of a budget, completed by a battery's size or the rounds of a day if given.

    Raises:
        ConfigError: The budget is of another kind, or complete already.
    """
    if battery is not None and not budget.endswith("battery"):
        raise ConfigError(f"--battery belongs to a budget such as 5%battery, not to {budget!r}")
    if rounds_per_day is not None and not budget.endswith("/month"):
        raise ConfigError(
            f"--rounds-per-day belongs to a budget such as 2GB/month, not to {budget!r}"
        )
    if battery is not None:
        return f"{budget}@{battery}"
    return budget if rounds_per_day is None else f"{budget}@{rounds_per_day:g}/day"
