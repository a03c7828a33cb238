"""Networks and cohorts for tests of simulated rounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from stand_in_learners import FakeLearner

from floss_sim.network import ClientLink, NetworkProfile, load_profile
from floss_sim.network.flow.max_min_fair import FairShare, Flow
from floss_sim.network.profile import CellsSection, ServerCapacitySection
from floss_sim.network.transport import IDEAL, Transport
from floss_sim.protocol import ClientState, Dispatch, Upload
from floss_sim.simulator import RoundOutcome, RoundPolicy, simulate, wait_all

# A fleet whose links are drawn from laws.
DRAWN = """
name = "drawn"
source = "made"
date = "2026"
[fleet]
law = "lognormal"
down = { median = "30 Mbit/s", sigma = 0.8 }
up = { median = "8 Mbit/s", sigma = 0.8 }
rtt = { median = "50 ms", sigma = 0.5 }
compute_per_example = { median = "2 ms", sigma = 0.3 }
"""
# A fleet drawn from the rows of rows.csv.
ROWS = """
name = "rows"
source = "made"
date = "2026"
[fleet]
law = "rows"
file = "rows.csv"
rtt = "20 ms"
compute_per_example = "1 ms"
"""


def write_rows(folder: Path, equal: int) -> Path:
    """Write a profile that draws its links from equal rows and one of 100 bit/s up."""
    lines = ["down_bits_per_s,up_bits_per_s", *["1e7,1e6"] * equal, "1e7,100"]
    (folder / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    path = folder / "rows.toml"
    path.write_text(ROWS, encoding="utf-8")
    return path


def network(
    egress: float = math.inf,
    ingress: float = math.inf,
    cells: tuple[int, float, float] | None = None,
    transport: Transport = IDEAL,
    seed: int = 0,
) -> NetworkProfile:
    """Return a profile by numbers: server, cells (count, down, up), transport; not its clients."""
    changes = {"server": ServerCapacitySection.model_construct(egress=egress, ingress=ingress)}
    if cells:
        count, down, up = cells
        changes["cells"] = CellsSection.model_construct(count=count, down=down, up=up)
    paper = load_profile("paper-200-20")
    return paper.model_copy(update={**changes, "transport": transport, "seed": seed})


class SizedLearner(FakeLearner):
    """A learner whose payloads have a size for each client."""

    def __init__(self, down: Sequence[int], up: Sequence[int], examples: int = 1) -> None:
        super().__init__(examples=examples)
        self.down, self.up = down, up

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        return Dispatch(sequence, client, self.version, self.down[client], 1)

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        client = dispatch.client
        return Upload(dispatch.sequence, client, self.up[client], 1, self.sizes[2])


def play(
    learner: FakeLearner,
    profile: NetworkProfile,
    links: Sequence[ClientLink],
    policy: RoundPolicy | None = None,
    cohorts: Mapping[int, Sequence[int]] | None = None,
    cohort: int | None = None,
    rounds: int = 1,
) -> Iterator[RoundOutcome]:
    """Simulate rounds, by default of all clients in their order."""
    everybody = range(len(links))
    return simulate(
        learner, profile, links, policy or wait_all(),
        lambda number, attempt: cohorts[number] if cohorts else everybody,
        cohort or len(links), rounds,
    )  # fmt: skip


class Watch:
    """What every fair share has done: rates of all flows at all times, checked on the way.

    Attributes:
        sent: Bits of each flow so far, its rate integrated over time.
        flow_seconds: Flows in flight, integrated over time.
        instants: How often rates were set.
    """

    def __init__(self) -> None:
        self.sent: dict[Flow, float] = {}
        self.flow_seconds = 0.0
        self.instants = 0
        self._limits: dict[FairShare, tuple[float, tuple[float, ...]]] = {}
        self._cells: dict[Flow, int] = {}
        self._flows: dict[FairShare, list[Flow]] = {}
        self._rates: dict[FairShare, tuple[float, list[tuple[Flow, float]]]] = {}

    def made(self, share: FairShare, capacity: float, cells: Sequence[float]) -> None:
        self._limits[share] = (capacity, tuple(cells))
        self._flows[share] = []

    def added(self, share: FairShare, flow: Flow, cell: int) -> None:
        self._flows[share].append(flow)
        self._cells[flow], self.sent[flow] = cell, 0.0

    def closed(self, now: float) -> None:
        """Go on to an instant at which nothing has been settled."""
        for share in self._rates:
            self._pass(share, now)

    def _pass(self, share: FairShare, now: float) -> None:
        before_s, rates = self._rates.get(share, (now, []))
        assert now >= before_s * (1 - 1e-15), "time ran back"
        for flow, rate in rates:
            self.sent[flow] += rate * (now - before_s)
        self.flow_seconds += len(rates) * (now - before_s)
        self._rates[share] = (now, rates)

    def settled(self, share: FairShare, now: float) -> None:
        self._pass(share, now)
        flows = self._flows[share] = [flow for flow in self._flows[share] if flow.turn >= 0]
        rates = [(flow, flow.pool.level if flow.is_fair else flow.cap) for flow in flows]
        self._check(rates, *self._limits[share])
        self._rates[share] = (now, rates)
        self.instants += 1

    def _check(
        self, rates: list[tuple[Flow, float]], capacity: float, cells: tuple[float, ...]
    ) -> None:
        """Check that nothing is overfull, and the mark of max-min fairness.

        It is that every flow has a bottleneck: its own link, or a full cell or server in which
        nothing is faster (Bertsekas and Gallager, Data Networks, section 6.5.2).
        """
        groups = [([rate for _, rate in rates], capacity)]
        for cell, limit in enumerate(cells):
            groups.append(([rate for flow, rate in rates if self._cells[flow] == cell], limit))
        fastest = []
        for members, limit in groups:
            assert sum(members) <= limit * (1 + 1e-12)
            full = members and sum(members) >= limit * (1 - 1e-12)
            fastest.append(max(members) if full else math.inf)
        for flow, rate in rates:
            assert 0 <= rate <= flow.cap
            mine = min(fastest[0], fastest[1 + self._cells[flow]] if cells else math.inf)
            assert rate >= min(flow.cap, mine) * (1 - 1e-12)


@contextmanager
def watched() -> Iterator[Watch]:
    """Watch every fair share that is made meanwhile."""
    watch = Watch()
    make, add, settle = FairShare.__init__, FairShare.add, FairShare.settle

    def watched_make(share, capacity_bits_per_s=math.inf, cells_bits_per_s=()):
        make(share, capacity_bits_per_s, cells_bits_per_s)
        watch.made(share, capacity_bits_per_s, cells_bits_per_s)

    def watched_add(share, now, bits, cap_bits_per_s, cell=0, tag=None):
        flow = add(share, now, bits, cap_bits_per_s, cell, tag)
        watch.added(share, flow, cell)
        return flow

    def watched_settle(share, now):
        settle(share, now)
        watch.settled(share, now)

    with mock.patch.multiple(
        FairShare, __init__=watched_make, add=watched_add, settle=watched_settle
    ):
        yield watch
