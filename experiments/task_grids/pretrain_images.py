"""Pretrains the small ViT of the image grid, and writes the images of its task.

    python experiments/task_grids/pretrain_images.py [--steps 4000]

The backbone learns to name 32x32 colour images of Tiny-ImageNet (../shared/data), without the
classes that CIFAR-10 has, too; the task is CIFAR-10. Written are ``image_backbone/`` beside this
file, without a classifier, and ``runs/task_grids/cifar10.npz``, which the task's file names.
"""

from __future__ import annotations

import argparse
import io
import math
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import ViTConfig, ViTForImageClassification

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "shared" / "data"
RUNS = HERE.parents[1] / "runs" / HERE.name
# Classes that CIFAR-10 has, too, by the README of the data.
SHARED_CLASSES = {2, 3, 11, 20, 21, 22, *range(24, 33), 52, 70, 94, 108, 115, 116, 121, 133, 145,
                  153, 166}  # fmt: skip
MEAN, SD = (0.48, 0.45, 0.40), (0.27, 0.26, 0.28)  # of channels, on Tiny-ImageNet
TASK_IMAGES = 450  # of each class of CIFAR-10
BATCH, PEAK_LR, WEIGHT_DECAY = 128, 2e-3, 0.05
FEATURE_SCALE = 0.4  # a new head on features of full length diverges at the usual SGD rates
Images = npt.NDArray[np.uint8]


def decode(file: Path, chosen: str, keep: npt.NDArray[np.int_] | None = None) -> tuple[
    Images, npt.NDArray[np.int64], npt.NDArray[np.bool_]
]:  # fmt: skip
    """Return images (n, 32, 32, 3), labels and held-out marks of a file of JPEG bytes.

    Args:
        file: The ``.npz`` file.
        chosen: Its array that marks the images held out.
        keep: Indices of the images to decode; None for all.
    """
    stored = np.load(file)
    jpeg, offsets, labels = stored["jpeg"], stored["offsets"], stored["label"].astype(np.int64)
    held_out = stored[chosen].astype(bool)
    rows = np.arange(len(labels)) if keep is None else keep
    images = [
        np.asarray(Image.open(io.BytesIO(jpeg[offsets[i] : offsets[i + 1]].tobytes())))
        for i in rows
    ]
    colour = [np.stack([one] * 3, -1) if one.ndim == 2 else one for one in images]
    return np.stack(colour), labels[rows], held_out[rows]


def normalise(images: Images) -> Tensor:
    """Return images as floats (n, 3, 32, 32), by the mean and deviation of each channel."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(SD)[:, None, None]


def write_task_images() -> None:
    """Write the images of the task: equally many of each class, from CIFAR-10's training part."""
    file = DATA / "cifar10" / "cifar10_jpeg.npz"
    stored = np.load(file)
    rng = np.random.default_rng(0)
    train = ~stored["is_test"].astype(bool)
    of_class = [np.flatnonzero((stored["label"] == label) & train) for label in range(10)]
    keep = np.concatenate([rng.choice(rows, TASK_IMAGES, replace=False) for rows in of_class])
    images, labels, _ = decode(file, "is_test", rng.permutation(keep))
    RUNS.mkdir(parents=True, exist_ok=True)
    np.savez(RUNS / "cifar10.npz", x=normalise(images).numpy(), y=labels)


def vit_config(classes: int) -> ViTConfig:
    """Return the architecture: 16 patches of 8x8 pixels, 4 layers of width 96."""
    return ViTConfig(
        image_size=32,
        num_channels=3,
        patch_size=8,
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=192,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label={i: str(i) for i in range(classes)},
        label2id={str(i): i for i in range(classes)},
    )


def rate_factor(step: int, steps: int) -> float:
    """Return linear warm-up over 5 % of the steps, then cosine decay to zero."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return a batch (n, 3, 32, 32), flipped by chance and shifted by up to 4 pixels."""
    if torch.rand(1, generator=rng) < 0.5:
        images = images.flip(3)
    down, right = torch.randint(0, 9, (2,), generator=rng).tolist()
    return functional.pad(images, (4, 4, 4, 4))[:, :, down : down + 32, right : right + 32]


def train(
    images: Images, labels: Tensor, classes: int, steps: int, seed: int
) -> ViTForImageClassification:
    """Return a fresh model, trained to name the images."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = ViTForImageClassification(vit_config(classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, steps))
    began = time.perf_counter()
    model.train()
    for step in range(1, steps + 1):
        rows = torch.randint(len(labels), (BATCH,), generator=rng)
        logits = model(augment(normalise(images[rows.numpy()]), rng)).logits
        loss = functional.cross_entropy(logits, labels[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            seconds = time.perf_counter() - began
            print(f"step {step} of {steps}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
    return model


def accuracy(model: ViTForImageClassification, images: Images, labels: Tensor) -> float:
    """Return the share of images that the model names correctly."""
    model.train(False)
    with torch.no_grad():
        parts = [model(normalise(part)).logits.argmax(1) for part in np.array_split(images, 20)]
    return float((torch.cat(parts) == labels).float().mean())


def save_backbone(model: ViTForImageClassification) -> None:
    """Save the trained body without a classifier, its last norm scaled down."""
    backbone = ViTForImageClassification(vit_config(10))
    backbone.vit.load_state_dict(model.vit.state_dict())
    with torch.no_grad():
        backbone.vit.layernorm.weight.mul_(FEATURE_SCALE)
        backbone.vit.layernorm.bias.mul_(FEATURE_SCALE)
    state = backbone.state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith("classifier")}
    backbone.save_pretrained(HERE / "image_backbone", state_dict=kept)


def main() -> None:
    """Write the task's images, pretrain, and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    write_task_images()
    images, given, held_out = decode(DATA / "tinyimagenet32" / "tinyimagenet32_jpeg.npz", "is_val")
    kept = sorted(set(given.tolist()) - SHARED_CLASSES)
    number = np.full(200, -1)
    number[kept] = np.arange(len(kept))
    labels, used = number[given], ~np.isin(given, list(SHARED_CLASSES))
    fit, check = used & ~held_out, used & held_out
    model = train(images[fit], torch.from_numpy(labels[fit]), len(kept), chosen.steps, chosen.seed)
    found = accuracy(model, images[check], torch.from_numpy(labels[check]))
    print(f"{len(kept)} classes, accuracy on held-out images {found:.3f}")
    save_backbone(model)


if __name__ == "__main__":
    main()
