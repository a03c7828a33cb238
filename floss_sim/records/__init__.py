"""Run records: the documented tables, the run folder, checkpoints and host notes."""

from floss_sim.records.folder import RunFolder
from floss_sim.records.schema import ROUNDS, TRANSFERS, RunRecord

__all__ = ["ROUNDS", "TRANSFERS", "RunFolder", "RunRecord"]
