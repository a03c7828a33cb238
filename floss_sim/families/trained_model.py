"""Trained models: which tensors of a backbone train, by the shortest way to the answer.

1. A packaged backbone: by arithmetic on its packaged table; no framework is loaded.
2. Any other config: from the cache, or from the model library and PEFT, which takes some seconds
   the first time.
"""

from __future__ import annotations

from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.family import Config
from floss_sim.families.family_table import family_table
from floss_sim.families.known import FAMILIES
from floss_sim.families.layout_cache import ask_once
from floss_sim.families.model_table import ModelTable
from floss_sim.families.trained_tensors import TrainedModel, trained_tensors


def model_of_table(table: ModelTable, labels: int, settings: AdapterSettings) -> TrainedModel:
    """Return the trained model of a table, without any framework.

    Args:
        table: The model.
        labels: Number of classes of the new head; 0 for next-token prediction.
        settings: The adapters.

    Raises:
        LayoutError: The settings do not fit the model.
    """
    sized = table.with_labels(labels)
    tensors = trained_tensors(sized, settings)
    return TrainedModel(table.model_type, sized.entries, table.head, tensors)


def model_of_config(
    config: Config, kind: str, labels: int, settings: AdapterSettings
) -> TrainedModel:
    """Return the trained model of a ``config.json``, cached by all that decides it.

    Args:
        config: The content of ``config.json``.
        kind: The task kind, one of :data:`floss_sim.families.KINDS`.
        labels: Number of classes of the new head; 0 for next-token prediction.
        settings: The adapters.

    Raises:
        LayoutError: The library cannot build the model, or the settings do not fit it.
    """
    question = {"config": config, "kind": kind, "labels": labels, "settings": settings.to_json()}

    def ask() -> TrainedModel:
        from floss_sim.families.from_library import peft_model

        return peft_model(config, kind, labels, settings)

    return ask_once(question, TrainedModel, ask)


def sized_table(config: Config, kind: str, labels: int) -> ModelTable:
    """Return the table of a model with its classes: by arithmetic if the family is known.

    Args:
        config: The content of ``config.json``.
        kind: The task kind, one of :data:`floss_sim.families.KINDS`.
        labels: Number of classes of the new head; 0 for next-token prediction.

    Raises:
        LayoutError: A size is missing, or the library cannot build the model.
    """
    if config.get("model_type") in FAMILIES:
        return family_table(config, labels)
    return table_of_config(config, kind).with_labels(labels)


def table_of_config(config: Config, kind: str) -> ModelTable:
    """Return the model table of a ``config.json``, cached by all that decides it.

    Args:
        config: The content of ``config.json``.
        kind: The task kind, one of :data:`floss_sim.families.KINDS`.

    Raises:
        LayoutError: The library cannot build the model.
    """

    def ask() -> ModelTable:
        from floss_sim.families.from_library import model_table

        return model_table(config, kind)

    return ask_once({"config": config, "kind": kind}, ModelTable, ask)
