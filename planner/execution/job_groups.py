"""Groups of jobs with about equally many rounds, each for one call of a worker."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def job_groups(rounds: Mapping[int, int], workers: int, most: int) -> list[list[int]]:
    """Return groups of jobs with about equally many rounds, spread evenly over the workers.

    Each job goes to the group with the fewest rounds so far, longest job first (Graham, "Bounds on
    Multiprocessing Timing Anomalies", 1969). The group with the most rounds comes first.

    Args:
        rounds: Missing rounds of each job.
        workers: Number of workers.
        most: Number of jobs of a group, at most.
    """
    each = math.ceil(len(rounds) / (workers * most))  # groups of a worker
    groups: list[list[int]] = [[] for _ in range(min(workers * each, len(rounds)))]

    def total(group: Sequence[int]) -> int:
        return sum(rounds[job] for job in group)

    for job in sorted(rounds, key=lambda job: -rounds[job]):
        min((group for group in groups if len(group) < most), key=total).append(job)
    return sorted(groups, key=total, reverse=True)
