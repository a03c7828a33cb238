"""Trained models: which tensors of a backbone train, by the shortest way to the answer.

1. A packaged backbone: by arithmetic on its packaged table; no framework is loaded.
2. Any other config: from the cache, or from the model library and PEFT, which takes some seconds
   the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.family import Config
from floss_sim.families.layout_cache import cache_key, read_answer, write_answer
from floss_sim.families.model_table import ModelTable
from floss_sim.families.trained_tensors import TrainedModel, trained_tensors

AnswerT = TypeVar("AnswerT", ModelTable, TrainedModel)


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

    return _cached(question, TrainedModel, ask)


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

    return _cached({"config": config, "kind": kind}, ModelTable, ask)


def _cached(
    question: Mapping[str, Any], form: type[AnswerT], ask: Callable[[], AnswerT]
) -> AnswerT:
    """Return the cached answer to a question, or ask and keep the answer."""
    key = cache_key(question)
    content = read_answer(key)
    if content is not None:
        return form.from_json(content)
    answer = ask()
    write_answer(key, answer.to_json())
    return answer
