"""What a finished run leaves: its plot, its adapter, and its summary as a table or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from floss_sim.errors import PayloadError, RecordError
from floss_sim.network import NetworkProfile
from floss_sim.records import RunFolder, RunRecord
from floss_sim.runs.calibration import calibrate, calibration_rounds
from floss_sim.runs.config import RunConfig
from floss_sim.runs.lockstep import size_only
from floss_sim.simulator import RoundPolicy, wait_all
from floss_sim.training import export_adapter, test_metrics
from floss_sim.units import format_bytes, format_duration
from floss_sim.vectors.layout import ADAPTER_LAYOUTS
from floss_sim.vectors.top_k import Mask
from floss_sim.wire import decode

_FIRST_ROUNDS = 10  # from which the bytes of the others are foretold
_KINDS = {
    "lora_A": "A", "lora_B": "B", "head_weight": "head", "head_bias": "head bias",
    "bias": "biases", "weight": "weights",
}  # fmt: skip


def finish(
    config: RunConfig,
    profile: NetworkProfile,
    policy: RoundPolicy,
    folder: RunFolder,
    record: RunRecord,
    device: str,
) -> dict[str, Any]:
    """Write plot and adapter of a finished run; return its summary."""
    from floss_sim.plots.accuracy import draw_run
    from floss_sim.plots.figure import save

    curve = record.evaluated()
    if not curve.num_rows:
        raise RecordError(f"{folder.path} holds no evaluated round; run more --rounds")
    last = curve.to_pylist()[-1]
    model = folder.model(last["round"])
    try:
        test = folder.ensure_test_metrics(
            last["round"], lambda: test_metrics(config, model, device)
        )
    except PayloadError as error:
        raise RecordError(f"{folder.path}: the model of round {last['round']}: {error}") from None
    label = config.describe()
    title = f"{config.task.name} on {profile.name}, seed {config.seed}"
    save(draw_run(curve.to_pandas(), title, label), folder.path / "accuracy.png")
    adapted = config.method.trains in ADAPTER_LAYOUTS
    export_adapter(config, model, folder.path / ("adapter" if adapted else "model"))
    down = record.rounds["down_bytes"].to_pylist()[: last["round"]]
    up = record.rounds["up_bytes"].to_pylist()[: last["round"]]
    return {
        **config.settings(),
        "method": config.method.name,
        "method_settings": config.method.settings(),
        "configuration": config.describe(),
        **_ledger(config, last["round"]),
        **_mask(config, model),
        **(_prediction(config, profile, record) if policy == wait_all() else {}),
        "network": profile.name,
        "rounds": last["round"],
        "validation_accuracy": last["accuracy"],
        "validation_loss": last["loss"],
        "dense_accuracy": last["dense_accuracy"],
        "test_accuracy": test["accuracy"],
        "policy": policy.name,
        "participations": len(set(record.transfers["sequence"].to_pylist())),
        "reports": sum(record.rounds["reports"].to_pylist()[: last["round"]]),
        "wasted_bytes": sum(record.rounds["wasted_bytes"].to_pylist()[: last["round"]]),
        "down_bytes": sum(down),
        "up_bytes": sum(up),
        "simulated_s": last["closed_at_s"],
        "fingerprint": folder.description["fingerprint"],
        "out": str(folder.path),
    }


def _ledger(config: RunConfig, rounds: int) -> dict[str, int]:
    """Return the size of the server's mask ledger, where the method keeps one."""
    method, clients = config.method, config.fleet.clients
    if not method.mask_ledger:
        return {}
    return {"mask_ledger_bytes": method.ledger_nbytes(config.layout, clients, rounds)}


def _prediction(
    config: RunConfig, profile: NetworkProfile, record: RunRecord
) -> dict[str, dict[str, float]]:
    """Return how real bytes relate to predicted ones, and how well first rounds foretold others."""
    rounds, looked_at = record.rounds.num_rows, calibration_rounds(_FIRST_ROUNDS)
    if rounds < 2 * _FIRST_ROUNDS:
        return {}
    predicted = size_only(config, profile, rounds)
    made = calibrate(record, predicted, looked_at)
    error = made.error(calibrate(record, predicted, range(_FIRST_ROUNDS + 1, rounds + 1)))
    return {
        "real_over_predicted_bytes": {
            "first_round": looked_at.start,
            "last_round": _FIRST_ROUNDS,
            "down": made.down,
            "up": made.up,
            "error_down": error.down,
            "error_up": error.up,
        }
    }


def _mask(config: RunConfig, model: bytes) -> dict[str, dict[str, float]]:
    """Return the fraction of each kind of tensor that a persistent mask keeps."""
    if config.method.persistent is None:
        return {}
    _, kept_N = decode(config.layout, model)
    parts: dict[str, list[Mask]] = {}
    for tensor in config.layout.tensors:
        parts.setdefault(_KINDS[tensor.kind], []).append(kept_N[config.layout.slices[tensor.name]])
    return {"mask_keeps": {k: float(np.concatenate(part).mean()) for k, part in parts.items()}}


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Return a summary as a table for people."""
    table = Table(show_header=False)
    rounds, cohort = summary["rounds"], summary["server"]["cohort"]
    transfers = summary["participations"]
    ledger, wasted = summary.get("mask_ledger_bytes"), summary["wasted_bytes"]
    seen = summary.get("real_over_predicted_bytes")
    for name, value in (
        ("method", summary["method"]),
        ("configuration", summary["configuration"]),
        *([("mask ledger", f"at most {format_bytes(ledger)} on the server")] if ledger else []),
        *([("mask keeps", _mask_text(summary["mask_keeps"]))] if "mask_keeps" in summary else []),
        ("network", summary["network"]),
        ("rounds", f"{rounds} of {cohort} clients{_policy(summary)}"),
        ("validation accuracy", f"{summary['validation_accuracy']:.3f}"),
        ("test accuracy", f"{summary['test_accuracy']:.3f}"),
        ("bytes down", _both_bytes(summary["down_bytes"], transfers)),
        ("bytes up", _both_bytes(summary["up_bytes"], transfers)),
        *([("real bytes", _prediction_text(seen))] if seen else []),
        *([("wasted", f"{format_bytes(wasted)} of these")] if wasted else []),
        ("simulated time", format_duration(summary["simulated_s"])),
    ):
        table.add_row(name, value)
    return table


def _prediction_text(made: Mapping[str, float]) -> str:
    return (
        f"down {made['down']:.2f}, up {made['up']:.2f} of the predicted in rounds "
        f"{made['first_round']} to {made['last_round']}; the rest, so corrected, was foretold "
        f"{_error_text(made['error_down'])} down, {_error_text(made['error_up'])} up"
    )


def _error_text(error: float) -> str:
    return f"{100 * abs(error):.1f} % too {'large' if error > 0 else 'small'}"


def _policy(summary: Mapping[str, Any]) -> str:
    if summary["policy"] == "wait-all":
        return ""
    return f", {summary['policy']}: {summary['reports'] / summary['rounds']:.3g} reports a round"


def _mask_text(fractions: Mapping[str, float]) -> str:
    """Return what a mask keeps of each kind, and what it means where a kind is gone."""
    words = ", ".join(f"{100 * part:.3g} % of {kind}" for kind, part in fractions.items())
    gone = [kind for kind, part in fractions.items() if part == 0]
    return f"{words}; {' and '.join(gone)} no longer train" if gone else words


def _both_bytes(total: int, transfers: int) -> str:
    return f"{format_bytes(total)} ({format_bytes(total / transfers)} a client and round)"
