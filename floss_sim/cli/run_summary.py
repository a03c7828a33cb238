"""Summary of a saved run, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from floss_sim.analysis.last_part import part_text
from floss_sim.analysis.recorded_privacy import told_privacy
from floss_sim.analysis.time_spread import (
    PROBED_LEGEND,
    SHAPED_NOTE,
    SPREAD_LEGEND,
    nothing_drawn_note,
    traffic_alone_note,
)
from floss_sim.network import NetworkProfile
from floss_sim.records import RunRecord
from floss_sim.runs.calibration import calibrate, calibration_rounds
from floss_sim.runs.config import RunConfig
from floss_sim.runs.lockstep import size_only
from floss_sim.saved_run import SavedRun
from floss_sim.simulator import wait_all
from floss_sim.units import format_bytes, format_duration
from floss_sim.vectors.top_k import Mask
from floss_sim.wire import decode

_FIRST_ROUNDS = 10  # rounds whose real bytes correct the predicted bytes of later rounds
_SUMS = ("reports", "wasted_bytes", "down_bytes", "up_bytes")  # columns summed over the rounds
_KINDS = {
    "lora_A": "A", "lora_B": "B", "head_weight": "head", "head_bias": "head bias",
    "bias": "biases", "weight": "weights",
}  # fmt: skip


def summary_of(saved: SavedRun) -> dict[str, Any]:
    """Return the summary of a saved run, as plain values."""
    config, record, last = saved.config, saved.record, saved.last_evaluated
    rounds = {name: record.rounds[name].to_pylist()[: last["round"]] for name in _SUMS}
    predicted = saved.policy == wait_all()
    return {
        **config.settings(),
        "method": config.method.name,
        "method_settings": config.method.settings(),
        "configuration": config.describe(),
        **_ledger(config, last["round"]),
        **_mask(config, saved),
        **_privacy(saved),
        **(_prediction(config, saved.profile, record) if predicted else {}),
        "network": saved.profile.name,
        "rounds": last["round"],
        "validation_accuracy": saved.validation_accuracy,
        "validation_models": len(saved.last_part),
        "last_evaluation": {"accuracy": last["accuracy"], "loss": last["loss"]},
        "dense_accuracy": last["dense_accuracy"],
        "test_accuracy": saved.test_accuracy,
        "test": saved.test.to_json(),
        **_own(saved),
        "policy": saved.policy.name,
        "participations": len(set(record.transfers["sequence"].to_pylist())),
        **{name: sum(rounds[name]) for name in _SUMS},
        "time": saved.time.to_json(),
        "traffic_alone": saved.profile.is_traffic_alone,
        "own_fleet_s": last["closed_at_s"],
        "slow_fleets": saved.slow_fleets and saved.slow_fleets.to_json(),
        "straggler": saved.straggler and saved.straggler.to_json(),
        "fingerprint": saved.folder.description["fingerprint"],
        "out": str(saved.folder.path),
    }


def _own(saved: SavedRun) -> dict[str, Any]:
    """Return the accuracies of the clients' own models, where they were measured."""
    last = saved.last_evaluated
    if last.get("own_accuracy") is None:
        return {}
    own = {name: last[f"own_{name}"] for name in ("accuracy", "loss")}
    return {"own": {**own, "test_accuracy": saved.own_test, "of": saved.own_text}}


def _test_interval(told: Mapping[str, Any]) -> str:
    """Return the interval of a test accuracy, and of how many models it is the mean."""
    return f"({told['low']:.3f} to {told['high']:.3f}; {part_text(told['models'])})"


def _ledger(config: RunConfig, rounds: int) -> dict[str, int]:
    """Return the size of the server's ledger of masks or changes, where the method keeps one."""
    method, clients = config.method, config.fleet.clients
    if not method.has_ledger:
        return {}
    kind = "mask" if method.mask_ledger else "change"
    return {f"{kind}_ledger_bytes": method.ledger_nbytes(config.layout, clients, rounds)}


def _prediction(
    config: RunConfig, profile: NetworkProfile, record: RunRecord
) -> dict[str, dict[str, float]]:
    """Return the ratio of real to predicted bytes, and the error of predicting later rounds.

    ``expected_error_down`` and ``expected_error_up`` are what predictions of such messages were
    within on recorded runs.
    """
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
            "expected_error_down": config.sizes.error("down", rounds),
            "expected_error_up": config.sizes.error("up", rounds),
        }
    }


def _privacy(saved: SavedRun) -> dict[str, Any]:
    """Return what the run's noise reaches, in the end and at each evaluation of the last part."""
    told = told_privacy(saved.record, saved.last_evaluated["round"], saved.last_part)
    return {"privacy": told} if told else {}


def _mask(config: RunConfig, saved: SavedRun) -> dict[str, dict[str, float]]:
    """Return the fraction of each kind of tensor that a persistent mask keeps."""
    if config.method.persistent is None:
        return {}
    model = saved.folder.model(saved.last_evaluated["round"])
    _, kept_N = decode(config.layout, model)
    parts: dict[str, list[Mask]] = {}
    for tensor in config.layout.tensors:
        parts.setdefault(_KINDS[tensor.kind], []).append(kept_N[config.layout.slices[tensor.name]])
    return {"mask_keeps": {k: float(np.concatenate(part).mean()) for k, part in parts.items()}}


def summary_table(summary: Mapping[str, Any], saved: SavedRun) -> Table:
    """Return a summary of a saved run as a table for people."""
    table = Table(show_header=False)
    rounds, cohort = summary["rounds"], summary["server"]["cohort"]
    transfers = summary["participations"]
    ledgers = {kind: summary.get(f"{kind}_ledger_bytes") for kind in ("mask", "change")}
    wasted = summary["wasted_bytes"]
    seen = summary.get("real_over_predicted_bytes")
    for name, value in (
        ("method", summary["method"]),
        ("configuration", summary["configuration"]),
        *(
            (f"{kind} ledger", f"at most {format_bytes(nbytes)} on the server")
            for kind, nbytes in ledgers.items()
            if nbytes
        ),
        *([("mask keeps", _mask_text(summary["mask_keeps"]))] if "mask_keeps" in summary else []),
        *([("privacy", summary["privacy"]["text"])] if "privacy" in summary else []),
        ("network", summary["network"]),
        ("rounds", f"{rounds} of {cohort} clients{_policy(summary)}"),
        (
            "validation accuracy",
            f"{summary['validation_accuracy']:.3f} ({part_text(summary['validation_models'])}, of "
            "this run alone)",
        ),
        ("at the last evaluation", f"{summary['last_evaluation']['accuracy']:.3f}"),
        ("test accuracy", f"{summary['test_accuracy']:.3f} {_test_interval(summary['test'])}"),
        *([("own accuracy", summary["own"]["of"])] if "own" in summary else []),
        ("bytes down", _both_bytes(summary["down_bytes"], transfers)),
        ("bytes up", _both_bytes(summary["up_bytes"], transfers)),
        *([("predicted bytes", _prediction_text(seen))] if seen else []),
        *([("wasted", f"{format_bytes(wasted)} of these")] if wasted else []),
        *_time_rows(saved),
    ):
        table.add_row(name, value)
    return table


def _time_rows(saved: SavedRun) -> list[tuple[str, str]]:
    """Return the rows on simulated time: its spread, the recorded fleet and its straggler."""
    time, recorded_s = saved.time, saved.last_evaluated["closed_at_s"]
    if time.method == "recorded":
        return [("simulated time", f"{time.text} on the recorded fleet; {SHAPED_NOTE}")]
    if time.draws == 1:
        rows = [("simulated time", f"{time.text}; {nothing_drawn_note(saved.profile.name)}")]
    else:
        legend = SPREAD_LEGEND + (f"; {PROBED_LEGEND}" if time.method == "probed" else "")
        slower = sum(other < recorded_s for other in time.seconds)
        own = (
            f"{format_duration(recorded_s)} on the profile's own fleet (seed {saved.profile.seed}),"
            f" slower than {slower} of {time.draws} fleets"
        )
        rows = [("simulated time", f"{time.text}: {legend}")]
        rows += [("slow fleets", saved.slow_fleets.text)] if saved.slow_fleets else []
        rows += [("recorded time", own)]
    if saved.profile.is_traffic_alone:
        rows.append(("its seconds", traffic_alone_note(saved.profile.name)))
    if (straggler := saved.straggler) is None:
        return rows
    link = saved.profile.links(saved.config.fleet.clients)[straggler.client]
    return [*rows, ("straggler", "; ".join(straggler.sentences(link)))]


def _prediction_text(made: Mapping[str, float]) -> str:
    first, last = made["first_round"], made["last_round"]
    return (
        f"real / predicted bytes in rounds {first}-{last}: down {made['down']:.2f}, up "
        f"{made['up']:.2f} (predictions of such messages were within "
        f"{_percent(made['expected_error_down'])} down, {_percent(made['expected_error_up'])} up "
        "on recorded runs); with this correction the prediction of later rounds is off by "
        f"{_error_text(made['error_down'])} down, {_error_text(made['error_up'])} up"
    )


def _percent(error: float) -> str:
    return f"{max(1, round(100 * error))} %"


def _error_text(error: float) -> str:
    return f"{100 * error:+.1f} %"


def _policy(summary: Mapping[str, Any]) -> str:
    if summary["policy"] == "wait-all":
        return ""
    return f", {summary['policy']}: {summary['reports'] / summary['rounds']:.3g} reports a round"


def _mask_text(fractions: Mapping[str, float]) -> str:
    """Return the fraction of each kind of tensor that a mask keeps, and which kinds are gone."""
    words = ", ".join(f"{100 * part:.3g} % of {kind}" for kind, part in fractions.items())
    gone = [kind for kind, part in fractions.items() if part == 0]
    return f"{words}; {' and '.join(gone)} no longer train" if gone else words


def _both_bytes(total: int, transfers: int) -> str:
    return f"{format_bytes(total)} ({format_bytes(total / transfers)} a client and round)"
