"""Fit of a device's speed to measured steps: seconds are a time a step, and operations over a rate.

The figures minimise the sum of squared relative errors, both not negative (non-negative least
squares). Each precision has its own rate; the time of a step is common.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ProfileError
from floss_sim.network.devices.speed import PRECISIONS, DeviceSpeed

MIN_STEPS = 3  # measured steps of a precision that a fit needs


@dataclass(frozen=True)
class Measurement:
    """A measured step: model in words, tokens, batch, precision, operations and seconds."""

    model: str
    tokens: int
    batch: int
    precision: str
    operations: float
    seconds: float


@dataclass(frozen=True)
class SpeedFit:
    """A fitted speed with the steps that it was fitted to.

    Attributes:
        speed: The speed.
        steps: The measured steps (S).
        errors: Relative error of each step's predicted seconds (S).
    """

    speed: DeviceSpeed
    steps: tuple[Measurement, ...]
    errors: tuple[float, ...]

    @property
    def largest_error(self) -> float:
        """Largest relative error, without its sign."""
        return max(map(abs, self.errors))

    @property
    def median_error(self) -> float:
        """Median relative error, without its sign."""
        return float(np.median(np.abs(self.errors)))


def fit_speed(name: str, steps: Sequence[Measurement]) -> SpeedFit:
    """Return the speed that fits measured steps.

    Args:
        name: Name of the device class.
        steps: The measured steps, at least ``MIN_STEPS`` of each precision.

    Raises:
        ProfileError: There are too few steps of a precision.

    Example:
        >>> from floss_sim.network.devices.fit import Measurement, fit_speed
        >>> exact = [Measurement("m", 8, 1, "fp32", n * 1e9, 0.5 + n) for n in (1, 2, 8)]
        >>> made = fit_speed("mine", exact).speed
        >>> round(made.step_s, 6), round(made.operations_per_s("fp32") / 1e9, 6)
        (0.5, 1.0)
    """
    names = [p for p in PRECISIONS if any(step.precision == p for step in steps)]
    for precision in names:
        number = sum(step.precision == precision for step in steps)
        if number < MIN_STEPS:
            raise ProfileError(f"{number} steps in {precision}; a fit needs {MIN_STEPS} or more")
    seconds_S = np.array([step.seconds for step in steps])
    operations_SP = np.array([[s.operations * (s.precision == p) for p in names] for s in steps])
    columns = np.column_stack([np.ones(len(steps)), operations_SP])
    step_s, *per_operation = _solve(columns / seconds_S[:, None])
    rates = tuple(zip(names, (1 / each for each in per_operation), strict=True))
    speed = DeviceSpeed(name, rates, step_s)
    errors_S = columns @ np.array([step_s, *per_operation]) / seconds_S - 1
    return SpeedFit(speed, tuple(steps), tuple(errors_S.tolist()))


def _solve(rows: NDArray[np.float64]) -> list[float]:
    """Return the solution of rows @ x = 1 by least squares; the time of a step is not negative."""
    scale = np.abs(rows).max(axis=0)
    found = np.linalg.lstsq(rows / scale, np.ones(len(rows)), rcond=None)[0] / scale
    if found[0] < 0:
        rest = np.linalg.lstsq(rows[:, 1:] / scale[1:], np.ones(len(rows)), rcond=None)[0]
        found = np.array([0.0, *(rest / scale[1:])])
    return [float(value) for value in found]


def device_text(fit: SpeedFit, *, source: str, date: str, measured: str) -> str:
    """Return the TOML text of the device class of a fit.

    Args:
        fit: The fit.
        source: Who measured.
        date: Date of the measurement.
        measured: How the steps were measured, in one line.
    """
    speed = fit.speed
    keys = {"name": speed.name, "source": source, "date": date, "measured": measured}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
    lines += [f'step = "{1e3 * speed.step_s:.6g} ms"', f"error = {fit.largest_error:.3f}"]
    lines += ["", "[rates]"]
    lines += [f'{precision} = "{rate / 1e9:.6g} GFLOP/s"' for precision, rate in speed.rates]
    for step in fit.steps:
        lines += [
            "", "[[steps]]", f"model = {json.dumps(step.model)}", f"tokens = {step.tokens}",
            f"batch = {step.batch}", f'precision = "{step.precision}"',
            f"operations = {step.operations:.6g}", f"seconds = {step.seconds:.6g}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"
