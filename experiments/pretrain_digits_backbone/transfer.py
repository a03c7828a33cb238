"""Checks of how well a letter backbone transfers to scikit-learn's handwritten digits.

Only a training and a validation part are read; the remaining rows stay untouched for tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional
from transformers import ViTConfig, ViTForImageClassification

from floss_sim import load_task

# The backbone was chosen with this split; the task's own split has since changed.
CHOSEN_WITH = {"data.split": "random", "data.split_seed": 0}
Split = tuple[Tensor, Tensor]


def digit_splits() -> tuple[Split, Split]:
    """Returns the (images, labels) for training and for validation; test stays unread."""
    content = load_task("digits", changes=CHOSEN_WITH).content
    train, val = (
        (torch.from_numpy(x), torch.from_numpy(y)) for x, y in (content.train, content.validation)
    )
    return train, val


def cls_features(model: ViTForImageClassification, images: Tensor) -> Tensor:
    """Returns the features that the classifier head sees."""
    model.train(False)
    with torch.no_grad():
        states: Tensor = model.vit(images).last_hidden_state
    return states[:, 0]


def probe_accuracy(model: ViTForImageClassification) -> float:
    """Fits a linear probe on the CLS features and returns its validation accuracy."""
    (x, y), (x_val, y_val) = digit_splits()
    probe = LogisticRegression(max_iter=5000)
    probe.fit(cls_features(model, x).numpy(), y.numpy())
    return float(probe.score(cls_features(model, x_val).numpy(), y_val.numpy()))


def random_probe_accuracy(config: ViTConfig, seed: int) -> float:
    """Returns the probe accuracy of the same architecture with untrained weights."""
    torch.manual_seed(seed)
    return probe_accuracy(ViTForImageClassification(config))


def accuracy(model: Any, images: Tensor, labels: Tensor) -> float:
    """Returns the share of images that the model labels correctly."""
    model.train(False)
    with torch.no_grad():
        predicted = model(images).logits.argmax(1)
    return float((predicted == labels).float().mean())


def lora_model(folder: Path | None, config: ViTConfig) -> Any:
    """Adds rank-16 LoRA to the backbone in ``folder``, or to untrained weights."""
    build: Any = ViTForImageClassification
    base = build(config) if folder is None else build.from_pretrained(folder)
    lora = LoraConfig(
        r=16, lora_alpha=16, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"]
    )
    return get_peft_model(base, lora)


def lora_accuracies(
    folder: Path | None, config: ViTConfig, epochs: int, seed: int, lr: float = 0.05
) -> list[float]:
    """Fine-tunes rank-16 LoRA and a new head on the digits with momentum SGD.

    Args:
        folder: Folder with the backbone, or None for untrained weights.
        config: Architecture used when ``folder`` is None.
        epochs: Passes over the training rows.
        seed: Seeds the new weights and the order of the rows.
        lr: Learning rate.

    Returns:
        Validation accuracy after each epoch.
    """
    torch.manual_seed(seed)
    model = lora_model(folder, config)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=lr, momentum=0.9)
    (x, y), val = digit_splits()
    curve = []
    for _ in range(epochs):
        model.train()
        for rows in torch.split(torch.randperm(len(x)), 16):
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(model(x[rows]).logits, y[rows]))
            optimizer.step()
        curve.append(accuracy(model, *val))
    return curve
