"""Proofs of the network model in numbers: two oracles, and theory over replications.

Example:
    python experiments/network_proofs/prove.py

Takes a minute and a half of one core and rewrites results.md. The same functions, on fewer and
smaller cases, are in the tests (tests/analytic/test_oracles.py and test_queueing_theory.py).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "support"))

from flows import (  # noqa: E402
    Case,
    Ends,
    ciw_ends,
    filled,
    piped,
    random_batch,
    random_case,
    shared,
    worst_error,
)
from queues import Measured, laws, measure  # noqa: E402

REPLICATIONS, FLOWS = 60, 600
Oracle = Callable[[Case], Ends]


def main() -> None:
    """Write results.md."""
    lines = ["# Proofs of the network model", "", *oracles(), "", *theory()]
    (HERE / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def oracles() -> list[str]:
    """Return the table of worst errors."""
    filling = "progressive filling (tests/support/flows.py)"
    ciws = f"Ciw {version('ciw')}, processor-sharing node"
    rows = [
        ("links with caps that change, no cells or up to 4", filling, filled,
         map(random_case, range(20_000))),
        ("the same with up to 60 flows", filling, filled,
         (random_case(seed, 60) for seed in range(20_000, 20_100))),
        ("60 equal links, server for 1", ciws, ciw_ends, _batches(60, 1)),
        ("60 equal links, server for 3 at full rate", ciws, ciw_ends, _batches(60, 3)),
        ("300 equal links, server for 10 at full rate", ciws, ciw_ends, _batches(300, 10, 60)),
    ]  # fmt: skip
    head = [
        "## Oracles",
        "",
        "Worst relative difference of a flow's end, over all flows of all cases: the fair share",
        "alone, and behind a pipe in simulated time.",
        "",
        "| flows | against | cases | ends | fair share | pipe |",
        "|---|---|---|---|---|---|",
    ]
    return [*head, *(_oracle_row(*row) for row in rows)]


def _batches(flows: int, at_once: int, cases: int = 500) -> Iterable[Case]:
    return (random_batch(seed, flows, at_once) for seed in range(cases))


def _oracle_row(flows: str, against: str, oracle: Oracle, cases: Iterable[Case]) -> str:
    worst, count, ends = [0.0, 0.0], 0, 0
    for case in cases:
        truth = oracle(case)
        count, ends = count + 1, ends + len(truth)
        ours = shared(case), piped(case)
        worst = [max(w, worst_error(o, truth)) for w, o in zip(worst, ours, strict=True)]
    return f"| {flows} | {against} | {count:,} | {ends:,} | {worst[0]:.1e} | {worst[1]:.1e} |"


def theory() -> list[str]:
    """Return the table of z-scores."""
    found = [measure(law, REPLICATIONS, FLOWS) for law in laws(piped)]
    largest = max(abs(m.z) for m in found)
    spread = math.sqrt(sum(m.z**2 for m in found) / len(found))
    rounds, arrivals = FLOWS // 10, 5 * FLOWS
    head = [
        "## Theory",
        "",
        f"{len(found)} laws, each over {REPLICATIONS} independent replications of {FLOWS} flows",
        f"(order statistics: {rounds} rounds; flows and parts of the time: {arrivals} arrivals).",
        "z is the distance of their mean from theory in standard errors of that mean.",
        f"The largest |z| is {largest:.2f}; the root of the mean of z^2 is {spread:.2f}, where",
        f"1.02 is expected. Some |z| of {len(found)} right laws is above 4 with a chance of 0.7 %",
        "(Student's law). Seeds are fixed.",
        "",
        "| law | theory | mean | standard error | z |",
        "|---|---|---|---|---|",
    ]
    return [*head, *map(_theory_row, found)]


def _theory_row(m: Measured) -> str:
    error = (m.mean - m.law.theory) / m.z
    return f"| {m.law.name} | {m.law.theory:.4f} | {m.mean:.4f} | {error:.4f} | {m.z:+.2f} |"


if __name__ == "__main__":
    main()
