"""One round of digits on a timeline, as the published loop, in turn, and as the bank.

python experiments/training_speed/profile_round.py             # round.csv and round.png
python experiments/training_speed/profile_round.py --draw      # round.png from round.csv
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib.pyplot as plt
import pandas as pd
import published
import torch
from benchmark import PLACES, players

from floss_sim import RunConfig, floss, load_task
from floss_sim.malloc import keep_freed_memory
from floss_sim.methods import exchange, top_k_selectors
from floss_sim.training.learners import local_works
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.server_optimizer import ServerOptimizer

HERE = Path(__file__).parent
TABLE, PICTURE = HERE / "round.csv", HERE / "round.png"
ROUNDS = 20
# What else is named; the innermost name counts. All else of a round is "rest".
ALSO = [
    ("copying the model", copy, "deepcopy"),
    ("optimizer", torch.optim.AdamW, "step"),
    ("top-k", published, "largest"),
    ("top-k", top_k_selectors, "top_k_mask"),
    ("encoding", exchange, "encode"),
    ("decoding", exchange, "decode"),
    ("server's step", ServerOptimizer, "step"),
    ("drawing batches", local_works, "work_of"),
]
COLOURS = {
    "forward": "#4477aa", "backward": "#66ccee", "optimizer": "#228833",
    "copying the model": "#ee6677", "top-k": "#ccbb44", "encoding": "#aa3377",
    "decoding": "#dd88bb", "server's step": "#117733", "drawing batches": "#999933",
    "rest": "#bbbbbb",
}  # fmt: skip
TITLES = {
    "published style": "before: the published style, a copy of the model for each client",
    "sequential": "in turn: PEFT's model, real messages, simulated network",
    "bank": "now: the bank, real messages, simulated network",
}


class Timeline:
    """Which phase the process is in, from instant to instant."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, float, float]] = []
        self._inside = ["rest"]
        self._since = time.process_time()

    def _enter(self, phase: str) -> None:
        self._cut()
        self._inside.append(phase)

    def _leave(self) -> None:
        self._cut()
        self._inside.pop()

    def _cut(self) -> None:
        now = time.process_time()
        self.spans.append((self._inside[-1], self._since, now))
        self._since = now

    def _told(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._enter(phase)
            try:
                return function(*arguments, **named)
            finally:
                self._leave()

        return call

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the phases of everything that is called meanwhile."""
        self.spans.clear()
        self._since = time.process_time()
        places = [place for place in PLACES if place[0] != "evaluation"]
        with ExitStack() as patches:
            for phase, place, name in [*places, *ALSO]:
                told = self._told(phase, getattr(place, name))
                patches.enter_context(patch.object(place, name, told))
            yield
        self._cut()


def measured() -> pd.DataFrame:
    """Return the spans of one round of each peer: of a typical length, of some that are warm.

    Columns: ``learner``, ``phase``, ``began_ms`` and ``ended_ms`` since the round began.
    """
    torch.set_num_threads(1)
    keep_freed_memory()  # as the commands do
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16)
    rows = []
    for name, play in players(config, "cpu", 1).items():
        play()
        played = sorted((spans_of(play) for _ in range(ROUNDS)), key=lambda spans: spans[-1][2])
        rows += [(name, *span) for span in played[ROUNDS // 2]]
    return pd.DataFrame(rows, columns=["learner", "phase", "began_ms", "ended_ms"])


def spans_of(play: Callable[[], None]) -> list[tuple[str, float, float]]:
    """Return the phases of one round, without its evaluation, in ms since it began."""
    timeline = Timeline()
    unevaluated = patch.object(TorchLearner, "evaluate", lambda self, version: None)
    with unevaluated, timeline.watching():
        play()
    first = timeline.spans[0][1]
    return [(phase, 1e3 * (a - first), 1e3 * (b - first)) for phase, a, b in timeline.spans]


def draw(frame: pd.DataFrame) -> None:
    """Draw a row a peer, and write beside it what its phases add up to."""
    figure, panels = plt.subplots(3, figsize=(10, 4.9), sharex=True, layout="constrained")
    for axes, (name, title) in zip(panels, TITLES.items(), strict=True):
        spans = frame[frame["learner"] == name]
        widths = spans["ended_ms"] - spans["began_ms"]
        colours = [COLOURS[phase] for phase in spans["phase"]]
        axes.broken_barh(list(zip(spans["began_ms"], widths, strict=True)), (0, 1), color=colours)
        added = widths.groupby(spans["phase"]).sum().reindex(COLOURS).dropna()
        said = ", ".join(f"{phase} {ms:.1f}" for phase, ms in added.items() if ms >= 0.05)
        axes.set_title(f"{title}: {widths.sum():.0f} ms", loc="left", fontsize="medium")
        axes.set_xlabel(f"ms: {said}", loc="left", fontsize="small")
        axes.set(yticks=[], xlim=(0, None))
        axes.spines[["top", "left", "right"]].set_visible(False)
    figure.suptitle("One round of digits: 5 clients of 22 images, rank 16", fontsize="medium")
    figure.supxlabel("ms of the processor since the round began (one thread)", fontsize="medium")
    patches = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS.values()]
    figure.legend(patches, list(COLOURS), loc="outside right center", fontsize="small")
    figure.savefig(PICTURE, dpi=130)


def main() -> None:
    """Measure unless told otherwise, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true", help="only draw")
    if not parser.parse_args().draw:
        measured().to_csv(TABLE, index=False, float_format="%.4f")
    draw(pd.read_csv(TABLE))


if __name__ == "__main__":
    main()
