"""Results of a run in its folder: test accuracies, the plot and the exported model.

The caller holds the folder's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from floss_sim.analysis.last_part import last_part
from floss_sim.analysis.on_test import (
    AccuracyOnTest,
    HitsOnTest,
    accuracy_on_test,
    predictions_by_example,
)
from floss_sim.errors import PayloadError, RecordError
from floss_sim.records import RunFolder, RunRecord
from floss_sim.runs.config import RunConfig
from floss_sim.runs.own_data import own_test_right
from floss_sim.training import measure_on_test, measure_own_on_test, replace_adapter

_OWN = "own_accuracy"  # key of the test metrics


def test_accuracy(
    folder: RunFolder, record: RunRecord, config: RunConfig, device: str
) -> AccuracyOnTest:
    """Return the test accuracy of the models of the run's last part, measured once.

    Raises:
        RecordError: No round was evaluated, or a model is damaged.
    """
    evaluated = record.evaluated()["round"].to_pylist()
    if not evaluated:
        raise RecordError(
            f"{folder.path} has no evaluated round; train more than its "
            f"{record.rounds.num_rows} rounds"
        )
    part = last_part(evaluated, evaluated[-1])
    try:
        models = folder.ensure_on_test(part, lambda blobs: measure_on_test(config, blobs, device))
    except PayloadError as error:
        rounds = ", ".join(map(str, part))
        raise RecordError(f"{folder.path}: a model of rounds {rounds}: {error}") from None
    predictions_E = predictions_by_example(config.task)
    return accuracy_on_test([HitsOnTest.of(models, predictions_E)], predictions_E)


def own_test_accuracy(
    folder: RunFolder, record: RunRecord, config: RunConfig, device: str
) -> float | None:
    """Return the test accuracy of the clients' own models at the last evaluated round.

    It is measured once, and None where validation did not measure them.
    """
    last = record.evaluated().to_pylist()[-1]
    number = last["round"]
    if last.get("own_accuracy") is None:
        return None
    known = (folder.test_metrics(number) or {}).get(_OWN)
    if known is not None:
        return known
    if config.method.private:
        made = measure_own_on_test(config, folder.snapshot(), device).accuracy
    else:
        (right_M,) = own_test_right(config, [folder.models_on_test([number])[number].right])
        made = float(right_M.mean())
    folder.note_on_test(number, {_OWN: made})
    return made


def model_folder(folder: RunFolder, config: RunConfig) -> Path:
    """Return the folder of the exported adapter; of the model, where the method has no adapters."""
    return folder.path / config.method.saved_as


def write_plot(folder: RunFolder, record: RunRecord, config: RunConfig, network: str) -> None:
    """Write the picture of accuracy against time and bytes, ``accuracy.png``.

    Raises:
        RecordError: It cannot be written.
    """
    from floss_sim.plots.accuracy import draw_run
    from floss_sim.plots.figure import save

    title = f"{config.task.name} on {network}, seed {config.seed}"
    curve = record.evaluated().to_pandas()
    save(draw_run(curve, title, config.describe()), folder.path / "accuracy.png")


def write_model(
    folder: RunFolder, config: RunConfig, last: int, out: Path, facts: Mapping[str, str]
) -> None:
    """Export the model of a round, with its card.

    Args:
        folder: The run folder.
        config: The trained configuration.
        last: The round.
        out: Folder of the export.
        facts: Rows of the card's table.

    Raises:
        RecordError: The model is damaged, or the folder cannot be written.
    """
    model = folder.model(last)
    try:
        replace_adapter(config, model, out, facts)
    except PayloadError as error:
        raise RecordError(f"{folder.path}: the model of round {last}: {error}") from None
