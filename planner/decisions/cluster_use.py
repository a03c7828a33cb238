"""What machines did to a plan's runs: failures of a cluster, and runs of several machine types."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from floss_sim.errors import RecordError
from floss_sim.records import RunFolder
from floss_sim.records.host_notes import machines
from planner.execution.candidate_runs import CandidateRuns
from planner.plans.cluster_section import ClusterSection


def cluster_section(runs: CandidateRuns) -> ClusterSection | None:
    """Return what a plan says of failed and mixed runs; None if there are none.

    Args:
        runs: The runs of its search.
    """
    failed = tuple(runs.failed_runs())
    types = [found for path in sorted(runs.runs) if len(found := _machine_types(path)) > 1]
    if not failed and not types:
        return None
    named = tuple(sorted({name for found in types for name in found}))
    return ClusterSection(failed=failed, mixed_runs=len(types), machines=named)


def _machine_types(path: Path) -> set[str]:
    """Return the machine types that trained a run."""
    with suppress(RecordError):  # a run without a round may have no folder
        rounds = RunFolder.read(path).manifest().rounds
        return {", ".join(filter(None, machine.values())) for _, machine in machines(path, rounds)}
    return set()
