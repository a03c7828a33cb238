"""Local work: the operations of a client's local training, whatever the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from floss_sim.families.operations import Operations

Number = TypeVar("Number", int, NDArray[np.int64])  # of one participation, or of an array of them


@dataclass(frozen=True)
class LocalWork:
    """Operations of local training on examples.

    Attributes:
        operations: Operations of an example and of a step.
        batch: Examples of a step; the last one of an epoch may have fewer.
        epochs: Times that a client trains each of its examples in a round.
        precision: Precision of the products, a key of
            :data:`floss_sim.network.devices.speed.PRECISIONS`.
        fixed_steps: Steps of a client in a round, whatever its examples; 0: once through the
            examples in each epoch.
    """

    operations: Operations
    batch: int
    epochs: int = 1
    precision: str = "fp32"
    fixed_steps: int = 0

    def steps(self, examples: Number) -> Number:
        """Return the local steps on ``examples`` examples, over all epochs."""
        if self.fixed_steps:
            return examples * 0 + self.fixed_steps
        return self.epochs * -(-examples // (self.epochs * self.batch))

    def of_examples(self, examples: Number) -> Any:
        """Return the operations on ``examples`` examples, over all epochs."""
        if self.fixed_steps:
            return examples * 0 + self.fixed_steps * self.operations.of_step(self.batch)
        per_step = self.operations.per_step
        return examples * self.operations.of_example + self.steps(examples) * per_step

    def to_json(self) -> dict[str, Any]:
        """Return the work as plain values."""
        fixed = {"fixed_steps": self.fixed_steps} if self.fixed_steps else {}
        return {k: v for k, v in asdict(self).items() if k != "fixed_steps"} | fixed

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LocalWork:
        """Return the work of plain values, as :meth:`to_json` returns them.

        Raises:
            KeyError: A key is missing.
            TypeError: A value has another type than :meth:`to_json` writes.
            ValueError: A value is no number where one is written.
        """
        forward, backward, per_step = (
            float(content["operations"][name]) for name in ("forward", "backward", "per_step")
        )
        return cls(
            Operations(forward, backward, per_step),
            int(content["batch"]),
            int(content["epochs"]),
            str(content["precision"]),
            int(content.get("fixed_steps", 0)),
        )


def forward_work(operations: Operations, steps: int, batch: int, precision: str) -> LocalWork:
    """Return the work of zeroth-order steps: two forward passes of a batch each.

    Args:
        operations: Operations of an example; those of its forward pass count.
        steps: Local steps of a client.
        batch: Examples of a step.
        precision: Precision of the products.
    """
    both = Operations(2 * operations.forward, 0)
    return LocalWork(both, batch, precision=precision, fixed_steps=steps)
