"""Device classes: TOML files with the measured speed of a device and the source of the figures.

::

    name = "office-laptop"
    source = "floss-sim device measure"
    date = "2026-03-01"
    measured = "how the steps were measured, in one line"
    step = "1.2 ms"                  # time of a step besides its operations
    error = 0.12                     # largest relative error on the measured steps

    [rates]                          # operations in a second while training, by precision
    fp32 = "95 GFLOP/s"

    [[steps]]                        # the measured steps
    model = "gemma-3-270m"
    tokens = 128
    batch = 1
    operations = 1.2e11
    seconds = 1.5

Packaged classes have public measurements, or those that ``floss-sim device measure`` has written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from floss_sim import documents
from floss_sim.documents import Duration, OneFullLine, OperationRate, Section
from floss_sim.errors import ProfileError
from floss_sim.network.devices.speed import PRECISIONS, DeviceSpeed

_PACKAGE = "floss_sim.network.devices"
_MOST_STEPS = 1_000


class MeasuredStep(Section):
    """A measured local step.

    ``operations`` are those of the step (:mod:`floss_sim.families.operations`), ``seconds`` its
    duration.
    """

    model: OneFullLine
    precision: Literal["int4", "int8", "bf16", "fp32"] = "fp32"
    tokens: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    operations: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Rates(Section):
    """Operations in a second while training, by precision of the products."""

    int4: OperationRate | None = None
    int8: OperationRate | None = None
    bf16: OperationRate | None = None
    fp32: OperationRate | None = None

    @model_validator(mode="after")
    def _check_any(self) -> Rates:
        if not any(getattr(self, name) for name in PRECISIONS):
            raise ValueError(f"give the rate of at least one of {', '.join(PRECISIONS)}")
        return self


class DeviceClass(Section):
    """A device with its measured speed."""

    name: OneFullLine
    source: OneFullLine
    date: OneFullLine
    measured: OneFullLine
    step: Duration = 0.0
    error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    rates: Rates
    steps: Annotated[tuple[MeasuredStep, ...], Field(max_length=_MOST_STEPS)] = ()

    @property
    def speed(self) -> DeviceSpeed:
        """Its speed."""
        stated = ((name, getattr(self.rates, name)) for name in PRECISIONS)
        rates = tuple((name, float(rate)) for name, rate in stated if rate is not None)
        return DeviceSpeed(self.name, rates, self.step)

    def to_json(self) -> dict[str, Any]:
        """Return the class as plain values: seconds and operations in a second."""
        made = self.model_dump(mode="json", exclude={"step", "rates"})
        return {**made, "step_s": self.step, "operations_per_s": dict(self.speed.rates)}


def packaged_devices() -> tuple[str, ...]:
    """Return the names of the packaged device classes."""
    return documents.packaged_names(_PACKAGE)


def load_device(name_or_path: str, folder: Path = Path()) -> DeviceClass:
    """Return a packaged device class by name, or that of a TOML file by path.

    Args:
        name_or_path: Name of a packaged class, or a path that ends in ``.toml``.
        folder: Folder to which a relative path refers.

    Raises:
        ProfileError: Unknown name, unreadable file, or a key that is missing, unknown or invalid.

    Example:
        >>> from floss_sim.network.devices.device_class import load_device
        >>> load_device("snapdragon-778g").date
        '2026'
    """
    path = documents.find(name_or_path, _PACKAGE, "device class", ProfileError)
    return documents.read(folder / path, DeviceClass, ProfileError)
