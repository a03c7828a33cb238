"""Makes one plan, as a process that can be interrupted and killed, and prints what became of it.

python experiments/cluster/one_plan.py SIZE STORE EXECUTOR [WORKERS]
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any

from planner import Request, grid, plan
from planner.progress import Progress

SIZES: dict[str, dict[str, Any]] = {
    "small": {"budget": "12-dense-rounds", "max_rounds": 60, "effort": 1,
              "candidates": grid([1, 2], [1 / 4], [1 / 16]), "reference_rank": 2},
    "longer": {"budget": "20-dense-rounds", "max_rounds": 80, "effort": 1,
               "candidates": grid([1, 2], [1 / 4, 1.0], [1 / 16]), "reference_rank": 2},
    "default": {"budget": "50-dense-rounds"},
}  # fmt: skip


def main() -> None:
    """Plan, and print the plan, the cluster's state and the seconds as JSON."""
    size, store, executor, *workers = sys.argv[1:]
    request = Request.of("digits", "paper-200-20", upload_ratio=16, **SIZES[size])
    states: list[Any] = [None]

    def note(progress: Progress) -> None:
        states[0] = progress.cluster or states[0]
        print(progress.line(), file=sys.stderr, flush=True)

    began_s = time.monotonic()
    count = int(workers[0]) if workers else None
    made = plan(request, store=store, executor=executor, workers=count, on_progress=note)
    told = {
        "plan": made.to_json(),
        "state": asdict(states[0]) if states[0] else None,
        "seconds": time.monotonic() - began_s,
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
