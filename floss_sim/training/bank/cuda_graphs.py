"""Steps of a shape that comes back are recorded once and replayed: CUDA graphs.

On a GPU a step of small models is thousands of tiny kernels, and launching each takes the host
longer than the device computes. A graph launches them all at once, with the same parameters and at
the same addresses, so that a replay reads and changes tensors of its own: a step's are copied in,
and what it changed is copied out. Recorded are shapes that were met before, of passes so
small that launches are what takes the time; few are kept, and all share one pool of memory, since
nothing in it outlives a replay.

**A record does not depend on what is replayed**, and so graphs are in no fingerprint. A replay runs
the kernels that the step would launch. Nor is this trusted: the first replay of every recording is
computed anew, too, and on a single bit's difference, as on any error of recording, all goes on as
without graphs, and that is said. Steps whose kernels add up in no fixed order have no bits to
agree on; they are found out in the same way. A step's own tensors change only when a
proved replay is copied out, or when it is computed anew, so that no step is lost.

Where dropout draws, steps are not recorded: its generators are seeded on the host, client by
client. Nor where activations are recomputed, which saves memory by more launches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

import torch

_MEETINGS_TO_RECORD = (
    3  # a shape is recorded when it is met once more; recording costs about as many steps
)
_MAX_SHAPES = 1024  # shapes that were met and are not recorded
_MAX_RECORDINGS = 16  # recordings
Replay = Callable[[], None]
_Value = TypeVar("_Value")


class Replayable(Protocol):
    """What can be recorded: :class:`floss_sim.training.bank.step.Step`."""

    @property
    def examples(self) -> int:
        """How many there are."""

    @property
    def shape(self) -> Hashable:
        """What computing it depends on besides the values in its tensors."""

    @property
    def tensors(self) -> Sequence[torch.Tensor]:
        """What it reads, but for what never changes."""

    @property
    def state(self) -> Sequence[torch.Tensor]:
        """What it changes: some of these tensors, float32."""

    def with_tensors(self, tensors: Sequence[torch.Tensor]) -> Replayable:
        """Return the same over other tensors."""

    def run(self) -> None:
        """Compute it."""


class Recorder(Protocol):
    """What can record and replay what a device does."""

    def record(self, play: Replay) -> Replay:
        """Return what does again, to the same tensors, what a call does; their values are lost."""


class CudaRecorder:
    """Records CUDA graphs, on a stream of its own, in one pool of memory."""

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        return torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @cached_property
    def _pool(self) -> Any:
        return torch.cuda.graph_pool_handle()

    def record(self, play: Replay) -> Replay:
        """Return a graph's replay; other threads may use the device meanwhile."""
        graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):  # torch's own context does not leave it on errors
            play()  # libraries allocate what they need for a stream, which no graph should own
            with torch.cuda.graph(graph, self._pool, self._stream, "thread_local"):
                play()
        torch.cuda.current_stream().wait_stream(self._stream)
        return graph.replay


class Graphs:
    """Takes steps, those of familiar shapes by replay.

    Attributes:
        steps: How many were taken.
        replayed: How many of them by replay.

    Args:
        recorder: Records them.
        most: Of more examples a step is never recorded.
    """

    def __init__(self, recorder: Recorder, most: int) -> None:
        self.steps = self.replayed = 0
        self._recorder = recorder
        self._most = most
        self._met: dict[Hashable, int] = {}
        self._recordings: dict[Hashable, _Recording] = {}  # the last one was played last

    def run(self, step: Replayable) -> None:
        """Take a step."""
        self.steps += 1
        recording = self._play_recording(step) if step.examples <= self._most else None
        if recording and recording.proved:
            recording.give(step)
            self.replayed += 1
            return
        if not self._try_step(step):
            recording = None
            self._stop("they leave too little memory")
            step.run()
        if recording and not recording.prove(step):
            self._stop("a replayed step differs from the same step computed anew")

    def _play_recording(self, step: Replayable) -> _Recording | None:
        """Return a recording that has just played a step, if it is one of a familiar shape."""
        shape = step.shape
        try:
            recording = self._recordings.pop(shape, None) or self._new_recording(shape, step)
            if recording:
                recording.play(step)
                _keep(self._recordings, shape, recording, _MAX_RECORDINGS)
        except Exception as error:  # of any kind: the step's own tensors are as they were
            self._stop(_cause(error))
            return None
        return recording

    def _new_recording(self, shape: Hashable, step: Replayable) -> _Recording | None:
        met = self._met.pop(shape, 0)
        if met == _MEETINGS_TO_RECORD:
            return _Recording(step, self._recorder)
        _keep(self._met, shape, met + 1, _MAX_SHAPES)
        return None

    def _try_step(self, step: Replayable) -> bool:
        """Compute a step; return whether there was memory for it beside the recordings."""
        try:
            step.run()
        except torch.OutOfMemoryError:
            if not self._recordings:
                raise
            return False
        return True

    def _stop(self, why: str) -> None:
        """Let go of all recordings, and make no more."""
        self._most = -1
        self._recordings.clear()
        self._met.clear()
        warnings.warn(
            f"steps of training are not replayed as CUDA graphs from here on: {why}",
            RuntimeWarning,
            stacklevel=3,
        )


class _Recording:
    """A step over tensors of its own, and what computes it again."""

    def __init__(self, step: Replayable, recorder: Recorder) -> None:
        own = step.with_tensors([tensor.clone() for tensor in step.tensors])
        self._tensors, self._state = own.tensors, own.state
        self._replay = recorder.record(own.run)
        self.proved = False

    def play(self, step: Replayable) -> None:
        """Compute a step of the same shape; its own tensors stay as they are."""
        _copy(step.tensors, self._tensors)
        self._replay()

    def give(self, step: Replayable) -> None:
        """Let a step that was played have what came out."""
        _copy(self._state, step.state)

    def prove(self, step: Replayable) -> bool:
        """Return whether all bits are those of the step that was played and computed since."""
        pairs = zip(self._state, step.state, strict=True)
        self.proved = all(torch.equal(a.view(torch.int32), b.view(torch.int32)) for a, b in pairs)
        return self.proved


def _cause(error: BaseException) -> str:
    """Return what was raised first: to end a recording that has failed is an error of its own."""
    while error.__context__:
        error = error.__context__
    return (str(error) or type(error).__name__).splitlines()[0]


def _copy(sources: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> None:
    """Copy tensors into others, in as few launches as there are dtypes, about."""
    pairs: dict[torch.dtype, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    for source, target in zip(sources, targets, strict=True):
        ours, theirs = pairs.setdefault(source.dtype, ([], []))
        ours.append(source)
        theirs.append(target)
    for ours, theirs in pairs.values():
        torch._foreach_copy_(theirs, ours)


def _keep(kept: dict[Hashable, _Value], key: Hashable, value: _Value, most: int) -> None:
    """Add what is newest, and drop what is oldest beyond so many."""
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
