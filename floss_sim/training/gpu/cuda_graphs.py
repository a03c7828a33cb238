"""CUDA graphs: training steps of a repeated shape are recorded once and then replayed.

On a GPU a step of a small model launches thousands of tiny kernels, and the launches take longer
than the computation. A CUDA graph launches all of them at once, with fixed parameters and memory
addresses. A recording therefore has tensors of its own: a step's tensors are copied in before the
replay, and the changed ones are copied out after it. Only shapes that occurred before are recorded,
and only of passes so small that launches dominate. Few recordings are kept. They share one memory
pool, since no tensor in it is needed after its replay.

**Replaying does not change a record**, so no fingerprint includes graphs. A replay runs the same
kernels as the step. This is checked: the step of a recording's first replay is also computed
directly. If one bit differs, or recording fails, graphs are switched off with a warning, and
training continues without them. This also detects kernels that sum in no fixed order. A step's own
tensors change only when a checked replay is copied out or when the step is computed directly, so
no step is lost.

What it costs: 250 lines here, 80 in ``recordable_step.py``, 550 of tests. What would keep it: a
round of ``digits`` on a GPU in at most 0.8 of the time without graphs (``gpu.py``, rows ``graphs``
on and off).

Steps with dropout are not recorded, because its generators are seeded on the host for each client.
Steps with gradient checkpointing are not recorded either: that setting saves memory at the price of
more launches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

import torch

from floss_sim.runs.config import RunConfig
from floss_sim.training.bank.step import Step
from floss_sim.training.gpu.recordable_step import RecordableStep
from floss_sim.training.memory_bounds import example_bytes

# earlier steps of a shape before it is recorded; recording costs about as much as three steps
_MEETINGS_TO_RECORD = 3
_MAX_SHAPES = 1024  # shapes that are counted and not recorded yet, at most
# bytes of activations of a pass that is recorded, at most; larger passes are limited by
# computation, not by kernel launches
_RECORDED_BYTES = 4 * 2**30
_MAX_RECORDINGS = 16  # recordings that are kept, at most
Replay = Callable[[], None]
_Value = TypeVar("_Value")


class Replayable(Protocol):
    """Interface of a recordable step: :class:`RecordableStep`."""

    @property
    def examples(self) -> int:
        """Number of examples of the step."""

    @property
    def shape(self) -> Hashable:
        """Key of the computation: equal steps differ only in the values of their tensors."""

    @property
    def tensors(self) -> Sequence[torch.Tensor]:
        """Tensors that the step reads, without constants such as the backbone's weights."""

    @property
    def state(self) -> Sequence[torch.Tensor]:
        """Tensors that the step changes, a subset of :attr:`tensors`, float32."""

    def with_tensors(self, tensors: Sequence[torch.Tensor]) -> Replayable:
        """Return the same step over other tensors, in the order of :attr:`tensors`."""

    def run(self) -> None:
        """Compute the step."""


class Recorder(Protocol):
    """Interface of a recorder of device work."""

    def record(self, play: Replay) -> Replay:
        """Return a function that repeats the device work of ``play`` on the same tensors.

        Recording overwrites the values of these tensors.
        """


class CudaRecorder:
    """Recorder of CUDA graphs, on a separate stream, with one memory pool for all graphs."""

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        return torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @cached_property
    def _pool(self) -> Any:
        return torch.cuda.graph_pool_handle()

    def record(self, play: Replay) -> Replay:
        """Return the replay function of a new graph."""
        graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):  # torch.cuda.graph does not leave it after an error
            play()  # so that libraries allocate their workspaces outside the graph's memory pool
            with torch.cuda.graph(graph, self._pool, self._stream):
                play()
        torch.cuda.current_stream().wait_stream(self._stream)
        return graph.replay


class Graphs:
    """Runs training steps, and replays CUDA graphs for shapes that occur often.

    Attributes:
        steps: Number of steps that were run.
        replayed: Number of these steps that were run by replay.

    Args:
        recorder: The recorder of the graphs.
        most: Largest number of examples of a step that is recorded.
    """

    def __init__(self, recorder: Recorder, most: int) -> None:
        self.steps = self.replayed = 0
        self._recorder = recorder
        self._most = most
        self._met: dict[Hashable, int] = {}
        self._recordings: dict[Hashable, _Recording] = {}  # least recently replayed first

    def run(self, step: Replayable) -> None:
        """Run a step: replay its recording if there is one, else compute it directly."""
        self.steps += 1
        recording = self._play_recording(step) if step.examples <= self._most else None
        if recording and recording.proved:
            recording.give(step)
            self.replayed += 1
            return
        if not self._try_step(step):
            recording = None
            self._stop("the recordings leave too little memory for a step")
            step.run()
        if recording and not recording.prove(step):
            self._stop("a replayed step differs from the same step computed directly")

    def _play_recording(self, step: Replayable) -> _Recording | None:
        """Replay a step's recording and return the recording; None if its shape has none.

        A recording is created here when the shape has occurred often enough.
        """
        shape = step.shape
        try:
            recording = self._recordings.pop(shape, None) or self._new_recording(shape, step)
            if recording:
                recording.play(step)
                _keep(self._recordings, shape, recording, _MAX_RECORDINGS)
        except Exception as error:  # any error: the step's own tensors have not changed
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
        """Compute a step; return False if the recordings leave too little memory for it."""
        try:
            step.run()
        except torch.OutOfMemoryError:
            if not self._recordings:
                raise
            return False
        return True

    def _stop(self, why: str) -> None:
        """Free all recordings, record no more, and warn with the reason."""
        self._most = -1
        self._recordings.clear()
        self._met.clear()
        warnings.warn(
            f"from now on training steps run without CUDA graphs: {why}",
            RuntimeWarning,
            stacklevel=3,
        )


class StepGraphs(Graphs):
    """Runs the training steps of a bank, and replays CUDA graphs for shapes that occur often."""

    def run(self, step: Step) -> None:  # type: ignore[override]
        """Run a step."""
        super().run(RecordableStep(step))


def graphs_of(config: RunConfig) -> StepGraphs:
    """Return a player of the training steps of a run's bank."""
    return StepGraphs(CudaRecorder(), _RECORDED_BYTES // example_bytes(config))


class _Recording:
    """A recorded step: a copy of the step's tensors, and the function that replays it on them."""

    def __init__(self, step: Replayable, recorder: Recorder) -> None:
        own = step.with_tensors([tensor.clone() for tensor in step.tensors])
        self._tensors, self._state = own.tensors, own.state
        self._replay = recorder.record(own.run)
        self.proved = False

    def play(self, step: Replayable) -> None:
        """Replay with the values of a step of the same shape; the step's tensors do not change."""
        _copy(step.tensors, self._tensors)
        self._replay()

    def give(self, step: Replayable) -> None:
        """Copy the results of the last replay into the step that was replayed."""
        _copy(self._state, step.state)

    def prove(self, step: Replayable) -> bool:
        """Return whether the last replay is bit-identical to its step, computed directly since."""
        pairs = zip(self._state, step.state, strict=True)
        self.proved = all(torch.equal(a.view(torch.int32), b.view(torch.int32)) for a, b in pairs)
        return self.proved


def _cause(error: BaseException) -> str:
    """Return the first line of the first error raised; ending a failed recording raises another."""
    while error.__context__:
        error = error.__context__
    return (str(error) or type(error).__name__).splitlines()[0]


def _copy(sources: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> None:
    """Copy tensors into other tensors, in about one kernel launch per dtype."""
    pairs: dict[torch.dtype, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    for source, target in zip(sources, targets, strict=True):
        ours, theirs = pairs.setdefault(source.dtype, ([], []))
        ours.append(source)
        theirs.append(target)
    for ours, theirs in pairs.values():
        torch._foreach_copy_(theirs, ours)


def _keep(kept: dict[Hashable, _Value], key: Hashable, value: _Value, most: int) -> None:
    """Add an entry; drop the oldest entry if there are more than ``most``."""
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
