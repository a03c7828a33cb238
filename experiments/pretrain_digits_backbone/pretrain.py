"""Pretrains the small ViT of the digits task on rendered letters, never on digits.

Example:
    python experiments/pretrain_digits_backbone/pretrain.py --steps 1800 --seed 0
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from card import LoraRun, Results, write_card
from letters import (
    CLASSES,
    HELD_OUT_FACES,
    TRAIN_FACES,
    Glyphs,
    draw_batch,
    load_glyphs,
)
from torch import Tensor
from torch.nn import functional
from transfer import lora_accuracies, probe_accuracy, random_probe_accuracy
from transformers import ViTConfig, ViTForImageClassification
from transformers.utils import logging

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "floss_sim" / "tasks" / "digits_backbone"
EXAMPLE = """example:
  python experiments/pretrain_digits_backbone/pretrain.py --steps 1800 --out build/backbone
"""
BATCH = 128
PEAK_LR = 2e-3
WEIGHT_DECAY = 0.05
# A new head on features of full length diverges at the usual SGD rates.
FEATURE_SCALE = 0.4
WARPS_PER_LETTER = 40
LORA_EPOCHS = 5
LORA_RATES = (0.02, 0.05)
CHECK_SEEDS = range(3)


def vit_config(num_labels: int) -> ViTConfig:
    """Returns the architecture with the given number of classes."""
    return ViTConfig(
        image_size=8,
        num_channels=1,
        patch_size=2,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label={i: str(i) for i in range(num_labels)},
        label2id={str(i): i for i in range(num_labels)},
    )


def rate_factor(step: int, steps: int) -> float:
    """Returns linear warmup over 5% of the steps, then cosine decay to zero."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def report(step: int, steps: int, loss: Tensor, start: float) -> None:
    """Prints the loss and an estimate of the time left."""
    spent = time.perf_counter() - start
    left = spent / step * (steps - step)
    print(f"step {step:5d}/{steps}  loss {loss.item():.3f}  about {left:.0f} s left", flush=True)


def batch_loss(model: ViTForImageClassification, glyphs: Glyphs, rng: torch.Generator) -> Tensor:
    """Draws one batch and returns its loss."""
    index = torch.randint(len(glyphs.labels), (BATCH,), generator=rng)
    logits = model(draw_batch(glyphs, index, rng)).logits
    return functional.cross_entropy(logits, glyphs.labels[index])


def train(glyphs: Glyphs, steps: int, seed: int) -> ViTForImageClassification:
    """Trains a fresh model to name the letters.

    Args:
        glyphs: Letters of the training faces.
        steps: Number of batches.
        seed: Seeds the weights and the images.

    Returns:
        The trained model, with a letter head.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = ViTForImageClassification(vit_config(len(CLASSES)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(rate_factor, steps=steps))
    start = time.perf_counter()
    model.train()
    for step in range(1, steps + 1):
        loss = batch_loss(model, glyphs, rng)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == steps:
            report(step, steps, loss, start)
    return model


def letter_accuracy(model: ViTForImageClassification, glyphs: Glyphs, seed: int) -> float:
    """Returns the accuracy on freshly warped letters."""
    model.train(False)
    rng = torch.Generator().manual_seed(seed)
    everything = torch.arange(len(glyphs.labels))
    right = []
    with torch.no_grad():
        for _ in range(WARPS_PER_LETTER):
            predicted = model(draw_batch(glyphs, everything, rng)).logits.argmax(1)
            right.append(predicted == glyphs.labels)
    return float(torch.cat(right).float().mean())


def to_backbone(model: ViTForImageClassification) -> ViTForImageClassification:
    """Moves the trained body under a new ten-class head."""
    digits = ViTForImageClassification(vit_config(10))
    digits.vit.load_state_dict(model.vit.state_dict())
    with torch.no_grad():
        digits.vit.layernorm.weight.mul_(FEATURE_SCALE)
        digits.vit.layernorm.bias.mul_(FEATURE_SCALE)
    return digits


def save_backbone(backbone: ViTForImageClassification, out: Path) -> None:
    """Saves config and weights, leaving the untrained head out."""
    state = backbone.state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith("classifier")}
    backbone.save_pretrained(out, state_dict=kept)


def lora_runs(out: Path) -> list[LoraRun]:
    """Runs the LoRA checks on the saved and on untrained weights."""
    runs = []
    for name, folder in (("this backbone", out), ("untrained", None)):
        for lr in LORA_RATES:
            curves = [
                lora_accuracies(folder, vit_config(10), LORA_EPOCHS, seed, lr)
                for seed in CHECK_SEEDS
            ]
            runs.append(LoraRun(name, lr, [curve[-1] for curve in curves]))
            print(f"LoRA, {name}, lr {lr}: {[[round(a, 3) for a in c] for c in curves]}")
    return runs


def write_results(
    backbone: ViTForImageClassification, results: Results, args: argparse.Namespace
) -> None:
    """Writes the model card."""
    write_card(
        args.out,
        results,
        parameters=sum(p.numel() for p in backbone.vit.parameters()),
        held_out=" and ".join(HELD_OUT_FACES),
        classes=len(CLASSES),
        peak_lr=PEAK_LR,
        weight_decay=WEIGHT_DECAY,
        scale=FEATURE_SCALE,
        steps=args.steps,
        batch=BATCH,
        seed=args.seed,
        epochs=LORA_EPOCHS,
    )


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Pretrain the digits backbone on rendered letters (one CPU core).",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="folder to write (default: the package's)"
    )
    parser.add_argument("--seed", type=int, default=0, help="weights and images (default: 0)")
    parser.add_argument("--steps", type=int, default=1800, help="batches (default: 1800)")
    return parser.parse_args()


def quiet() -> None:
    """Hides the notes about the head that is missing on purpose."""
    verbosity: Any = logging
    verbosity.set_verbosity_error()
    verbosity.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def main() -> None:
    """Pretrains, saves, measures and writes the model card."""
    args = parse_args()
    quiet()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    start = time.perf_counter()
    glyphs = load_glyphs(TRAIN_FACES)
    model = train(glyphs, args.steps, args.seed)
    print(f"trained in {time.perf_counter() - start:.0f} s; the checks take about 40 s more")
    backbone = to_backbone(model)
    save_backbone(backbone, args.out)
    results = Results(
        letters_seen=letter_accuracy(model, glyphs, args.seed + 1000),
        letters_held_out=letter_accuracy(model, load_glyphs(HELD_OUT_FACES), args.seed + 1000),
        probe=probe_accuracy(backbone),
        random_probes=[random_probe_accuracy(vit_config(10), seed) for seed in CHECK_SEEDS],
        lora=lora_runs(args.out),
    )
    write_results(backbone, results, args)
    print(results)


if __name__ == "__main__":
    main()
