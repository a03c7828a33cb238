"""The learner that trains all clients at work in one batched pass.

When the first of the dispatches that are under way is asked for, its neighbours are computed with
it: ``train`` is a pure function of each of them. What was computed is kept until the dispatch is
over, and is part of the checkpoint, so that an interrupted run meets the same passes again: who
shares a pass shifts the last bits of a result.

A GPU hands over only what is sent (``bank/updates.py``), and goes on while the host encodes
(``prefetch.py``). Neither changes a bit of a record, so that both are part of no fingerprint.
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

# What torch, cuBLAS and cuDNN say where it is not torch's allocator that finds no memory.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
_UPDATE = "update/"  # of a snapshot's tensors: what a dispatch under way has led to
Updates = dict[int, Update]  # by sequence


class BankLearner(TorchLearner):
    """Trains the clients that are under way together, so many in a pass.

    Args:
        config: The run.
        model: Of its layout.
        chunk: How many clients a pass has at most; halved where they do not fit in memory.
        grid: Where its clients train beside those of other runs, if anywhere.
        ranks: Whether the device ranks updates; by default on CUDA.
        ahead: Whether passes are begun ahead; likewise. A grid has a thread for each run, and none
            of these.
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
        self._under_way: dict[int, Dispatch] = {}  # by sequence: not computed yet
        self._updates: Updates = {}  # computed, not over yet
        self._to_encode: dict[int, Dispatch] = {}  # of these, what nobody has asked for yet
        self._encoded_early: dict[int, Upload] = {}  # and what needs only to be asked for

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return the newest version, encoded; remember that it is under way."""
        sent = super().dispatch(client, sequence)
        self.forget(sent)
        self._under_way[sequence] = sent
        return sent

    def forget(self, dispatch: Dispatch) -> None:
        """Drop what was kept of a dispatch that is over."""
        for kept in (self._under_way, self._updates, self._to_encode, self._encoded_early):
            kept.pop(dispatch.sequence, None)

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        """Take a server step; what arrived is over."""
        for arrival in arrivals:
            self.forget(arrival.dispatch)
        return super().aggregate(arrivals)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Train what is under way as far as it must be; return one client's encoded update.

        Raises:
            NonFiniteUpdateError: The update holds NaN or infinity.
        """
        self._to_encode.pop(dispatch.sequence, None)
        early = self._encoded_early.pop(dispatch.sequence, None)
        return early or super().train(dispatch, client_state)

    def evaluate(self, version: int) -> Metrics:
        """Return validation metrics as every learner; the bank is evaluated between passes.

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
        """Compute the pass of a dispatch, and begin the next one."""
        order = self._order()
        first = order.index(asked) // self._chunk * self._chunk
        chunk = [self._under_way[n] for n in order[first : first + self._chunk]]
        updates = self._ahead.take(chunk, self._encode_one) if self._ahead else None
        self._updates |= self._train_works(self._works(chunk)) if updates is None else updates
        for sent in chunk:
            del self._under_way[sent.sequence]
        if self._ahead:
            if not self.method.error_feedback:  # else an upload depends on what its client kept
                self._to_encode |= {sent.sequence: sent for sent in chunk if sent.sequence != asked}
            self._begin_next(self._ahead)

    def _order(self) -> list[int]:
        """Return what is under way, the most work first: passes are chunks of that."""
        clients, under_way = self.config.clients, self._under_way
        return sorted(under_way, key=lambda n: (-len(clients[under_way[n].client]), n))

    def _begin_next(self, ahead: Prefetch[Updates]) -> None:
        """Begin what is likely to be asked for next, if it is more than one pass has room for."""
        chunk = [self._under_way[n] for n in self._order()[: self._chunk]]
        if chunk:
            size = self._chunk
            ahead.begin(chunk, lambda: partial(self._passes.updates, self._works(chunk), size))

    def _encode_one(self) -> bool:
        """Encode an upload that is likely to be asked for; return whether there was one."""
        if not self._to_encode:
            return False
        sent = self._to_encode.pop(next(iter(self._to_encode)))
        with suppress(NonFiniteUpdateError):  # it is raised where it is asked for
            self._encoded_early[sent.sequence] = super().train(sent, NO_STATE)
        return True

    def _works(self, chunk: Sequence[Dispatch]) -> dict[int, Work]:
        """Return what a chunk trains, those with most batches first."""
        works = dict[int, Work]()
        for sent in sorted(chunk, key=lambda sent: id(sent.blob)):  # each message is decoded once
            ranked = self._exchange.ranking_selector(self._tier(sent.client))
            works[sent.sequence] = replace(self._work(sent), ranked=ranked)
        order = sorted((sent.sequence for sent in chunk), key=lambda n: -len(works[n].batches))
        return {n: works[n] for n in order}

    def _train_works(self, works: Mapping[int, Work]) -> Updates:
        """Return the clients' updates, in smaller passes where memory ends."""
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
            f"{clients} clients at once do not fit in memory; going on with {self._chunk}",
            RuntimeWarning,
            stacklevel=2,
        )

    def snapshot(self) -> Snapshot:
        """Return the state after the newest version, with what is computed and not over."""
        taken = super().snapshot()
        updates = {f"{_UPDATE}{n}": update.values for n, update in self._updates.items()}
        return replace(taken, tensors={**taken.tensors, **updates})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot, and from the dispatches that were under way."""
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
    """Return whether a device or one of its libraries, or torch on the CPU, has no memory left."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(said in str(error) for said in _OUT_OF_MEMORY)
