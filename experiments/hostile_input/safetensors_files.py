"""Mutated backbone folders: ``python safetensors_files.py --count 24000 --seed 1``.

One file of a tiny backbone's folder is damaged at a time: weights, their index, ``config.json``,
``tokenizer.json``, ``tokenizer_config.json`` or ``preprocessor_config.json``. A forked worker reads
the folder as a task does and computes logits. What is accepted is compared with a second reading:
weights parsed with NumPy alone, and every key of ``config.json`` with the loaded model's.
Prints a table, writes it to ``results_safetensors_files.md``; ends with 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from backbone_mutants import (
    CONFIG,
    FILES,
    PROCESSOR,
    TOKENIZER,
    TOKENIZER_CONFIG,
    mutated,
    read_safetensors,
    write_folders,
)

from floss_sim import RunConfig, dense, load_task
from floss_sim.errors import ConfigError
from floss_sim.tasks.text import open_tokenizer, tokenise
from floss_sim.training.models.flat_model import build_flat_model

OUTCOMES = ("refused", "right", "wrong", "crashed", "hung", "memory")
MEMORY_BYTES = 1 << 30  # of resident memory, more than before, which no file may need
LIMIT_S = 20.0
CPU = torch.device("cpu")
HEADS = ("classifier.", "score.", "lm_head.", "pooler.", "cls.")  # replaced, or not used
TEXTS = [["w1 w2 w3 w4 w5 w6 w7 w8 w9", "w3", "w4 zz"]]
_SHOWN = 10


@dataclass(frozen=True)
class Mutant:
    """A damaged file of a folder.

    Args:
        number: Number of the mutant; it seeds the damage.
        family: The folder: vit, bert, gpt2, llama or shards.
        name: The file.
    """

    number: int
    family: str
    name: str


def mutants(count: int) -> Iterator[Mutant]:
    """Yield mutants of all files of all folders in turn."""
    kinds = [(family, name) for family, names in FILES.items() for name in names]
    for number in range(count):
        yield Mutant(number, *kinds[number % len(kinds)])


def outcome(mutant: Mutant, home: Path, seed: int) -> tuple[str, str]:
    """Damage a file, read the folder, put the file back; return what came of it."""
    path = home / mutant.family / "backbone" / mutant.name
    whole = path.read_bytes()
    try:
        path.write_bytes(mutated(mutant.name, whole, random.Random(f"{seed}-{mutant.number}")))  # noqa: S311
        return _read(home / mutant.family, mutant.name)
    finally:
        path.write_bytes(whole)


def _read(folder: Path, name: str) -> tuple[str, str]:
    try:
        problem = _problem(folder, name)
    except ConfigError as error:
        return ("wrong", f"{error!r}") if "\n" in str(error) else ("refused", str(error))
    except MemoryError:
        return "memory", ""
    except BaseException as error:
        return "crashed", f"{type(error).__name__}: {error}"
    return ("wrong", problem) if problem else ("right", "")


def _problem(folder: Path, name: str) -> str:
    """Read a folder as a task does; return what differs from the second reading."""
    task = load_task(str(folder / "task.toml"))
    config = RunConfig.of(task, dense(), rank=2)
    config.settings()
    if name in (TOKENIZER, TOKENIZER_CONFIG):
        return _tokens_problem(task)
    task.check_weights()
    flat = build_flat_model(config, CPU)
    with torch.no_grad():
        logits, _ = flat.outputs(*_batch(task.kind))
    if name == PROCESSOR:
        return _pixels_problem(flat.inputs, folder / "backbone")
    if name == CONFIG:
        return _config_problem(flat.model, folder / "backbone")
    del logits
    return _weights_problem(flat.model, folder / "backbone")


def _batch(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    if kind == "image-classification":
        pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)
        return torch.from_numpy(pixels), torch.zeros(2, dtype=torch.int64)
    ids = torch.tensor([[4, 5, 6], [7, -1, -1]], dtype=torch.int32)
    return ids, torch.zeros(2, dtype=torch.int64)


def _tokens_problem(task: Any) -> str:
    """Compare the tokens of texts with those that the tokenizer itself gives uncut."""
    tokenizer = open_tokenizer(task.backbone_path, 8)
    said = task.tokenizer_use
    texts = tokenise(TEXTS, tokenizer)
    tokenizer.no_truncation()
    uncut = [coded.ids for coded in tokenizer.encode_batch(TEXTS[0])]
    if any(len(ids) > 8 for ids in texts.ids.tolist()):
        return "a text has more tokens than the limit"
    for row, ids in zip(texts.ids.tolist(), uncut, strict=True):
        real = [token for token in row if token >= 0]
        if len(ids) <= 8 and real != ids:
            return f"{real} in place of {ids}"
    return "" if said.truncation_side in ("left", "right") else "no side"


def _pixels_problem(reader: Any, folder: Path) -> str:
    """Compare pixel values with the formula of the image processor's documentation."""
    stated = json.loads((folder / PROCESSOR).read_bytes().decode("utf-8"))
    x, _ = _batch("image-classification")
    found = reader.read(x)["pixel_values"].double().numpy()
    expected = x.double().numpy()
    factor = stated.get("rescale_factor")
    if stated.get("do_rescale") is not False:
        expected = expected * (1 / 255 if factor is None else factor)
    if stated.get("do_normalize") is not False:
        mean, std = (
            np.broadcast_to(
                np.asarray(0.5 if stated.get(key) is None else stated[key], dtype=np.float64), 3
            ).reshape(-1, 1, 1)
            for key in ("image_mean", "image_std")
        )
        expected = (expected - mean) / std
    close = np.allclose(found, expected, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(expected).max()))
    return "" if close else "pixel values differ from the file's normalisation"


def _config_problem(model: Any, folder: Path) -> str:
    """Return the first key of ``config.json`` with another value in the loaded model's config."""
    stated = json.loads((folder / CONFIG).read_bytes().decode("utf-8"))
    ours = {"model_type", "dtype", "torch_dtype", "num_labels", "auto_map", "return_dict",
            "pad_token_id", "id2label", "label2id", "transformers_version", "architectures",
            "pretraining_tp",  # no longer used by the model library
            "name_or_path", "_name_or_path"}  # fmt: skip
    loaded = model.config
    for key, value in stated.items():
        if key in ours or not hasattr(loaded, key):
            continue
        found = getattr(loaded, key)
        same = found == value or (found != found and value != value)
        if not same and not (isinstance(value, dict) or value is None):
            return f"{key}: {found!r} in place of {value!r}"
    return ""


def _weights_problem(model: Any, folder: Path) -> str:
    """Compare the loaded parameters with the files' tensors, read with NumPy alone."""
    loaded = {(tuple(t.shape), t.numpy().tobytes()) for t in model.state_dict().values()}
    for name, values in read_safetensors(folder).items():
        plain = np.asarray(values, dtype=np.float32)
        if not name.startswith(HEADS) and (plain.shape, plain.tobytes()) not in loaded:
            return f"{name} is not among the model's parameters"
    return ""


def _serve(connection: Connection, home: Path, seed: int) -> None:
    """Read mutants in this process until the connection ends."""
    torch.set_num_threads(1)
    while (mutant := connection.recv()) is not None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = outcome(mutant, home, seed)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        connection.send(("memory", f"{grown} bytes") if grown > MEMORY_BYTES else found)


class Worker:
    """A forked process that reads mutants; a new one takes its place when it ends."""

    def __init__(self, home: Path, seed: int) -> None:
        self._home, self._seed = home, seed
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._home, self._seed))
        self._process.start()
        other.close()

    def read(self, mutant: Mutant) -> tuple[str, str]:
        """Return the outcome of a mutant."""
        whole = self._home / mutant.family / "backbone" / mutant.name
        kept = whole.read_bytes()
        self._connection.send(mutant)
        found = ("hung", "")
        try:
            if self._connection.poll(LIMIT_S):
                return self._connection.recv()
        except (EOFError, ConnectionResetError):
            found = ("crashed", "the process ended")
        self._process.kill()
        self._process.join()
        whole.write_bytes(kept)
        self._start()
        return found

    def close(self) -> None:
        """End the process."""
        self._connection.send(None)
        self._process.join()


def run(count: int, seed: int) -> tuple[Counter[tuple[str, str]], dict[str, Mutant]]:
    """Return counts by file and outcome, and one mutant of each thing that went wrong."""
    counts: Counter[tuple[str, str]] = Counter()
    shown: dict[str, Mutant] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_folders(home)
        worker = Worker(home, seed)
        for mutant in mutants(count):
            found, said = worker.read(mutant)
            counts[mutant.name, found] += 1
            if found not in ("refused", "right"):
                shown.setdefault(f"{mutant.name}: {found}: {said}"[:300], mutant)
        worker.close()
        shutil.rmtree(home, ignore_errors=True)
    return counts, shown


def table(counts: Counter[tuple[str, str]]) -> str:
    """Return counts by file and outcome as a table of Markdown."""
    lines = [f"| file | inputs | {' | '.join(OUTCOMES)} |", "|---" * (len(OUTCOMES) + 2) + "|"]
    names = sorted({name for name, _ in counts})
    for name in (*names, "all"):
        chosen = names if name == "all" else [name]
        row = [sum(counts[one, outcome] for one in chosen) for outcome in OUTCOMES]
        lines.append(f"| {name} | {sum(row)} | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def main() -> int:
    """Run the attack and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", default=str(Path(__file__).parent / "results_safetensors_files.md")
    )
    asked = parser.parse_args()
    began = time.monotonic()
    counts, shown = run(asked.count, asked.seed)
    text = f"Seed {asked.seed}, {time.monotonic() - began:.0f} s.\n\n{table(counts)}\n"
    print(text)
    for said, mutant in list(shown.items())[:_SHOWN]:
        print(mutant, said)
    Path(asked.out).write_text(f"# Mutated backbone folders\n\n{text}", encoding="utf-8")
    return 1 if shown else 0


if __name__ == "__main__":
    sys.exit(main())
