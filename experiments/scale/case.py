"""One size-only run of any size, measured in a process of its own: prints one line of JSON.

python experiments/scale/case.py --fleet 1000000 --cohort 1000 --rounds 200 --network lte
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import simpy

from floss_sim import RunConfig, floss, load_profile, load_task, size_only
from floss_sim.network import NetworkProfile
from floss_sim.network.flow import carrier
from floss_sim.network.flow.max_min_fair import FairShare
from floss_sim.network.profile import CellsSection
from floss_sim.runs.size_only_learner import SameExamples

MOBILE = str(Path(__file__).with_name("mobile.toml"))
EXAMPLES = 29  # of each client
DOWN, UP = 20e6, 6e6  # of the server for each client of the cohort: some are held back, some not


@dataclass(frozen=True)
class Measured:
    """What a run cost the host.

    Attributes:
        seconds: Wall time of the run, tables included; imports and the configuration are not.
        cpu_s: Processor time of it.
        peak_mb: Largest resident memory of the process, everything included.
        events: SimPy events.
        moves: How often a flow was put on a side of a shared pipe.
        transfers: Rows of the table of transfers.
    """

    seconds: float
    cpu_s: float
    peak_mb: float
    events: int
    moves: int
    transfers: int


def config(fleet: int, cohort: int) -> RunConfig:
    """Return FLoSS at rank 16 with a fleet of any size."""
    settings = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16)
    return settings.with_(fleet={"clients": fleet}, server={"cohort": cohort})


def network(name: str, cohort: int, cells: int = 0) -> NetworkProfile:
    """Return a network whose server is shared, and cells that take half of it where asked for."""
    profile = load_profile(name).with_changes("shared", egress=DOWN * cohort, ingress=UP * cohort)
    if not cells:
        return profile
    share = cohort / cells / 2
    tier = CellsSection.model_construct(count=cells, down=DOWN * share, up=UP * share)
    return profile.model_copy(update={"cells": tier})


class Counting:
    """Keeps the clocks and the shares that are made while it holds."""

    def __init__(self) -> None:
        self._clocks: list[Any] = []
        self._shares: list[FairShare] = []

    def __enter__(self) -> Counting:
        self._begin, self._share = simpy.Environment.__init__, carrier.FairShare
        begin, share, clocks, shares = self._begin, self._share, self._clocks, self._shares

        def begun(env: simpy.Environment, *arguments: Any) -> None:
            begin(env, *arguments)
            clocks.append(env)

        def shared(*arguments: Any) -> FairShare:
            shares.append(share(*arguments))
            return shares[-1]

        simpy.Environment.__init__ = begun  # type: ignore[method-assign]
        carrier.FairShare = shared  # type: ignore[misc, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        simpy.Environment.__init__ = self._begin  # type: ignore[method-assign]
        carrier.FairShare = self._share  # type: ignore[misc]

    @property
    def events(self) -> int:
        """How many events were scheduled: read off once, as each clock numbers its own."""
        return sum(next(clock._eid) for clock in self._clocks)

    @property
    def moves(self) -> int:
        """How often a flow was put on a side."""
        return sum(share.moves for share in self._shares)


def measure(fleet: int, cohort: int, rounds: int, name: str, cells: int = 0) -> Measured:
    """Run and measure."""
    settings, profile = config(fleet, cohort), network(name, cohort, cells)
    with Counting() as counting:
        began, cpu_s = time.perf_counter(), time.process_time()
        record = size_only(settings, profile, rounds, SameExamples(fleet, EXAMPLES))
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    rows = record.transfers.num_rows
    return Measured(seconds, cpu_s, _peak_mb(), counting.events, counting.moves, rows)


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says begins with the memory of the parent process
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure the case of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleet", type=int, required=True)
    parser.add_argument("--cohort", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--network", default=MOBILE)
    parser.add_argument("--cells", type=int, default=0)
    said = parser.parse_args()
    found = measure(said.fleet, said.cohort, said.rounds, said.network, said.cells)
    print(json.dumps({name: round(value, 3) for name, value in asdict(found).items()}))


if __name__ == "__main__":
    main()
