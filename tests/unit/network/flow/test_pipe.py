"""Open pipes against shared ones of unlimited capacity; what a shared pipe keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from floss_sim.network.flow.max_min_fair import FairShare
from floss_sim.network.flow.pipe import EndOfInstant, OpenPipe, Pipe

RATES = st.one_of(st.just(0.0), st.floats(0.5, 20))
CHANGES = st.lists(st.tuples(st.floats(0.1, 3), RATES), max_size=4)


def caps_of(start_s: float, first: float, changes: list[tuple[float, float]]):
    at_s = start_s
    yield at_s, first
    for wait_s, rate in changes:
        at_s += wait_s
        yield at_s, rate
    yield at_s + 1, 2.0


def carried(
    make, bits: float, caps: Iterator[tuple[float, float]], start_s: float, stop_s: float
) -> tuple[float, float]:
    """Return when a transfer ends, or is stopped, and what is left of it then."""
    env = simpy.Environment()
    pipe = make(env)

    def client():
        yield env.timeout(start_s)
        flow = pipe.start(bits, caps, 0)
        yield flow.tag | env.timeout(stop_s)
        return env.now, pipe.stop(flow)

    return env.run(until=env.process(client()))


@given(st.floats(0, 5), st.floats(0.1, 50), RATES, CHANGES, st.floats(0.05, 60))
def test_an_open_pipe_is_a_shared_one_without_a_limit(start_s, bits, first, changes, stop_s):
    found = [
        carried(make, bits, caps_of(start_s, first, changes), start_s, stop_s)
        for make in (OpenPipe, lambda env: Pipe(env, FairShare(math.inf)))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-9, abs=1e-9)


def test_a_shared_pipe_forgets_flows_that_have_ended():
    share, kept = FairShare(10.0), []
    for i in range(2000):
        now = float(i)
        assert len(share.pop_ended(now)) == (i > 0)
        share.add(now, 1.0, 5.0 if i % 2 else 20.0)
        share.settle(now)
        (pool,) = share._pools
        heaps = (pool._capped_ends, pool._fair_ends, pool._largest_capped, pool._smallest_fair)
        kept.append(sum(map(len, heaps)))
    assert max(kept[1000:]) <= max(kept[:1000]) < 400


def test_an_instant_is_called_once_after_everything_else_and_again_when_asked_later():
    env, calls = simpy.Environment(), []
    last = EndOfInstant(env, lambda: calls.append((env.now, "last")), order=1)
    first = EndOfInstant(env, lambda: calls.append((env.now, "first")))

    def ask():
        for _ in range(2):
            last.ask()
            last.ask()
            first.ask()
            yield env.timeout(0)
            calls.append((env.now, "now"))
            yield env.timeout(1)

    env.process(ask())
    env.run()
    assert calls == [(at_s, what) for at_s in (0, 1) for what in ("now", "first", "last")]
