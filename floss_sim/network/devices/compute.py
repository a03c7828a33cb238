"""Compute of a client class: a device class, or a peak rate with an efficiency.

The law for a device that nobody has measured: training reaches a fraction of the rate of products
of large matrices, the same for all models and sizes, and a step takes no time besides its
operations. ``EFFICIENCY`` is the fraction by default: that of a core of a server processor, the
one device whose two rates are measured here (``epyc-1-core``). Products of a local step are
smaller, and norms, softmax and memory traffic take time, too. The peak of a data sheet is a higher
rate, and phones may reach much less of it: state ``efficiency``, or measure the device.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, model_validator

from floss_sim.documents import OperationRate, Section
from floss_sim.errors import ProfileError
from floss_sim.network.devices.device_class import load_device
from floss_sim.network.devices.speed import DeviceSpeed
from floss_sim.units import format_operation_rate

EFFICIENCY = 0.8  # training rate over the rate of products of large matrices
KEPT_DEVICES = "kept_devices"  # key of a validation context: speeds by name, no files


class ComputeSection(Section):
    """Compute of a client class; ``sigma`` is the spread of its clients' seconds (lognormal)."""

    device: str | None = None
    flops: OperationRate | None = None
    efficiency: Annotated[float, Field(gt=0, le=1)] | None = None
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.0
    _speed: DeviceSpeed = PrivateAttr()

    @model_validator(mode="after")
    def _check_one(self) -> ComputeSection:
        if (self.device is None) == (self.flops is None):
            raise ValueError('give a device = "NAME" or flops = "120 GFLOP/s", one of the two')
        if self.efficiency is not None and self.flops is None:
            raise ValueError("efficiency: not with a device, whose rates are measured")
        return self

    def model_post_init(self, context: Any, /) -> None:
        """Find the device class, packaged or relative to the profile's folder, or a kept one."""
        context = context or {}
        if self.device is None:
            if self.flops is not None:
                self._speed = _speed_of_peak(self.flops, self.efficiency or EFFICIENCY)
            return
        kept = context.get(KEPT_DEVICES, {}).get(self.device)
        try:
            if kept is not None:
                self._speed = _speed_of_settings(self.device, kept)
            else:
                folder = Path(context.get("folder", "."))
                self._speed = load_device(self.device, folder).speed
        except ProfileError as error:
            raise ValueError(str(error)) from None

    @property
    def speed(self) -> DeviceSpeed:
        """Speed of the median client."""
        return self._speed


def _speed_of_peak(flops: float, efficiency: float) -> DeviceSpeed:
    name = f"{format_operation_rate(flops)} at {100 * efficiency:g} %"
    return DeviceSpeed(name, (("fp32", efficiency * flops),))


def _speed_of_settings(name: str, settings: Any) -> DeviceSpeed:
    """Return the speed of settings that :meth:`DeviceSpeed.settings` returned.

    Raises:
        ProfileError: The settings are not those of a speed.
    """
    try:
        rates = tuple((str(key), float(rate)) for key, rate in settings["rates"].items())
        return DeviceSpeed(name, rates, float(settings["step_s"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProfileError(f"device {name!r} has no speed") from None
