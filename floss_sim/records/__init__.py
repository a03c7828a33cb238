"""Run records: table schemas, the run folder, checkpoints, host times."""

from floss_sim.records.folder import RunFolder
from floss_sim.records.schema import ROUNDS, TRANSFERS, RunRecord, rounds_table

__all__ = ["ROUNDS", "TRANSFERS", "RunFolder", "RunRecord", "rounds_table"]
