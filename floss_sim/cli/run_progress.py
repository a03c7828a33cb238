"""Progress of ``floss-sim run`` on stderr: a bar on a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import Progress

from floss_sim.cli.console import progress_bar
from floss_sim.cli.progress_log import ProgressLog
from floss_sim.network import NetworkProfile
from floss_sim.runs.config import RunConfig
from floss_sim.saved_run import SavedRun, train
from floss_sim.units import format_duration

_EVERY_S = 0.2  # seconds between updates within a round, at least


def train_with_progress(
    config: RunConfig, profile: NetworkProfile, *, rounds: int, **chosen: Any
) -> SavedRun:
    """Train a run with its progress on stderr; ``chosen`` are further arguments of ``train``."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with progress_bar(console, "{task.fields[note]}") as bar:
        progress = RunProgress(bar, ProgressLog(console.print), config.method.name, rounds)
        with progress.log.ticking():
            return train(
                config,
                profile,
                rounds=rounds,
                on_start=progress.start,
                on_round=progress.end_round,
                on_work=progress.work,
                say=console.print,
                **chosen,
            )


class RunProgress:
    """Progress of one run.

    Args:
        bar: The bar; disabled where stderr is no terminal.
        log: The log, which is used instead of a disabled bar.
        method: Name of the method, beside the bar.
        rounds: Rounds in all, as asked for.
    """

    def __init__(self, bar: Progress, log: ProgressLog, method: str, rounds: int) -> None:
        self.log = log
        self._bar, self._method, self._rounds = bar, method, rounds
        self._done = 0
        self._trains = True
        self._note = self._accuracy = ""
        self._shown_s = -_EVERY_S
        if bar.disable:
            log.update(0, 0, "loading data and model")

    def start(self, done: int) -> None:
        """Show a run of which some rounds are done."""
        self._trains = done < self._rounds
        self._done, self._rounds = done, max(self._rounds, done)
        self._bar.add_task(self._method, total=self._rounds, completed=done, note="")

    def end_round(self, row: Mapping[str, Any]) -> None:
        """Show the end of a round, given its row of the record."""
        self._done = row["round"]
        if row["accuracy"] is not None:
            self._accuracy = f", accuracy {row['accuracy']:.3f}"
        self._note = f"simulated {format_duration(row['closed_at_s'])}{self._accuracy}"
        self._show("", 0.0)

    def work(self, what: str, done: int, total: int) -> None:
        """Show what the run does now; arguments are those of ``OnWork``."""
        now_s = time.monotonic()
        if what == "training" and now_s - self._shown_s < _EVERY_S:
            return
        self._shown_s = now_s
        self._show(self._words(what, done, total), done / (total + 1))  # aggregation follows

    def _words(self, what: str, done: int, total: int) -> str:
        if what == "loading":
            return "loading data and model"
        if what == "training":
            return f"round {self._done + 1}: {done} of {total} local steps"
        if what == "evaluating":
            return f"evaluating after round {self._done + 1}"
        return "measuring test accuracy"

    def _show(self, words: str, part: float) -> None:
        """Show what is done within a round.

        Args:
            words: What is done; empty at the end of a round.
            part: Share of the round that is done, 0 to 1.
        """
        done = self._done + part
        note = "; ".join(text for text in (self._note, words) if text)
        self._bar.update(self._bar.task_ids[0], completed=done, note=note)
        if self._bar.disable:
            text = ", ".join(text for text in (self._note, words) if text)
            line = f"{self._done} of {self._rounds} rounds"
            total = self._rounds if self._trains else 0  # nothing to train: a line if it takes long
            self.log.update(done, total, f"{line}, {text}")
