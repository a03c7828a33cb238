"""Dispatcher: sends calls to an engine until each is answered, in a thread of its own.

No more calls are under way than the engine runs at once, so that a call without an answer in its
time has lost its worker. A call that failed is made again elsewhere, three times at most; one that
has made progress begins to count anew. Where workers of other calls die, too, while some answer, a
call whose workers die is made ten times at most: it is the cluster that ends them. Nothing is taken
from a call that was given up.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

from floss_sim import documents
from floss_sim.errors import ConfigError, FlossError
from floss_sim.plain_text import one_line
from planner.cluster.call import Call, Prepared
from planner.cluster.engine import Engine
from planner.cluster.job import Answer
from planner.cluster.owner_time import OwnerTime
from planner.cluster.parcel import ParcelError, unpack_parcel
from planner.cluster.transport import Transport
from planner.execution.busy_share import BusyShare
from planner.progress import ClusterState

TRIES = 3  # of a call that makes no progress
TRIES_OF_MANY = 10  # of a call whose workers die where those of others die, too
_TICK_S = 0.2  # seconds between looks at waiting calls and at the clock
_LIMIT_FACTOR = 3.0  # times the expected seconds of a call, beside the engine's patience
_SHORTEST_SLICE_S = 2.0
_STOP_S = 20.0  # seconds to wait for the thread


@dataclass
class _Ready:
    call: Call
    slice_s: float
    tries: int = 0
    lost: int = 0  # tries whose worker died
    files: set[str] = field(default_factory=set)
    not_before_s: float = 0.0


@dataclass
class _Sent:
    item: _Ready
    limit_s: float
    queued_until_s: float
    until_s: float


class Dispatcher:
    """Sends calls to an engine.

    Args:
        engine: The engine.
        function: Function of bytes that a worker runs.
        transport: Way of parcels.
        slice_s: Seconds of training after which a worker returns.
        clock: Function that returns seconds.
    """

    def __init__(
        self,
        engine: Engine,
        function: Callable[[bytes], bytes],
        transport: Transport,
        slice_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._function = function
        self._transport = transport
        self._slice_s = slice_s
        self._clock = clock
        self._events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._inbox: deque[object] = deque()
        self._ready: deque[_Ready] = deque()
        self._sent: dict[Future[bytes], _Sent] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # of the thread's start and end
        self._busy = BusyShare(engine.workers, clock)
        self._owner = OwnerTime()
        self._lost = 0  # workers that died in calls
        self._has_answers = False
        self.state = ClusterState(engine.name, engine.workers)

    def add(self, calls: Sequence[Call]) -> None:
        """Add calls, which are sent in their order; the thread starts with the first ones."""
        with self._lock:
            self._events.put([_Ready(call, self._slice_s) for call in calls])
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
                self._thread.start()

    def stop(self, error: BaseException) -> None:
        """Give up all calls, with an error; the thread ends, and its folders are let go."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._events.put(error)
        if thread is not None:
            thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            while True:
                self._wait_for_events()
                began_s = self._clock()
                if not self._take_events():
                    return
                self._tell()
                self._give_up_overdue()
                self._send_ready()
                self._owner.note(self._clock() - began_s)
        except Exception as error:
            with self._lock:  # what is added from here on starts another thread
                self._thread = None
                self._read_events()
            for event in self._inbox:
                self._ready.extend(event if isinstance(event, list) else ())
            self._inbox.clear()
            self._give_up_all(error)

    def _wait_for_events(self) -> None:
        """Wait for events, but not for long."""
        with suppress(queue.Empty):
            self._inbox.append(self._events.get(timeout=_TICK_S))
        self._read_events()

    def _read_events(self) -> None:
        while not self._events.empty():
            self._inbox.append(self._events.get_nowait())

    def _take_events(self) -> bool:
        """Take what was added and answered; return False to end."""
        while self._inbox:
            event = self._inbox.popleft()
            if isinstance(event, BaseException):
                self._give_up_all(event)
                return False
            if isinstance(event, Future):
                self._take_done(event)
            elif isinstance(event, list):
                self._ready.extend(event)
        return True

    def _send_ready(self) -> None:
        later: list[_Ready] = []
        while self._ready and len(self._sent) < self._engine.workers:
            item = self._ready.popleft()
            if item.not_before_s > self._clock():
                later.append(item)
                continue
            prepared = self._prepared(item)
            retry_s = self._clock() + _TICK_S
            later += [_Ready(c, item.slice_s, not_before_s=retry_s) for c in prepared.waiting]
            if prepared.parcel is not None:
                self._send(item, prepared)
        self._ready.extend(later)
        self._tell()

    def _slice(self, item: _Ready) -> float:
        """Return the seconds of a slice, so long that the owner keeps up with all workers."""
        if item.slice_s < self._slice_s:  # shortened, because workers die
            return item.slice_s
        return max(item.slice_s, self._owner.least_slice_s(self._engine.workers))

    def _prepared(self, item: _Ready) -> Prepared:
        try:
            return item.call.prepare(self._slice(item), item.files)
        except FlossError as error:  # such as a damaged run of the store
            item.call.refuse(error)
            return Prepared(None)
        except Exception as error:
            item.call.refuse(error)
            raise

    def _send(self, item: _Ready, prepared: Prepared) -> None:
        parcel = self._transport.pack(prepared.parcel or b"")
        now_s = self._clock()
        limit_s = _LIMIT_FACTOR * prepared.expected_s + self._engine.patience_s
        try:
            future = self._engine.executor.submit(self._function, parcel)
        except Exception as error:
            name = self._engine.name
            ended = FlossError(f"executor {name} takes no more work: {_line(error)}")
            item.call.refuse(ended)
            raise ended from error
        self.state = self.state.with_added(sent_bytes=len(parcel))
        self._sent[future] = _Sent(item, limit_s, now_s + self._engine.queue_s, now_s + limit_s)
        future.add_done_callback(self._events.put)

    def _take_done(self, future: Future[bytes]) -> None:
        sent = self._sent.pop(future, None)
        if sent is None:  # it was given up
            return
        try:
            parcel = future.result(timeout=0)
        except BaseException as error:  # of the worker or of the engine, whatever kind it is
            if isinstance(error, self._engine.lost):
                self._make_again_lost(sent, f"a worker died ({_line(error)})")
            else:
                self._make_again(sent, f"the call failed: {_line(error)}")
            return
        try:
            if not isinstance(parcel, bytes):
                raise ParcelError(f"a worker answered with {type(parcel).__name__}, not bytes")
            self.state = self.state.with_added(received_bytes=len(parcel))
            head, blobs = unpack_parcel(self._transport.unpack(parcel))
            self._take(sent, documents.validate(head, Answer, ConfigError, "answer"), blobs)
        except Exception as error:  # whatever an answer makes of itself, it is a failed call
            self._make_again(sent, _line(error))

    def _take(self, sent: _Sent, answer: Answer, blobs: dict[str, bytes]) -> None:
        item = sent.item
        if answer.status == "refused":
            item.call.refuse(ConfigError(f"{self._engine.name}: {answer.reason}"))
        elif answer.status == "failed":
            self._make_again(sent, answer.reason)
        elif answer.status == "lacks":
            if item.files >= set(answer.lacks):
                self._make_again(sent, f"a worker lacks {' and '.join(answer.lacks)}")
                return
            item.files |= set(answer.lacks)
            self._ready.appendleft(item)
        else:
            item.files.clear()
            self._owner.note_answer()
            self._has_answers = True
            rest = item.call.take(answer, blobs)
            slice_s = min(2 * item.slice_s, self._slice_s)
            now_s = self._clock()
            later = (_Ready(c, slice_s, not_before_s=now_s + c.delay_s) for c in reversed(rest))
            self._ready.extendleft(later)

    def _make_again_lost(self, sent: _Sent, reason: str) -> None:
        """Make a call again whose worker died."""
        self._lost += 1
        sent.item.lost += 1
        many_die = self._has_answers and self._lost > sent.item.lost
        self._make_again(sent, reason, TRIES_OF_MANY if many_die else TRIES)

    def _make_again(self, sent: _Sent, reason: str, most: int = TRIES) -> None:
        """Make a call again that has failed, in smaller parts and with shorter slices."""
        item = sent.item
        self.state = self.state.with_added(retries=1)
        tries = item.tries + 1
        if tries >= most:
            item.call.fail(reason)
            self.state = self.state.with_added(failures=1)
            return
        slice_s = max(_SHORTEST_SLICE_S, item.slice_s / 2)
        for call in item.call.parts():
            self._ready.append(_Ready(call, slice_s, tries, item.lost))

    def _give_up_overdue(self) -> None:
        now_s = self._clock()
        for future, sent in list(self._sent.items()):
            if now_s < sent.queued_until_s and not future.running():
                sent.until_s = now_s + sent.limit_s
            elif now_s > sent.until_s:
                self._give_up(future)
                self._make_again(sent, "a worker did not answer in its time")

    def _give_up(self, future: Future[bytes]) -> None:
        del self._sent[future]
        future.cancel()
        if self._engine.cancel is not None:
            with suppress(Exception):  # the engine may have ended
                self._engine.cancel(future)

    def _give_up_all(self, error: BaseException) -> None:
        for future, sent in list(self._sent.items()):
            self._give_up(future)
            sent.item.call.refuse(error)
        for item in self._ready:
            item.call.refuse(error)
        self._ready.clear()
        self._tell()

    def _tell(self) -> None:
        share = self._busy.note(len(self._sent)) or 0.0
        self.state = self.state.with_load(len(self._sent), len(self._ready), share)


def _line(error: BaseException) -> str:
    text = " ".join(one_line(str(error)).split())[:500]
    return text if isinstance(error, FlossError) and text else f"{type(error).__name__}: {text}"
