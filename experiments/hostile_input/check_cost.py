"""Cost of checking run folders: a resume of 400 rounds, 500 stored runs, a plan asked again.

Usage:
    python experiments/hostile_input/check_cost.py [--rounds 400] [--runs 500]

Seconds are of one process on a quiet machine; shares are what to compare.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from floss_sim import RunConfig, RunFolder, floss, load_profile, load_task, train
from floss_sim.records import file_checks, folder, manifest, sealed_json, tables
from planner import Request, grid, plan

spent: dict[str, float] = {}


def timed(owner: Any, name: str) -> None:
    """Replace a function by one that adds its seconds to ``spent``; nested calls count once."""
    real, depth = getattr(owner, name), [0]

    def call(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        depth[0] += 1
        try:
            return real(*arguments, **options)
        finally:
            depth[0] -= 1
            if not depth[0]:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

    setattr(owner, name, call)


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds of an action."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def resume(home: Path, rounds: int) -> Path:
    """Print the seconds of a resume, and of the checks in it; return the run folder."""
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16)
    network, path = load_profile("paper-200-20"), home / "run"
    train(config, network, rounds=rounds, out=path)
    files = [file for file in path.iterdir() if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"folder: {len(files)} files, {size / 1e6:.1f} MB")
    whole_s, checks_s = [], []
    for more in (1, 2, 3):
        spent.clear()
        whole_s.append(
            seconds(lambda more=more: train(config, network, rounds=rounds + more, out=path))
        )
        checks_s.append(sum(spent.get(name, 0) for name in ("verify", "read_sealed", "check_rows")))
    share = median(checks_s) / median(whole_s)
    print(
        f"resume of {rounds} rounds: {median(whole_s):.2f} s, of these checks "
        f"{1000 * median(checks_s):.1f} ms ({100 * share:.2f} %)"
    )
    return path


def read_store(home: Path, run: Path, runs: int) -> None:
    """Print the seconds of reading many runs: nothing remembered, and everything remembered."""
    store = home / "store"
    for number in range(runs):
        shutil.copytree(run, store / f"{number:032x}")  # times are kept
    paths = sorted(store.iterdir())
    time.sleep(1.5)

    def read_all() -> None:
        checks = file_checks.FileChecks(home / "checked.jsonl")
        for path in paths:
            RunFolder.read(path, checks).record()

    read_all()  # page cache
    (home / "checked.jsonl").unlink()
    for what in ("nothing remembered", "everything remembered", "everything remembered"):
        spent.clear()
        whole_s = seconds(read_all)
        print(
            f"{runs} stored runs, {what}: {whole_s:.2f} s, of these files "
            f"{spent['verify']:.3f} s, manifests and other JSON {spent['read_sealed']:.3f} s"
        )


def ask_again(home: Path) -> None:
    """Print the seconds of a plan whose runs are all stored, and of the checks in it."""
    asked = Request.of(
        "digits", "paper-200-20", budget="20-dense-rounds", reference_rank=4, max_rounds=60,
        effort=0.5, candidates=grid([1, 2, 4], [1.0, 1 / 4], [1 / 4, 1 / 16]),
    )  # fmt: skip

    def ask() -> None:
        plan(asked, store=home / "planned", workers=1)

    ask()
    runs = len(list((home / "planned").glob("**/run.json")))
    time.sleep(1.5)  # files that have just changed are not remembered
    ask()
    spent.clear()
    whole_s = seconds(ask)
    checks_s = spent.get("verify", 0) + spent.get("read_sealed", 0)
    print(
        f"plan asked again, {runs} stored runs: {whole_s:.2f} s, of these checks "
        f"{1000 * checks_s:.1f} ms ({100 * checks_s / whole_s:.2f} %)"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--runs", type=int, default=500)
    chosen = parser.parse_args()
    timed(file_checks.FileChecks, "verify")
    timed(sealed_json, "read_sealed")
    timed(tables, "check_rows")
    for module in (folder, manifest):
        module.read_sealed = sealed_json.read_sealed  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as place:
        run = resume(Path(place), chosen.rounds)
        read_store(Path(place), run, chosen.runs)
        ask_again(Path(place))


if __name__ == "__main__":
    main()
