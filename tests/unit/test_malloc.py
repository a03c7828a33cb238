"""Memory that is freed is kept: the next pass of training does not have it faulted in anew."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from floss_sim import RunConfig, dense, load_profile, load_task, malloc, open_learner, run
from floss_sim.cli import main
from planner.execution import workers

PASSES = """
import json, resource
import numpy as np
from floss_sim.malloc import keep_freed_memory

def faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        activations = [np.ones(2**18, dtype=np.float32) for _ in range(20)]
        del activations
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
kept = keep_freed_memory()
faults()  # the first pass fills the heap
print(json.dumps([kept, given_back, faults()]))
"""


def test_freed_memory_is_kept_for_the_next_pass():
    done = subprocess.run([sys.executable, "-c", PASSES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept, before, after = json.loads(done.stdout)
    if not kept:
        pytest.skip("another C library")
    assert after < before / 20


def test_the_library_leaves_malloc_alone_and_commands_and_workers_do_not(
    monkeypatch: pytest.MonkeyPatch,
):
    calls: list[str] = []
    monkeypatch.setattr(malloc, "keep_freed_memory", lambda: calls.append("command"))
    monkeypatch.setattr(workers, "keep_freed_memory", lambda: calls.append("worker"))
    config = RunConfig.of(load_task("digits"), dense(), rank=1)
    run(config, load_profile("lte"), open_learner(config, "cpu"), rounds=1)
    assert calls == []
    monkeypatch.setattr(sys, "argv", ["floss-sim", "--help"])
    with pytest.raises(SystemExit):
        main()
    assert calls == ["command"]
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    workers._begin_worker()
    assert calls == ["command", "worker"]
