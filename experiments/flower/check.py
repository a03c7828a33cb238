"""Check the exported app in Flower itself: the same training, bit for bit, and the same bytes.

    python experiments/flower/check.py --flower .venv-flower/bin --out experiments/flower/check.md

The methods of ``METHODS`` run in Flower's simulation engine, and one on a SuperLink with nodes as
processes. Each record must equal the one of ``floss-sim run --learner sequential``. Then come the
cases of :mod:`cases`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from cases import cases
from deployment import deployed, run_app, simulate_app
from places import loopback

from floss_sim import RunConfig, RunFolder, RunRecord, load_profile, load_task, open_learner, run
from floss_sim.deployment import export_app
from floss_sim.methods import DifferentialPrivacy, Method, dense, floss, method_from_name

CLIENTS, COHORT, ROUNDS, RANK = 4, 3, 3, 4
METHODS = {
    "floss": floss(1 / 4, 1 / 16),
    "dense": dense(),
    "ffa": method_from_name("ffa", up_density=1 / 4),
    "error feedback": method_from_name("floss", up_density=1 / 16, error_feedback=True),
    "int8": method_from_name("floss", down_values="int8", up_values="int8"),
    "lora-a2": method_from_name("lora-a2", up_density=1 / 2),
    "ecolora": method_from_name("ecolora", segments=2, half_life=1.0),
    "freezing": method_from_name("freezing", freeze_every=1),
    "fed-sb": method_from_name("fed-sb", up_density=1 / 2),
    "flora": method_from_name("flora"),
    "fedex-lora": method_from_name("fedex-lora", down_values="int8"),
    "fedkseed": method_from_name("fedkseed", seeds=64, steps=8),
    "sparse-adapter": method_from_name("sparse-adapter", dense_head=True),
    "fedsa-lora": method_from_name("fedsa-lora"),
    "feddpa": method_from_name("feddpa"),
    "noise of a sum": method_from_name("ffa", privacy=DifferentialPrivacy(0.1, 2.0)),
    "noise by the server": method_from_name(
        "floss", up_density=1 / 4, privacy=DifferentialPrivacy(0.1, 2.0, "server")
    ),
    "change ledger": method_from_name("rolora", change_ledger=True),
}
COLUMNS = ["round", "version", "reports", "down_bytes", "up_bytes", "wasted_bytes", "accuracy",
           "loss", "dense_accuracy", "dense_loss"]  # fmt: skip


def config_of(method: Method, clients: int = CLIENTS) -> RunConfig:
    """Return a small run of a method."""
    changes = {
        "partition.clients": clients, "server.cohort": min(clients, COHORT),
        "partition.law": "iid", "data.limit": 200,
    }  # fmt: skip
    return RunConfig.of(load_task("digits", changes=changes), method, rank=RANK)


def sequential(config: RunConfig) -> RunRecord:
    """Return the record of the same run in the simulator."""
    learner = open_learner(config, "cpu", 1, "sequential")
    return run(config, load_profile("lte"), learner, rounds=ROUNDS, eval_every=1)


def rows(flower: Path, work: Path) -> Iterator[tuple[str, str, bool, int, float]]:
    """Yield place, method, whether the records are equal, payload bytes and seconds of each run."""
    with (
        loopback(0) as places,
        deployed(places, flower, work / "engine", simulation=True) as running,
    ):
        for name, method in METHODS.items():
            config = config_of(method)
            app = _export(config, work / "engine" / name.replace(" ", "-"))
            measured = simulate_app(running, app, CLIENTS, "--run-config", 'noise="seed"')
            yield "simulation engine", name, *_compared(config, app), measured.seconds
    config = config_of(METHODS["floss"], clients=2)
    with loopback(2) as places, deployed(places, flower, work / "links") as running:
        app = _export(config, work / "links" / "floss")
        measured = run_app(running, app, "floss")
        yield "SuperLink and nodes", "floss", *_compared(config, app), measured.seconds


def _export(config: RunConfig, out: Path) -> Path:
    return export_app(config, out, task="digits", rounds=ROUNDS, eval_every=1)


def _compared(config: RunConfig, app: Path) -> tuple[bool, int]:
    found, wanted = RunFolder.read(app / "record").record(), sequential(config)
    private, columns = config.method.private, COLUMNS
    if private and private.averaged:  # a mean that the app's server lacks
        columns = [name for name in COLUMNS if "accuracy" not in name and "loss" not in name]
    same = found.rounds.select(columns).equals(wanted.rounds.select(columns))
    if private:
        own = (record.rounds["own_accuracy"].to_pylist() for record in (found, wanted))
        same = same and np.allclose(*own, rtol=0, atol=1e-6)
    return same, sum(found.transfers["nbytes"].to_pylist())


def main() -> None:
    """Check, write the table, and end with code 1 if a record differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flower", type=Path, required=True, help="bin of Flower's environment")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("flower-work"))
    given = parser.parse_args()
    work, flower = given.work.absolute(), given.flower.absolute()
    shutil.rmtree(work, ignore_errors=True)
    show = [flower / "python", "-c", "import flwr; print(flwr.__version__)"]
    version = subprocess.run(show, capture_output=True, text=True, check=True)  # noqa: S603
    lines = [
        f"# The app in Flower {version.stdout.strip()}, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{ROUNDS} rounds, {COHORT} of {CLIENTS} clients. Made by `make check-flower`.",
        "",
        "| place | method | record equals the sequential learner's | payload bytes | seconds |",
        "|---|---|---|---|---|",
    ]
    failed = False
    for place, name, same, nbytes, seconds in rows(flower, work):
        failed |= not same
        lines.append(
            f"| {place} | {name} | {'yes' if same else 'NO'} | {nbytes:,} | {seconds:.0f} |"
        )
        print(lines[-1], flush=True)
    lines += ["", "| case | seen | as it should be |", "|---|---|---|"]
    for case, seen, right in cases(flower, work / "cases"):
        failed |= not right
        lines.append(f"| {case} | {seen} | {'yes' if right else 'NO'} |")
        print(lines[-1], flush=True)
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.rmtree(work, ignore_errors=True)
    if failed:
        raise SystemExit("a record or a case is not as it should be")


if __name__ == "__main__":
    main()
