"""What training costs a GPU, in one command: seconds, FLOP/s, phases, and how cohorts grow.

python experiments/training_speed/gpu.py --out experiments/training_speed/gpu.csv   # on a GPU
python experiments/training_speed/gpu.py --dry-run      # tiny shapes on the CPU: does it work?
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from benchmark import Clock, players
from gpu_rung import candidates, rung_players
from gpu_turns import Row, graphs, rehearsed, seconds_of, turns_of
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel, ViTConfig, ViTForImageClassification

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run
from floss_sim.families import IMAGES, NEXT_TOKEN
from floss_sim.protocol import Metrics
from floss_sim.tasks import Task, TaskData
from floss_sim.training.learners.torch_learner import TorchLearner

HERE = Path(__file__).parent
COLUMNS = (
    "case", "precision", "device", "learner", "graphs", "clients", "runs", "seconds", "over_bank",
    "replayed", "tflops", "of_ceiling", "forward", "backward", "optimizer", "other", "peak_mib",
)  # fmt: skip
BATCH = 16
TINY_VIT = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 32, "patch_size": 16,
}  # fmt: skip
TINY_GPT2 = {
    "n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 16,
    "bos_token_id": 49, "eos_token_id": 49,
}  # fmt: skip


class Equal(RunConfig):
    """A run whose clients have one batch each, whatever the size of the fleet."""

    @cached_property
    def clients(self) -> tuple[np.ndarray, ...]:
        """Neighbouring examples, from the beginning again where they end."""
        examples = len(self.task.content.train[1])
        every = np.arange(self.fleet.clients * BATCH) % examples
        return tuple(every.reshape(self.fleet.clients, BATCH))


@dataclass(frozen=True)
class Case:
    """What is measured: a run, and how many rounds a turn has."""

    name: str
    config: RunConfig
    rounds: int


def vit(folder: Path, sizes: dict[str, int]) -> Task:
    """Return a made-up task on a random ViT, ViT-B/16 at 224 but for ``sizes``."""
    config = ViTConfig(**sizes)
    torch.manual_seed(0)
    ViTForImageClassification(config).save_pretrained(folder)
    side, draw = config.image_size, np.random.default_rng(0)
    x = draw.normal(size=(5 * BATCH + 1, 3, side, side)).astype(np.float32)
    return made_up(IMAGES, folder, x, ["q", "v"])


def gpt2(folder: Path, sizes: dict[str, int], tokens: int) -> Task:
    """Return a made-up task on a random GPT-2, GPT-2 small but for ``sizes``."""
    config = GPT2Config(**sizes)
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    words = np.random.default_rng(0).integers(0, config.vocab_size - 1, (5 * BATCH + 1, tokens))
    return made_up(NEXT_TOKEN, folder, words.astype(np.int32), ["qkv"])


def made_up(kind: str, folder: Path, x: np.ndarray, targets: list[str]) -> Task:
    """Return a task on a backbone's folder whose examples are in memory."""
    y = np.arange(len(x)) % 10
    task = Task.model_validate(
        {
            "name": folder.name,
            "kind": kind,
            "data": {"dataset": "made-up.npz", "classes": 10, "validation": 1, "test": 1},
            "backbone": {"model": str(folder.resolve())},
            "preprocess": {"max_length": x.shape[1]} if kind == NEXT_TOKEN else {},
            "partition": {"clients": 5, "law": "iid"},
            "lora": {"targets": targets, "alpha": 16},
            "client": {"learning_rate": 0.01, "momentum": 0.9, "batch_size": BATCH, "epochs": 1},
            "server": {"optimizer": "fedadam", "learning_rate": 1e-3, "cohort": 5},
        }
    )
    # In the place of what the task would read from a file.
    task.__dict__["content"] = TaskData((x[:-1], y[:-1]), (x[-1:], y[-1:]), (x[-1:], y[-1:]))
    return task


def cases(folder: Path, precision: str, tiny: bool) -> Iterator[Case]:
    """Yield what is measured, one after another."""

    def config(task: Task, cohort: int, rank: int = 2 if tiny else 16) -> RunConfig:
        chosen = Equal.of(task, floss(1 / 4, 1 / 16), rank=rank)
        fleet, server = {"clients": max(cohort, 5)}, {"cohort": cohort}
        return chosen.with_(fleet=fleet, server=server, client={"precision": precision})

    yield Case("vit", config(vit(folder / "vit", TINY_VIT if tiny else {}), 5), 1 if tiny else 10)
    task = gpt2(folder / "gpt2", TINY_GPT2 if tiny else {}, 16 if tiny else 128)
    yield Case("gpt2", config(task, 5), 1 if tiny else 10)
    for cohort in (2, 5) if tiny else (5, 50, 500):
        rounds = 1 if tiny else max(1, 50 // cohort)
        yield Case(f"digits-{cohort}", config(load_task("digits"), cohort), rounds)


@contextmanager
def unevaluated() -> Iterator[None]:
    """Leave evaluation out of what runs meanwhile."""
    with patch.object(TorchLearner, "evaluate", lambda self, version: Metrics(0, 0, 0, 0)):
        yield


def ceiling(device: str, precision: str, size: int) -> float:
    """Return the FLOP/s of a large square matrix product."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(size, size, device=device, dtype=dtype)
    times = [seconds_of(lambda: torch.mm(a, a), device) for _ in range(12)]
    return 2 * size**3 / statistics.median(times[2:])


def about(name: str, config: RunConfig, device: str, runs: int = 1) -> Row:
    """Return the columns that say what is measured."""
    return {
        "case": name,
        "precision": config.client.precision,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "clients": config.server.cohort,
        "runs": runs,
    }


def measure(case: Case, device: str, limit: float, turns: int) -> list[Row]:
    """Return a row for each peer: turns, FLOP/s and, where steps are not replayed, the phases."""
    playing = players(case.config, device, case.rounds)
    with FlopCounterMode(display=False) as counter, graphs(on=False):
        playing["bank"]()
    flops = counter.get_total_flops() / case.rounds  # the others' model and batches are the same
    rows = []
    for (name, way), row in turns_of(playing, device, turns).items():
        seconds = row["seconds"] / case.rounds
        rate = flops / seconds
        speeds = {"seconds": seconds, "tflops": rate / 1e12, "of_ceiling": rate / limit}
        rows.append({**about(case.name, case.config, device), **row, **speeds})
        if way != "on":  # what is replayed has no phases
            rows[-1] |= phases(playing[name], device)
    return rows


def measure_rung(precision: str, device: str, tiny: bool, turns: int) -> list[Row]:
    """Return a row for each way to train a rung: seconds of a round and a run."""
    configs, rounds = candidates(precision, tiny), 3 if tiny else 10
    rows = turns_of(rung_players(configs, device, rounds), device, turns)
    for (name, _), row in rows.items():
        runs = len(configs) if name == "bank" else len({config.rank for config in configs})
        row |= about(f"rung-{len(configs)}", configs[0], device, runs)
        row["seconds"] /= rounds * runs
        row["over_bank"] *= len(configs) / runs
    return list(rows.values())


def phases(play: Callable[[], None], device: str) -> dict[str, float]:
    """Return the share of each phase in a turn; waiting for the device between them costs some."""
    clock = Clock(device)
    with clock.watching():
        whole = seconds_of(play, device)
    shares = {name: clock.phases[name] / whole for name in ("forward", "backward", "optimizer")}
    return {**shares, "other": 1 - sum(shares.values())}


def accuracies(device: str, rounds: int) -> dict[str, float]:
    """Return what digits comes to after so many rounds in each precision."""
    found = {}
    for precision in ("fp32", "bf16"):
        config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16)
        config = config.with_(client={"precision": precision})
        learner = open_learner(config, device)
        network = load_profile("paper-200-20")
        record = run(config, network, learner, rounds=rounds, eval_every=rounds)
        found[precision] = record.evaluated()["accuracy"].to_pylist()[-1]
    return found


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write the table."""
    shown = [{k: f"{v:.4g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(shown)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("gpu.csv"))
    parser.add_argument("--precision", choices=("fp32", "bf16"), nargs="+", default=["fp32"])
    chosen = parser.parse_args(arguments)
    device = "cpu" if chosen.dry_run else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --dry-run works without one")
    rows: list[Row] = []
    for precision in chosen.precision:
        limit = ceiling(device, precision, 256 if chosen.dry_run else 8192)
        print(f"{precision}: a matrix product runs at {limit / 1e12:.4g} TFLOP/s")
        turns = 1 if chosen.dry_run else 5
        with tempfile.TemporaryDirectory() as folder, unevaluated(), rehearsed(chosen.dry_run):
            for case in cases(Path(folder), precision, chosen.dry_run):
                rows += measure(case, device, limit, turns)
                write(chosen.out, rows)  # what is measured is kept if the rest is cut short
            rows += measure_rung(precision, device, chosen.dry_run, turns)
            write(chosen.out, rows)
    for row in rows:
        print(json.dumps(row))
    print(f"accuracy of digits: {accuracies(device, 1 if chosen.dry_run else 50)}")


if __name__ == "__main__":
    main()
