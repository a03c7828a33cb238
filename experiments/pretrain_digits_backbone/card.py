"""Writes the model card of the digits backbone from measured numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TEMPLATE = """\
---
license: apache-2.0
library_name: transformers
tags: [vit, image-classification, lora]
---

# digits_backbone

A small Vision Transformer (`ViTForImageClassification`, {parameters:,} parameters without a
head) for 8x8 grey images, pretrained on rendered letters. It is the starting point for LoRA
fine-tuning on scikit-learn's handwritten digits; it has never seen a digit of any kind.

The weights hold no classifier, so `from_pretrained` creates a new ten-class head and reports
`classifier.weight` and `classifier.bias` as missing. That is intended.

```python
from transformers import ViTForImageClassification

model = ViTForImageClassification.from_pretrained("floss_sim/tasks/digits_backbone")
```

Input: `pixel_values` of shape (n, 1, 8, 8), floats in [0, 1]; for `load_digits`, divide by 16.

## Data

The letters A-Z and a-z in ten DejaVu faces (Sans, Sans Mono and Serif, upright, bold and
slanted) as bundled with matplotlib; two more faces ({held_out})
are kept for the test. The images imitate how the UCI digits were made: each letter is rotated,
sheared, bent, made thinner or thicker, fitted to a box, thresholded to a 32x32 bitmap, counted in
4x4 blocks and divided by 16. The box and the stroke widths were set
by hand from simple statistics of the 1,097 digit training rows (ink share, rows and columns
filled). Cases that look alike once sizes are normalised are joined (C and c, I and i, ...), as in
EMNIST ByMerge, which leaves {classes} classes.

## Recipe

AdamW, peak learning rate {peak_lr}, weight decay {weight_decay}, 5% linear warmup then cosine
decay, {steps} steps of {batch} fresh images, gradient norm clipped at 1, seed {seed}. Afterwards
the final layernorm is multiplied by {scale}, so that a new head learns stably at the usual SGD
rates. One CPU core; about two minutes with the checks below.
`experiments/pretrain_digits_backbone/pretrain.py` reproduces it.

## Measured

Letters ({classes} classes, fresh warps):

| faces | accuracy |
|---|---|
| two held-out faces | {letters_held_out:.3f} |
| ten training faces | {letters_seen:.3f} |

Linear probe on the CLS features of `load_digits` (1,097 training and 350 validation rows):

| weights | validation accuracy |
|---|---|
| this backbone | {probe:.3f} |
| untrained, seeds 0-2 | {random_probes} |

LoRA (r 16, alpha 16, on `q_proj` and `v_proj`, plus the head), SGD with momentum 0.9, batch 16,
{epochs} epochs, pooled data, seeds 0-2:

| weights | learning rate | validation accuracy after the last epoch |
|---|---|---|
{lora_rows}

Each of the three seeds draws a new head, new LoRA weights and a new order of the rows. The
validation rows also guided the choice of this recipe, so these numbers are slightly optimistic;
the remaining 350 rows were not used. The untrained runs use the same settings, not ones tuned
for them.

## Intended use and limits

Offline tests and simulations of federated LoRA, where a real pretrain-then-fine-tune transfer
is needed in seconds. It is not a general character reader: it knows one font family and 8x8
images, and it has not been tested on other handwriting.

## Licence

The weights are under Apache-2.0. The DejaVu fonts were used only to draw the training images and
are not included; their licence (Bitstream Vera terms, with DejaVu changes in the public domain)
ships with matplotlib as `LICENSE_DEJAVU`.
"""


@dataclass(frozen=True)
class LoraRun:
    """Accuracies of one LoRA setting, one number a seed."""

    weights: str
    lr: float
    accuracies: list[float]


@dataclass(frozen=True)
class Results:
    """Numbers that were measured after pretraining."""

    letters_seen: float
    letters_held_out: float
    probe: float
    random_probes: list[float]
    lora: list[LoraRun]


def join(numbers: list[float]) -> str:
    """Formats accuracies with three decimals."""
    return ", ".join(f"{number:.3f}" for number in numbers)


def write_card(out: Path, results: Results, **recipe: object) -> None:
    """Writes ``README.md`` into the model folder.

    Args:
        out: Model folder.
        results: Measured numbers.
        **recipe: The other fields of the template.
    """
    rows = "\n".join(f"| {r.weights} | {r.lr} | {join(r.accuracies)} |" for r in results.lora)
    text = TEMPLATE.format(
        letters_seen=results.letters_seen,
        letters_held_out=results.letters_held_out,
        probe=results.probe,
        random_probes=join(results.random_probes),
        lora_rows=rows,
        **recipe,
    )
    (out / "README.md").write_text(text, encoding="utf-8")
