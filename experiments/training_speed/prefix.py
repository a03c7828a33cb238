"""What kept activations of frozen layers save: a 12-layer encoder, adapters on its last layers.

python experiments/training_speed/prefix.py [--tokens 64] [--repetitions 5] [--learner bank]

The encoder is a BERT of MiniLM's width (384) with random weights and without dropout; texts have
random words. A row is one depth with or without kept activations. All rows play in turns in one
process, after a round that keeps what there is to keep; ratios are of the same repetition.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel

from floss_sim import RunConfig, dense, load_task
from floss_sim.protocol import NO_STATE, Arrival
from floss_sim.training.learner_choice import choose_learner
from floss_sim.training.learners.build import build_learner
from floss_sim.training.learners.torch_learner import TorchLearner

HERE = Path(__file__).parent
LAYERS, WORDS, COHORT = 12, 1000, 5
DEPTHS = (12, 6, 3, 1)
TASK = """\
name = "twelve-layers"
kind = "text-classification"
[data]
dataset = "rows.jsonl"
input = "text"
label = "about"
classes = 2
validation = 64
test = 16
[backbone]
model = "backbone"
[preprocess]
max_length = {tokens}
[partition]
clients = 10
law = "iid"
[lora]
targets = ["q", "v"]
alpha = 16
[client]
learning_rate = 0.01
momentum = 0.9
batch_size = 8
epochs = 1
[server]
optimizer = "fedadam"
learning_rate = 1e-3
cohort = 5
"""


def write_task(folder: Path, tokens: int, examples: int = 240) -> Path:
    """Write the encoder, its tokenizer, the texts and the task."""
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=384, num_hidden_layers=LAYERS, num_attention_heads=12, intermediate_size=1536,
        vocab_size=WORDS, max_position_embeddings=max(64, tokens), hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder / "backbone")
    words = {f"w{number}": number for number in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "backbone" / "tokenizer.json"))
    draw = np.random.default_rng(0)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(examples + 80):
            text = " ".join(f"w{word}" for word in draw.integers(1, WORDS, tokens))
            file.write(json.dumps({"text": text, "about": number % 2}) + "\n")
    (folder / "task.toml").write_text(TASK.format(tokens=tokens), encoding="utf-8")
    return folder / "task.toml"


class Player:
    """One row: a learner that plays rounds."""

    def __init__(self, task: Path, depth: int, *, kept: bool, learner: str) -> None:
        self.name = {"depth": depth, "kept": kept}
        changes = {"lora.depth": depth} if depth < LAYERS else {}
        config = RunConfig.of(load_task(str(task), changes=changes), dense(), rank=8)
        self._config = config.with_(client={"frozen_prefix": kept})
        self._learner: TorchLearner = build_learner(
            self._config, choose_learner(self._config, learner), "cpu", 1
        )
        self._sequence = 0

    def play(self) -> tuple[float, float]:
        """Return the seconds of a round's training, and of an evaluation."""
        learner, clients = self._learner, range(COHORT)
        began_s = time.process_time()
        sent = [learner.dispatch(n, self._sequence + n) for n in clients]
        arrivals = [Arrival(one, learner.train(one, NO_STATE), 1 / COHORT, 0) for one in sent]
        version = learner.aggregate(arrivals)
        trained_s = time.process_time() - began_s
        self._sequence += COHORT
        began_s = time.process_time()
        learner.evaluate(version)
        return trained_s, time.process_time() - began_s

    @property
    def nbytes(self) -> int:
        """Bytes of the activations that are kept."""
        return self._learner._measured.prefix.nbytes


def main() -> None:
    """Write prefix.csv; print the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--learner", default="bank")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        task = write_task(Path(folder), chosen.tokens)
        players = [
            Player(task, depth, kept=kept, learner=chosen.learner)
            for depth in DEPTHS
            for kept in ((False, True) if depth < LAYERS else (False,))
        ]
        for player in players:
            player.play()  # keeps what there is to keep
        times = [[player.play() for player in players] for _ in range(chosen.repetitions)]
    rows = [summary(players, times, at) for at in range(len(players))]
    with (HERE / "prefix.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def summary(
    players: list[Player], times: list[list[tuple[float, float]]], at: int
) -> dict[str, Any]:
    """Return a row: medians, and ratios to the same depth without, and to all layers."""
    name = players[at].name
    same = next(i for i, p in enumerate(players) if p.name == {**name, "kept": False})
    row = {
        **name,
        "training_s": f"{median(each[at][0] for each in times):.4f}",
        "evaluation_s": f"{median(each[at][1] for each in times):.4f}",
        "training_over_not_kept": f"{median(t[at][0] / t[same][0] for t in times):.3f}",
        "evaluation_over_not_kept": f"{median(t[at][1] / t[same][1] for t in times):.3f}",
        "round_over_not_kept": f"{median(sum(t[at]) / sum(t[same]) for t in times):.3f}",
        "round_over_all_layers": f"{median(sum(t[at]) / sum(t[0]) for t in times):.3f}",
        "kept_bytes": players[at].nbytes,
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
