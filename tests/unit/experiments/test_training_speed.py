"""How experiments/training_speed measures: the GPU's dry run, the peers' task in our bank."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from places import EXPERIMENTS

from floss_sim import RunConfig, floss, load_task
from floss_sim.training import open_side_by_side

FOLDER = EXPERIMENTS / "training_speed"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Load scripts of the experiment by their names, and forget them afterwards."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.syspath_prepend(FOLDER / "peers")
    torch.set_num_threads(1)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_gpus_dry_run_measures_every_case(script, tmp_path: Path, capsys):
    out = tmp_path / "gpu.csv"
    # a bank that the process has from before replays nothing
    open_side_by_side("cpu").bank(RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=2))
    script("gpu").main(["--dry-run", "--out", str(out)])
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    peers = [("bank", "on"), ("bank", "off"), ("sequential", ""), ("published style", "")]
    wanted = [(c, *p) for c in ("vit", "gpt2", "digits-2", "digits-5") for p in peers]
    rung = [*peers[:2], ("bank in turn", ""), peers[2]]
    wanted += [("rung-4", *peer) for peer in rung]
    assert [(row["case"], row["learner"], row["graphs"]) for row in rows] == wanted
    for row in rows:
        assert float(row["seconds"]) > 0
        assert (row["device"], row["precision"]) == ("cpu", "fp32")
        if row["graphs"] == "off":
            assert float(row["replayed"]) == 0
        if row["case"] == "rung-4":
            continue
        assert float(row["tflops"]) > 0
        if row["graphs"] == "on":
            continue
        shares = [float(row[phase]) for phase in ("forward", "backward", "optimizer", "other")]
        assert min(shares) > 0
        assert sum(shares) == pytest.approx(1, abs=1e-2)
    assert float(rows[-4]["replayed"]) > 0
    assert [row["runs"] for row in rows[-4:]] == ["4", "4", "4", "4"]
    assert "accuracy of digits" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(script, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU"):
        script("gpu").main([])


def test_the_bank_learns_what_a_plain_loop_learns(script):
    """Two rounds of the peers' task: the same weights but for rounding."""
    task, mlp, plain, ours, banked = map(script, ("task", "mlp", "plain", "ours", "banked"))
    assert sum(weight.size for weight in task.first_weights()) == 101_386
    clock = task.Clock(0)
    expected = mlp.weights_of(plain.train(clock))
    found = banked.weights_of(ours.passes(clock))
    for one, other, first in zip(found, expected, task.first_weights(), strict=True):
        assert np.abs(other - first).max() > 1e-3
        assert np.abs(one - other).max() < 1e-5


def test_the_whole_learner_learns_the_task(script):
    task, ours, banked = map(script, ("task", "ours", "banked"))
    begin = task.accuracy(task.first_weights())
    assert task.accuracy(banked.weights_of(ours.whole(task.Clock(3)))) > begin + 0.2
