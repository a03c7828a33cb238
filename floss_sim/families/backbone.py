"""Backbones by name: packaged facts, or a ``config.json`` of the user."""

from __future__ import annotations

from dataclasses import dataclass

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.family import KINDS, NEXT_TOKEN, Config
from floss_sim.families.model_table import ModelTable
from floss_sim.families.trained_model import model_of_config, model_of_table, table_of_config
from floss_sim.families.trained_tensors import TrainedModel

_MOST_LABELS = 100_000


@dataclass(frozen=True)
class TaskModel:
    """A backbone with the head of a task, of which something trains.

    Attributes:
        name: Name or path by which the backbone was given.
        config: The content of its ``config.json``.
        kind: The task kind, one of :data:`floss_sim.families.KINDS`.
        labels: Number of classes of the new head; 0 for next-token prediction.
        table: The packaged table; None: the model library is asked.
    """

    name: str
    config: Config
    kind: str
    labels: int
    table: ModelTable | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LayoutError(f"unknown kind {self.kind!r}; valid: {', '.join(KINDS)}")
        if (self.kind == NEXT_TOKEN) != (self.labels == 0):
            raise LayoutError(f"{self.kind} with {self.labels} classes; next-token has none")
        if not 0 <= self.labels <= _MOST_LABELS:
            raise LayoutError(f"{self.labels} classes; valid: 1 to {_MOST_LABELS}")

    def trained_model(self, settings: AdapterSettings) -> TrainedModel:
        """Return what trains with these adapters.

        Raises:
            LayoutError: The model library cannot build the model, or the settings do not fit it.
        """
        if self.table is not None:
            return model_of_table(self.table, self.labels, settings)
        return model_of_config(self.config, self.kind, self.labels, settings)

    def full_table(self) -> ModelTable:
        """Return the table of the model, its classes filled in.

        Raises:
            LayoutError: The model library cannot build the model.
        """
        table = self.table or table_of_config(self.config, self.kind)
        return table.with_labels(self.labels)
