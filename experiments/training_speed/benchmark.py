"""What a round of training costs: the bank, the sequential learner, and the published style.

python experiments/training_speed/benchmark.py [--cohort 5] [--device cpu] [--out results.csv]
"""

from __future__ import annotations

import argparse
import csv
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from published import Published

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run
from floss_sim.malloc import keep_freed_memory
from floss_sim.training import local_sgd
from floss_sim.training.bank import step
from floss_sim.training.bank.model import Bank
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.models import flat_model

HERE = Path(__file__).parent
PHASES = ("forward", "backward", "optimizer", "evaluation")
COLUMNS = (
    "learner", "task", "device", "cohort", "rank", "repetition", "seconds", *PHASES, "other",
)  # fmt: skip
# Where each phase happens: of the bank, and of PEFT's loop.
PLACES = [
    ("forward", step.Step, "loss"),
    ("backward", torch.autograd, "grad"),
    ("optimizer", step.ClientRows, "collect"),
    ("optimizer", step.ClientRows, "move"),
    ("forward", flat_model.FlatModel, "outputs"),
    ("forward", local_sgd.functional, "cross_entropy"),
    ("forward", Published, "outputs"),
    ("backward", torch.Tensor, "backward"),
    ("optimizer", torch.optim.SGD, "step"),
    ("evaluation", TorchLearner, "evaluate"),
]


class Clock:
    """Seconds of the process on the CPU, else of the wall with the device waited for."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.phases: Counter[str] = Counter()
        self._inside = False

    def now(self) -> float:
        """Return the seconds."""
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that adds its time to a phase; what is inside another is its own."""

        def call(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return function(*arguments, **named)
            self._inside, began = True, self.now()
            try:
                return function(*arguments, **named)
            finally:
                self._inside = False
                self.phases[phase] += self.now() - began

        return call

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time the phases of everything that is called meanwhile; no step is replayed whole."""
        patches = [
            patch.object(place, name, self.timed(phase, getattr(place, name)))
            for phase, place, name in PLACES
        ]
        patches.append(patch.object(Bank, "take", lambda self, step: step.run()))
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in patches:
                one.stop()


def players(config: RunConfig, device: str, rounds: int) -> dict[str, Callable[[], None]]:
    """Return what plays so many rounds of each peer, from its beginning."""
    network = load_profile("paper-200-20")
    learners = {
        "bank": open_learner(config, device, learner="bank"),
        "sequential": open_learner(config, device, learner="sequential"),
    }
    begin = {name: learner.snapshot() for name, learner in learners.items()}

    def play(name: str) -> None:
        learners[name].restore(begin[name])
        run(config, network, learners[name], rounds=rounds, eval_every=rounds)

    published = Published(config, torch.device(device))

    def play_published() -> None:
        for number in range(1, rounds + 1):
            published.round(number)

    return {
        "bank": lambda: play("bank"),
        "sequential": lambda: play("sequential"),
        "published style": play_published,
    }


def main() -> None:
    """Measure in turns; append to the table, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--cohort", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--out", type=Path, default=HERE / "results.csv")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the commands do
    config = RunConfig.of(load_task(chosen.task), floss(1 / 4, 1 / 16), rank=chosen.rank)
    config = config.with_(server={"cohort": chosen.cohort})
    playing = players(config, chosen.device, chosen.rounds)
    rows: list[dict[str, Any]] = []
    for repetition in range(chosen.repetitions + 1):
        for name, play in playing.items():
            clock = Clock(chosen.device)
            with clock.watching():
                began = clock.now()
                play()
                whole = clock.now() - began
            phases = {phase: clock.phases[phase] / chosen.rounds for phase in PHASES}
            seconds = whole / chosen.rounds - phases["evaluation"]
            other = seconds - sum(v for k, v in phases.items() if k != "evaluation")
            about = {k: getattr(chosen, k) for k in ("task", "device", "cohort", "rank")}
            if repetition:  # the first turn warms up
                said = {"learner": name, "repetition": repetition, "seconds": seconds}
                rows.append({**about, **said, **phases, "other": other})
    write(chosen.out, rows)
    report(rows, list(playing))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to a table."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(
            {k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )


def report(rows: list[dict[str, Any]], names: list[str]) -> None:
    """Print the medians, and ratios of the same repetition."""
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread")
    of = {name: [row for row in rows if row["learner"] == name] for name in names}
    for name in names:
        columns = ("seconds", "forward", "backward", "optimizer", "other", "evaluation")
        medians = {c: 1e3 * statistics.median(row[c] for row in of[name]) for c in columns}
        words = ", ".join(f"{column} {value:.2f}" for column, value in medians.items())
        pairs = zip(of[name], of["bank"], strict=True)
        ratio = statistics.median(row["seconds"] / bank["seconds"] for row, bank in pairs)
        print(f"{name:16} {ratio:5.2f} x the bank; ms a round: {words}")


if __name__ == "__main__":
    main()
