"""What a cluster did to a plan, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.candidates import Candidate


def cluster_sentences(effort: Mapping[str, Any]) -> list[str]:
    """Return sentences on runs that failed, and on runs of several machine types.

    Args:
        effort: The plan's effort, as plain values.
    """
    told = effort.get("cluster")
    if not told:
        return []
    lines = []
    for run in told["failed"]:
        candidate = Candidate.of_settings(run["candidate"])
        lines.append(
            f"{str(candidate).capitalize()}, seed {run['seed']}, failed on the workers, although "
            f"it did not diverge: {run['reason']}."
        )
    if count := told["mixed_runs"]:
        runs = "1 run was" if count == 1 else f"{count} runs were"
        lines.append(
            f"{runs} trained in parts on machines of several types "
            f"({'; '.join(told['machines'])}): the last bits are those of no single type."
        )
    return lines
