"""Batched learner: trains several clients of a run in one forward/backward pass.

When the upload of one dispatch is requested, other dispatches in flight are trained in the same
pass: ``train`` is a pure function of each dispatch. Updates are kept until their dispatch is
finished. Checkpoints contain them, so that a resumed run repeats the same passes: the clients that
share a pass influence each other's last bits.

A GPU returns only the entries that are sent (``bank/updates.py``), and computes the next pass while
the host encodes (``prefetch.py``). Neither changes a bit of a record, so neither is part of a
fingerprint.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice

import torch

from floss_sim.errors import ConfigError, NonFiniteUpdateError
from floss_sim.protocol import NO_STATE, Arrival, ClientState, Dispatch, Metrics, Snapshot, Upload
from floss_sim.runs.config import RunConfig
from floss_sim.training.bank.model import BankModel
from floss_sim.training.bank.updates import Update
from floss_sim.training.learner_choice import bank_kind
from floss_sim.training.learners.passes import Passes
from floss_sim.training.learners.prefetch import Prefetch
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.local_sgd import Work
from floss_sim.training.side_by_side.measuring import EvaluationInput
from floss_sim.training.side_by_side.scheduler import PassScheduler
from floss_sim.vectors.top_k import Mask, Vector

# Parts of the messages of torch, cuBLAS and cuDNN for lack of memory outside torch's allocator.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
_UPDATE = "update/"  # prefix of tensors in a snapshot: updates of unfinished dispatches
Updates = dict[int, Update]  # by sequence


class BankLearner(TorchLearner):
    """Learner that trains clients in flight in batched passes.

    Args:
        config: The run.
        model: Model with the run's layout.
        chunk: Largest number of clients in a pass; halved when a pass does not fit in memory.
        grid: Scheduler that batches this run with others; None: the run trains alone.
        ranks: Whether the device selects the top-k of updates; by default on CUDA only.
        ahead: Whether passes are prefetched; by default on CUDA only. Never with a grid, which has
            a thread for each run.
    """

    def __init__(
        self,
        config: RunConfig,
        model: BankModel,
        chunk: int,
        grid: PassScheduler | None = None,
        *,
        ranks: bool | None = None,
        ahead: bool | None = None,
    ) -> None:
        super().__init__(config, model, bank_kind(chunk))
        cuda = model.device.type == "cuda"
        ranks = cuda if ranks is None else ranks
        ahead = grid is None and (cuda if ahead is None else ahead)
        self._model = model
        self._passes = Passes(model, *self._split, config.client, ranks, grid)
        self._ahead: Prefetch[Updates] | None = Prefetch() if ahead else None
        self._chunk = chunk
        self._under_way: dict[int, Dispatch] = {}  # by sequence: in flight, not trained yet
        self._updates: Updates = {}  # of dispatches that are trained, not finished
        self._to_encode: dict[int, Dispatch] = {}  # trained, upload not requested yet
        self._encoded_early: dict[int, Upload] = {}  # encoded, upload not requested yet

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version, encoded; note that the dispatch is in flight."""
        sent = super().dispatch(client, sequence)
        self.forget(sent)
        self._under_way[sequence] = sent
        return sent

    def forget(self, dispatch: Dispatch) -> None:
        """Drop all results of a finished dispatch."""
        for kept in (self._under_way, self._updates, self._to_encode, self._encoded_early):
            kept.pop(dispatch.sequence, None)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take a server step and return the new version; the arrived dispatches are finished."""
        for arrival in arrivals:
            self.forget(arrival.dispatch)
        return super().aggregate(arrivals)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return one client's encoded update; run the pass that contains the client if necessary.

        Raises:
            NonFiniteUpdateError: The update holds NaN or infinity.
        """
        self._to_encode.pop(dispatch.sequence, None)
        early = self._encoded_early.pop(dispatch.sequence, None)
        return early or super().train(dispatch, client_state)

    def evaluate(self, version: int) -> Metrics:
        """Return validation metrics of a version; waits until no pass uses the bank.

        Raises:
            NonFiniteUpdateError: The loss is not finite.
        """
        if self._ahead:
            self._ahead.wait_until_idle(self._encode_one)
        return super().evaluate(version)

    def _update(self, dispatch: Dispatch) -> Vector:
        if dispatch.sequence not in self._updates:
            self._under_way[dispatch.sequence] = dispatch
            self._compute(dispatch.sequence)
        return self._updates[dispatch.sequence].values

    def _upload_mask(self, dispatch: Dispatch) -> Mask | None:
        return self._updates[dispatch.sequence].chosen

    def _compute(self, asked: int) -> None:
        """Compute the pass that contains a dispatch, then prefetch the next pass."""
        order = self._order()
        first = order.index(asked) // self._chunk * self._chunk
        chunk = [self._under_way[n] for n in order[first : first + self._chunk]]
        updates = self._ahead.take(chunk, self._encode_one) if self._ahead else None
        self._updates |= self._train_works(self._works(chunk)) if updates is None else updates
        for sent in chunk:
            del self._under_way[sent.sequence]
        if self._ahead:
            if not self.method.error_feedback:  # else an upload depends on its client's state
                self._to_encode |= {sent.sequence: sent for sent in chunk if sent.sequence != asked}
            self._begin_next(self._ahead)

    def _order(self) -> list[int]:
        """Return the untrained dispatches' sequences, most examples first; passes are chunks."""
        clients, under_way = self.config.clients, self._under_way
        return sorted(under_way, key=lambda n: (-len(clients[under_way[n].client]), n))

    def _begin_next(self, ahead: Prefetch[Updates]) -> None:
        """Prefetch the first pass of the dispatches that are not trained yet, if there are any."""
        chunk = [self._under_way[n] for n in self._order()[: self._chunk]]
        if chunk:
            size = self._chunk
            ahead.begin(chunk, lambda: partial(self._passes.updates, self._works(chunk), size))

    def _encode_one(self) -> bool:
        """Encode one upload before its request; return whether there was one to encode."""
        if not self._to_encode:
            return False
        sent = self._to_encode.pop(next(iter(self._to_encode)))
        with suppress(NonFiniteUpdateError):  # raised again when the upload is requested
            self._encoded_early[sent.sequence] = super().train(sent, NO_STATE)
        return True

    def _works(self, chunk: Sequence[Dispatch]) -> dict[int, Work]:
        """Return the works of a chunk by sequence, those with most batches first."""
        works = dict[int, Work]()
        for sent in sorted(chunk, key=lambda sent: id(sent.blob)):  # decodes each message once
            ranked = self._exchange.ranking_selector(self._tier(sent.client))
            works[sent.sequence] = replace(self._work(sent), ranked=ranked)
        order = sorted((sent.sequence for sent in chunk), key=lambda n: -len(works[n].batches))
        return {n: works[n] for n in order}

    def _train_works(self, works: Mapping[int, Work]) -> Updates:
        """Return the clients' updates; if memory runs out, halve the passes and start again."""
        try:
            return dict(
                update for part in self._parts(works) for update in self._run_pass(part).items()
            )
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
        self._halve(len(works))
        return self._train_works(works)

    def _parts(self, works: Mapping[int, Work]) -> Iterator[dict[int, Work]]:
        rest = iter(works.items())
        while part := dict(islice(rest, self._chunk)):
            yield part

    def _run_pass(self, works: Mapping[int, Work]) -> Updates:
        task = partial(self._passes.updates, works, self._chunk)
        return self._ahead.run(task, self._encode_one) if self._ahead else task()

    def _measure(self, vector_N: Vector) -> tuple[float, float]:
        grid = self._passes.grid
        if grid is None:
            return super()._measure(vector_N)
        question = EvaluationInput(self._model, vector_N, *self._validation)
        return grid.measure(question, self.config.client.batch_size, self._chunk)

    def _halve(self, clients: int) -> None:
        size = self.config.client.batch_size
        if min(self._chunk, clients) == 1:
            raise ConfigError(
                f"a batch of {size} examples does not fit in the memory of "
                f"{self._model.device.type!r}; lower client.batch_size, or set "
                "client.gradient_checkpointing = true"
            )
        self._chunk = min(self._chunk, clients) // 2
        warnings.warn(
            f"a pass of {clients} clients does not fit in memory; continuing with {self._chunk}",
            RuntimeWarning,
            stacklevel=2,
        )

    def snapshot(self) -> Snapshot:
        """Return the state after the newest version, with the updates of unfinished dispatches."""
        taken = super().snapshot()
        updates = {f"{_UPDATE}{n}": update.values for n, update in self._updates.items()}
        return replace(taken, tensors={**taken.tensors, **updates})

    def restore(self, snapshot: Snapshot) -> None:
        """Restore a snapshot's state, updates and dispatches in flight."""
        super().restore(snapshot)
        self._to_encode, self._encoded_early = {}, {}
        self._updates = {
            int(name.removeprefix(_UPDATE)): Update(tensor.copy())
            for name, tensor in snapshot.tensors.items()
            if name.startswith(_UPDATE)
        }
        self._under_way = {
            sent.sequence: sent for sent in snapshot.in_flight if sent.sequence not in self._updates
        }


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether an error reports lack of memory on the CPU, the device or in a library."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(said in str(error) for said in _OUT_OF_MEMORY)
