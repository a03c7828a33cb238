"""Speed of a device: seconds of local steps from their operations.

The law has two figures: a step takes a fixed time, and its operations take their number over a
rate. The rate is that of training, not the peak of a data sheet. Where a device class states
several precisions, each has its own rate; another precision has the rate of the next wider one
that is stated, else of the next narrower one. So weights of 8 and 4 bits, which are unpacked to 16
bits before they are multiplied (QLoRA: Dettmers et al., 2023), have the rate of 16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from floss_sim.network.devices.local_work import LocalWork

PRECISIONS = ("int4", "int8", "bf16", "fp32")  # narrowest first


@dataclass(frozen=True)
class DeviceSpeed:
    """Speed of local training on a device.

    Attributes:
        name: Name of the device class, or its rate in words.
        rates: Precision and operations in a second, narrowest precision first.
        step_s: Seconds of a step besides those of its operations.
        slowness: Factor of all seconds, such as that of one client of a class with a spread.
    """

    name: str = field(compare=False)
    rates: tuple[tuple[str, float], ...]
    step_s: float = 0.0
    slowness: float = 1.0

    @property
    def text(self) -> str:
        """Its name, with the slowness of a client that differs from its class."""
        if self.slowness == 1.0:
            return self.name
        return f"{self.name} ({self.slowness:.2g} times its seconds)"

    def operations_per_s(self, precision: str) -> float:
        """Return the operations in a second at a precision, without ``slowness``."""
        stated = dict(self.rates)
        at = PRECISIONS.index(precision)
        order = (*PRECISIONS[at:], *reversed(PRECISIONS[:at]))
        return next(stated[name] for name in order if name in stated)

    def seconds(self, steps: Any, operations: Any, precision: str) -> Any:
        """Return the seconds of steps and of their operations; numbers, or arrays of one shape."""
        rate = self.operations_per_s(precision)
        return self.slowness * (steps * self.step_s + operations / rate)

    def work_s(self, work: LocalWork, examples: int) -> float:
        """Return the seconds of local training on ``examples`` examples."""
        operations = work.of_examples(examples)
        return float(self.seconds(work.steps(examples), operations, work.precision))

    def settings(self) -> dict[str, Any]:
        """Return what affects simulated time, as plain values."""
        return {"rates": dict(self.rates), "step_s": self.step_s, "slowness": self.slowness}
