"""Training jobs: the local training of some clients of one run, for which the run stands still.

Shapes: C clients, N entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from floss_sim.training.bank.batched_sgd import Party, train_together
from floss_sim.training.bank.model import Bank

# Parts of the messages of torch, cuBLAS and cuDNN for lack of memory outside torch's allocator.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """Local training of some clients of one run, computed alone or in a pass with other jobs.

    Args:
        party: The run's clients, their data and their SGD settings.
        round: Round of the run that the clients train for.
        chunk: Largest number of clients in a pass that includes this job.
        deliver: Takes the clients' values after training, float32 of shape (C, N), on the device.
        shrink: Called instead if the clients do not fit in memory together; the run then asks for a
            smaller job. It raises ConfigError if there is none.
        on_step: Called after each local step of a pass of this job alone, with the number of
            clients that took it.
    """

    party: Party
    round: int
    chunk: int
    deliver: Callable[[torch.Tensor], None]
    shrink: Callable[[], None]
    on_step: Callable[[int], object] = lambda clients: None

    @property
    def bank(self) -> Bank:
        """The bank of the run's model."""
        return self.party.model.bank

    @property
    def clients(self) -> int:
        """The number of clients that train."""
        return len(self.party.works)

    def compute(self) -> None:
        """Train the clients in a pass of their own, and deliver the result.

        Raises:
            TaskError: The backbone cannot read the inputs.
            ConfigError: One client alone does not fit in memory.
        """
        self.settle(self.result())

    def result(self) -> torch.Tensor | Exception:
        """Return the clients' values after training in a pass of their own, or the error."""
        try:
            return train_together([self.party], self.on_step)[0]
        except Exception as error:
            # the traceback of such an error would keep the memory of the pass
            return error.with_traceback(None) if is_out_of_memory(error) else error

    def settle(self, result: torch.Tensor | Exception) -> None:
        """Deliver a result, shrink the job if it lacked memory, or raise the error."""
        if isinstance(result, torch.Tensor):
            self.deliver(result)
        elif is_out_of_memory(result):
            self.shrink()
        else:
            raise result


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error reports lack of memory on the CPU, the device or in a library."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _OUT_OF_MEMORY)
