"""A GPU is told to compute the same bits again; a CPU is left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from floss_sim import RunConfig, floss, load_task, open_learner
from floss_sim.training import export, test_metrics
from floss_sim.training.determinism import make_deterministic
from floss_sim.training.learners import build

measure_on_test = test_metrics
del test_metrics  # its name would make pytest collect it
CONFIG = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch as it comes, now and afterwards."""
    filled, tf32 = torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), filled, tf32.allow_tf32
    monkeypatch.setenv(CONFIG, "")
    monkeypatch.delenv(CONFIG)
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]
    tf32.allow_tf32 = before[2]


def told() -> tuple[bool, bool, bool, str | None]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.allow_tf32,
        os.environ.get(CONFIG),
    )


@pytest.mark.usefixtures("untold")
def test_cuda_repeats_its_bits_and_other_devices_are_left_alone():
    before = told()
    assert not before[0]
    for device in ("cpu", "mps"):
        make_deterministic(torch.device(device))
    assert told() == before
    make_deterministic(torch.device("cuda"))
    assert told() == (True, False, False, ":4096:8")
    assert not torch.is_deterministic_algorithms_warn_only_enabled()  # attention would only warn


@pytest.mark.usefixtures("untold")
def test_workspaces_that_somebody_chose_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CONFIG, ":16:8")
    make_deterministic(torch.device("cuda"))
    assert told()[-1] == ":16:8"


@pytest.mark.parametrize("kind", ["bank", "sequential"])
def test_it_is_said_before_anything_is_on_the_device(kind: str, monkeypatch: pytest.MonkeyPatch):
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=2)
    calls: list[str] = []
    for module, names in (
        (build, ("build_bank_model", "build_flat_model")),
        (export, ("build_model",)),
    ):
        monkeypatch.setattr(module, "make_deterministic", lambda device: calls.append(device.type))
        for name in names:
            real = getattr(module, name)
            monkeypatch.setattr(
                module, name, lambda *args, real=real: calls.append("") or real(*args)
            )
    learner = open_learner(config, "cpu", learner=kind)
    assert calls == ["cpu", ""]
    measure_on_test(config, learner.model(), "cpu")
    assert calls == ["cpu", ""] * 2
