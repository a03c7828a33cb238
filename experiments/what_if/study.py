"""What-if: which configuration reaches the target first, on which network, under which policy.

    python experiments/what_if/study.py

Trains what ``runs/what_if`` lacks (interrupted runs continue), then re-times and writes
``results.md`` and ``results.json``.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from floss_sim import RunConfig, RunFolder, load_profile, load_task, open_learner, run
from floss_sim.analysis.comparison import Configuration
from floss_sim.analysis.costs import account
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.analysis.what_if import replay_comparison, scenario
from floss_sim.methods import method_from_name
from floss_sim.network import NetworkProfile
from floss_sim.network.fleets.lognormal import LogDuration
from floss_sim.network.named_changes import with_changes
from floss_sim.network.transport import Transport
from floss_sim.runs.conditions import check_conditions, conditions
from floss_sim.simulator import parse_policy
from floss_sim.training import learner_identity
from floss_sim.units import format_bytes, format_duration

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / HERE.name
RECORDED_ON = "paper-200-20"
NETWORKS = (
    "paper-200-20", "wifi", "broadband", "cable", "satellite", "5g", "lte", "mobile-mixed", "3g",
)  # fmt: skip
FULL = Transport(
    framing="grpc", tls=True, headers="ipv4", connection="new", slow_start=True, initial_window=10
)
KEPT = FULL.model_copy(update={"connection": "kept"})
Row = dict[str, Any]


def main() -> None:
    """Train what is missing, then make the tables."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    configurations = [record(inputs, one) for one in inputs["recorded"]]
    target = inputs["target"]
    tables = {
        "networks": networks(configurations, target),
        "upload ratio": swept(configurations, target, "upload-ratio", (1, 2, 4, 8, 16, 32, 64)),
        "server": swept(
            configurations, target, "server-ingress",
            ("1Mbit/s", "5Mbit/s", "20Mbit/s", "100Mbit/s", "1Gbit/s"),
        ),
        "transport": transports(configurations, target),
        "policies": policies(inputs),
    }  # fmt: skip
    (HERE / "results.json").write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")
    text = "\n".join(f"## {name}\n\n{markdown(rows)}" for name, rows in tables.items())
    (HERE / "results.md").write_text(text, encoding="utf-8")
    print(text)


def record(inputs: Row, method: Row) -> Configuration:
    """Return a configuration, trained where it was not yet."""
    paths = [train(inputs, method, seed) for seed in inputs["seeds"]]
    (configuration,) = replay_comparison(paths, RECORDED_ON).configurations
    return Configuration(method["label"], configuration.method, configuration.runs)


def train(inputs: Row, method: Row, seed: int, policy: Row | None = None) -> Path:
    """Train one run as far as it is asked for; return its folder."""
    chosen = method_from_name(method["name"], **method.get("options", {}))
    config = RunConfig.of(load_task(inputs["task"]), chosen, rank=method["rank"], seed=seed)
    rounds, profile, rule = inputs["rounds"], load_profile(RECORDED_ON), parse_policy("wait-all")
    if policy:
        config = config.with_(server={"cohort": policy["cohort"]})
        rounds, profile = inputs["policies"]["rounds"], load_profile(inputs["policies"]["network"])
        rule = parse_policy(policy["policy"], policy.get("late"))
        check_conditions(config, profile, rule)
    name = f"{(policy or method)['label']}-seed{seed}"
    path = RUNS / re.sub(r"[^A-Za-z0-9.]+", "-", name)
    shaped = conditions(profile, rule)
    folder = RunFolder.open(path, config.description(learner_identity(config), shaped))
    with folder.lock():
        if folder.manifest().rounds < rounds:
            print(f"training {path.name}", file=sys.stderr)
            run(
                config, profile, open_learner(config, "cpu"), rounds=rounds, policy=rule,
                folder=folder, eval_every=inputs["eval_every"],
            )  # fmt: skip
    return path


def time_to(
    configuration: Configuration, profile: NetworkProfile, target: float
) -> TimeSpread | None:
    """Return the time in which the mean over seeds reaches a target, over drawn fleets, or None."""
    there = scenario(configuration, profile).configuration
    point = there.target_point(target)
    return None if point is None else there.time(point.round)


def one_row(
    name: str, configurations: Sequence[Configuration], profile: NetworkProfile, target: float
) -> Row:
    """Return the time to the target of each configuration; the least median is bold."""
    times = {one.label: time_to(one, profile, target) for one in configurations}
    medians = {label: time.median_s if time else math.inf for label, time in times.items()}
    least = min(medians.values())
    words = {label: time.text if time else "not reached" for label, time in times.items()}
    marked = {k: f"**{word}**" if medians[k] == least else word for k, word in words.items()}
    return {"": name, **marked}


def networks(configurations: Sequence[Configuration], target: float) -> list[Row]:
    """Return the time to the target on each packaged network."""
    return [one_row(name, configurations, load_profile(name), target) for name in NETWORKS]


def swept(
    configurations: Sequence[Configuration], target: float, name: str, values: Sequence[Any]
) -> list[Row]:
    """Return the time to the target as one property of the paper's network changes."""
    paper = load_profile(RECORDED_ON)
    return [
        one_row(f"{name} {v}", configurations, with_changes(paper, {name: str(v)}), target)
        for v in values
    ]


def transports(configurations: Sequence[Configuration], target: float) -> list[Row]:
    """Return the time to the target on LTE by how much of the transport is simulated."""
    lte = load_profile("lte")
    instant = lte.with_changes("no delay", rtt=0.0)
    none = {"compute_per_example": LogDuration(median="0 s")}
    clients = tuple(group.model_copy(update=none) for group in lte.clients)
    instant = instant.model_copy(update={"clients": clients})
    stages = {
        "bytes / rate": instant,
        "+ round trip and compute": lte,
        "+ gRPC, TLS, headers, slow start": lte.model_copy(update={"transport": KEPT}),
        "+ a new connection for each message": lte.model_copy(update={"transport": FULL}),
    }
    return [one_row(name, configurations, profile, target) for name, profile in stages.items()]


def policies(inputs: Row) -> list[Row]:
    """Return what each policy costs until the target, by seed means; each was trained."""
    settings = inputs["policies"]
    method = next(m for m in inputs["recorded"] if m["label"] == settings["method"])
    return [policy_row(inputs, method, policy) for policy in settings["run"]]


def policy_row(inputs: Row, method: Row, policy: Row) -> Row:
    """Return the means over the seeds of one policy, at the first round that reaches the target."""
    folders = [RunFolder.read(train(inputs, method, s, policy)) for s in inputs["seeds"]]
    records = [folder.record() for folder in folders]
    settings = inputs["policies"]
    profile = load_profile(settings["network"])
    curves = [record.evaluated().to_pylist() for record in records]
    points = [[curve[i] for curve in curves] for i in range(len(curves[0]))]
    reached = [p for p in points if fmean(row["accuracy"] for row in p) >= settings["target"]]
    totals = [account(record, profile).total() for record in records]
    wasted = fmean(t["wasted_bytes"] / (t["wasted_bytes"] + t["useful_bytes"]) for t in totals)
    row = {
        "": policy["label"],
        "a round": format_duration(
            fmean(r.rounds["closed_at_s"][-1].as_py() / r.rounds.num_rows for r in records)
        ),
        "wasted": f"{wasted:.0%}",
        "last": f"{fmean(curve[-1]['accuracy'] for curve in curves):.3f}",
    }
    if not reached:
        return {**row, "rounds": "-", "bytes": "-", "time": "not reached"}
    first = reached[0]
    return {
        **row,
        "rounds": str(first[0]["round"]),
        "bytes": format_bytes(fmean(one["total_bytes"] for one in first)),
        "time": format_duration(fmean(one["closed_at_s"] for one in first)),
    }


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    head = f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}\n"
    return head + "".join(f"| {' | '.join(row.values())} |\n" for row in rows)


if __name__ == "__main__":
    main()
