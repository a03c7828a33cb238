"""Sections 5.1 and 5.2 of the thesis, tried: every method on the same tasks, tuned alike.

    python experiments/thesis_claims/study.py digits-iid digits-dirichlet
    python experiments/thesis_claims/study.py 20news
    python experiments/thesis_claims/study.py --timing

Trains what ``runs/thesis_claims`` lacks, one process a core; interrupted runs continue. A setting
whose data were made from the same inputs by the same code is drawn again without training.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import sys
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from floss_sim import RunConfig, RunFolder, load_profile, load_task, open_learner, run
from floss_sim.errors import NonFiniteUpdateError
from floss_sim.files import write_atomically
from floss_sim.fingerprints import fingerprint
from floss_sim.methods import method_from_name
from floss_sim.network import NetworkProfile
from floss_sim.protocol import NO_STATE, Arrival, Learner
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.tasks import Task
from floss_sim.training import learner_identity, measure_on_test
from planner.execution.workers import worker_pool

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / HERE.name
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One run of the study: where it is kept, what it is and how far it goes."""

    path: Path
    config: RunConfig
    profile: NetworkProfile
    rounds: int
    eval_every: int


def main(arguments: Sequence[str]) -> None:
    """Bring the named settings up to date."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    for setting in inputs["setting"]:
        if setting["name"] in arguments:
            bring_up_to_date(setting, inputs)
    if "--timing" in arguments:
        setting = next(s for s in inputs["setting"] if "timing" in s)
        write(HERE / "timing.csv", time_rounds(setting, methods_of(setting, inputs)))


def bring_up_to_date(setting: Row, inputs: Row) -> None:
    """Tune, train and write the data of one setting."""
    methods = methods_of(setting, inputs)
    profile = load_profile(inputs["network"])
    rates = list(product(setting["tuning"]["client_lr"], setting["tuning"]["server_lr"]))
    mark = fingerprint({"setting": setting, "methods": methods, "network": inputs["network"]})[:16]
    data_path, tuned_path = (HERE / f"{setting['name']}{end}.csv" for end in ("", "-tuning"))
    if data_path.exists() and f"{mark}," in data_path.read_text(encoding="utf-8"):
        print(f"{data_path.name} is up to date", file=sys.stderr)
        return
    with worker_pool(int(os.environ.get("WORKERS", os.cpu_count() or 1))) as pool:
        tuning = [
            (method, pair, tuning_job(setting, method, pair, profile))
            for method in methods
            for pair in rates
        ]
        scores = submit_all(pool, [job for _, _, job in tuning], "tuning")
        rows = [
            {"mark": mark, "label": m["label"], "client_lr": c, "server_lr": s, "accuracy": score}
            for (m, (c, s), _), score in zip(tuning, scores, strict=True)
        ]
        write(tuned_path, rows)
        best = {m["label"]: choose(rows, m["label"]) for m in methods}
        jobs = [
            (method, seed, job_of(setting, method, best[method["label"]], seed, profile))
            for method in methods
            for seed in setting["more_seeds" if method.get("more") else "seeds"]
        ]
        submit_all(pool, [job for *_, job in jobs], "training")
        tests = pool.map(measure_test, [job for *_, job in jobs])
        data = [
            {
                "mark": mark, "label": method["label"], "seed": seed,
                "client_lr": best[method["label"]][0], "server_lr": best[method["label"]][1],
                "test_accuracy": test, **row,
            }
            for (method, seed, job), test in zip(jobs, tests, strict=True)
            for row in curve(job)
        ]  # fmt: skip
    write(data_path, data)


def methods_of(setting: Row, inputs: Row) -> list[Row]:
    """Return the methods of a setting: those of the figures, and more if asked."""
    return [m for m in inputs["method"] if "more_seeds" in setting or not m.get("more")]


def tuning_job(
    setting: Row, method: Row, pair: tuple[float, float], profile: NetworkProfile
) -> Job:
    """Return the run that tries a pair of learning rates."""
    tuning = setting["tuning"]
    config = config_of(setting, method, pair, tuning["seed"])
    name = f"{slug(method['label'])}-c{pair[0]}-s{pair[1]}"
    path = RUNS / setting["name"] / "tuning" / name
    return Job(path, config, profile, tuning["rounds"], tuning.get("eval_every", 10))


def job_of(
    setting: Row, method: Row, pair: tuple[float, float], seed: int, profile: NetworkProfile
) -> Job:
    """Return a run that is reported."""
    config = config_of(setting, method, pair, seed)
    name = f"{slug(method['label'])}-c{pair[0]}-s{pair[1]}-seed{seed}"
    path = RUNS / setting["name"] / name
    return Job(path, config, profile, setting["rounds"], setting["eval_every"])


def config_of(setting: Row, method: Row, pair: tuple[float, float], seed: int) -> RunConfig:
    """Return the run of a method in a setting with a pair of (client, server) learning rates."""
    task = loaded(setting["task"], setting.get("package"))
    chosen = method_from_name(method["name"], **method.get("options", {}))
    config = RunConfig.of(task, chosen, rank=method.get("rank", 1), seed=seed)
    return config.with_(
        fleet=setting.get("fleet"),
        client={"learning_rate": pair[0]},
        server={"learning_rate": pair[1]},
    )


@lru_cache
def loaded(name: str, package: str | None) -> Task:
    """Return a task, packaged or beside this file, with the backbone of a package if given."""
    place = str(HERE / name) if name.endswith(".toml") else name
    backbone = str(import_module(package).MODEL_DIR) if package else None
    return load_task(place, backbone=backbone)


def slug(label: str) -> str:
    """Return a label as a file name."""
    return "-".join("".join(c if c.isalnum() or c == "." else " " for c in label).split())


def time_rounds(setting: Row, methods: Sequence[Row]) -> list[Row]:
    """Return seconds a round of each method over dense LoRA's, measured in turns: medians.

    Five clients train in every round; evaluation and committing are left out.
    """
    pair = (setting["tuning"]["client_lr"][0], setting["tuning"]["server_lr"][0])
    configs = [config_of(setting, method, pair, 0) for method in methods]
    learners = [open_learner(config, "cpu") for config in configs]
    seconds: list[list[float]] = [[] for _ in methods]
    for repetition in range(setting["timing"]["repetitions"] + 1):
        for config, learner, times in zip(configs, learners, seconds, strict=True):
            began = time.perf_counter()
            for number in range(setting["timing"]["rounds"]):
                play_round(config, learner, number)
            if repetition:  # the first turn warms up
                times.append(time.perf_counter() - began)
    reference = seconds[0]
    return [
        {
            "label": method["label"],
            "relative": statistics.median(a / b for a, b in zip(times, reference, strict=True)),
            "round_s": statistics.median(times) / setting["timing"]["rounds"],
        }
        for method, times in zip(methods, seconds, strict=True)
    ]


def play_round(config: RunConfig, learner: Learner, number: int) -> None:
    """Let the learner play the same five clients' round, without a network."""
    cohort = draw_cohort(config.seed, number, config.fleet.clients, config.server.cohort)
    sent = [learner.dispatch(client, 5 * number + i) for i, client in enumerate(cohort.clients)]
    learner.aggregate(
        [Arrival(one, learner.train(one, NO_STATE), 1 / len(sent), 0) for one in sent]
    )


def submit_all(pool: Any, jobs: Sequence[Job], stage: str) -> list[float]:
    """Run the jobs; return the score of each, in order."""
    futures: dict[Future[float], int] = {pool.submit(train, j): i for i, j in enumerate(jobs)}
    scores = [0.0] * len(jobs)
    for done, future in enumerate(as_completed(futures), start=1):
        scores[futures[future]] = future.result()
        print(f"\r{stage}: {done} of {len(jobs)} runs", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return scores


def train(job: Job) -> float:
    """Train a run to its end; return the mean validation accuracy of its last three evaluations.

    A run that diverges scores 0.
    """
    failed = job.path.with_suffix(".diverged.json")
    if failed.exists():
        return 0.0
    learner = learner_identity(job.config)
    folder = RunFolder.open(job.path, job.config.description(learner))
    with folder.lock():
        if folder.manifest().rounds < job.rounds:
            try:
                learner = open_learner(job.config, "cpu")
                run(
                    job.config, job.profile, learner, rounds=job.rounds, folder=folder,
                    eval_every=job.eval_every, commit_every_s=10,
                )  # fmt: skip
            except NonFiniteUpdateError as error:
                write_atomically(failed, json.dumps({"error": str(error)}))
                return 0.0
        accuracies = folder.record().evaluated()["accuracy"].to_pylist()
    return statistics.mean(accuracies[-3:])


def measure_test(job: Job) -> float | None:
    """Return the test accuracy after the last round, measured once."""
    if job.path.with_suffix(".diverged.json").exists():
        return None
    folder = RunFolder.read(job.path)
    with folder.lock():
        (made,) = folder.ensure_on_test(
            [job.rounds], lambda blobs: measure_on_test(job.config, blobs, "cpu")
        )
    return made.accuracy


def curve(job: Job) -> list[Row]:
    """Return the evaluated rounds of a run."""
    names = ("round", "closed_at_s", "total_bytes", "accuracy", "loss", "dense_accuracy")
    record = RunFolder.read(job.path).record()
    down, up = (
        sum(record.rounds[name].to_pylist()) / record.rounds.num_rows / job.config.server.cohort
        for name in ("down_bytes", "up_bytes")
    )
    return [
        {**{name: row[name] for name in names}, "down_bytes": down, "up_bytes": up}
        for row in record.evaluated().to_pylist()
    ]


def choose(rows: Sequence[Row], label: str) -> tuple[float, float]:
    """Return the learning rates of best validation accuracy; ties go to the smaller ones."""
    own = [row for row in rows if row["label"] == label]
    best = max(own, key=lambda r: (r["accuracy"], -r["client_lr"], -r["server_lr"]))
    return best["client_lr"], best["server_lr"]


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
