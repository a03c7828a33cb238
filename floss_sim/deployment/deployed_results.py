"""Results of a deployed run: test accuracy, the plot and the exported model with its card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from floss_sim.records import RunFolder, RunRecord
from floss_sim.run_results import model_folder, test_accuracy, write_model, write_plot
from floss_sim.runs.config import RunConfig
from floss_sim.runs.own_data import own_data_text
from floss_sim.training import training_facts
from floss_sim.training.model_card import ON_TEST, bytes_words
from floss_sim.units import format_duration


def write_deployed_results(folder: RunFolder, record: RunRecord, config: RunConfig) -> Path:
    """Measure a deployed run on the test split; write its plot and its adapter.

    The caller must hold the folder's lock.

    Args:
        folder: The run folder.
        record: Its committed record.
        config: The trained configuration.

    Returns:
        The folder of the adapter, or of the model where the method has no adapters.

    Raises:
        RecordError: No round was evaluated, or a file cannot be written.
    """
    test = test_accuracy(folder, record, config, "cpu")
    last, rounds = record.evaluated().to_pylist()[-1], record.rounds
    network = folder.manifest().network
    write_plot(folder, record, config, network)
    down, up = (sum(rounds[f"{way}_bytes"].to_pylist()) for way in ("down", "up"))
    facts = training_facts(config) | {
        "rounds": str(last["round"]),
        "validation accuracy": f"{last['accuracy']:.3f} at the last evaluation",
        ON_TEST: test.describe(),
        **_own_fact(last, config),
        "bytes": bytes_words(down, up),
        f"time ({network})": format_duration(last["closed_at_s"]),
    }
    out = model_folder(folder, config)
    write_model(folder, config, last["round"], out, facts)
    return out


def _own_fact(last: Mapping[str, Any], config: RunConfig) -> dict[str, str]:
    """Return the row of the card on what nodes measured of their own models; empty if none has."""
    own = last.get("own_accuracy")
    text = own_data_text(config.fleet.law)
    return {} if own is None else {"own accuracy": f"{own:.3f} at the last evaluation: {text}"}
