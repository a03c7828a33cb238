"""``floss-sim device``: classes, the speed of this machine, and estimates on devices."""

from __future__ import annotations

import json

import commands
import pytest

from floss_sim.training import device_steps
from floss_sim.training.device_steps import StepCase

TINY = (
    StepCase("bert", "text-classification", 32, 1, 8, 2, 1),
    StepCase("bert", "text-classification", 64, 2, 16, 4, 2),
    StepCase("llama", "next-token", 64, 2, 16, 2, 1),
)


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    return lambda *words: commands.call(monkeypatch, capfd, "floss-sim", *words)


def test_device_classes_are_listed_and_shown(call):
    code, out, _ = call("device", "list", "--json")
    assert code == 0
    listed = {each["name"]: each for each in json.loads(out)}
    assert listed["snapdragon-778g"]["steps"][0]["seconds"] == 229.5
    code, out, _ = call("device", "show", "snapdragon-778g")
    assert code == 0
    assert "614 MFLOP/s fp32 in training" in out
    assert "3.82 min" in out
    assert call("device", "show", "nokia") == (
        2, "",
        "floss-sim: unknown device class 'nokia'; valid: epyc-1-core, snapdragon-778g, or a path "
        "that ends in .toml\n",
    )  # fmt: skip


def test_this_machine_is_measured_and_serves_as_a_device(call, tmp_path, monkeypatch):
    monkeypatch.setattr(device_steps, "CASES", TINY)
    monkeypatch.setattr(device_steps, "_PEAK_SIDE", 64)
    code, out, _ = call("device", "measure", "--out", "mine.toml", "--threads", "1", "--json")
    assert code == 0
    made = json.loads(out)
    assert len(made["steps"]) == 3
    assert made["operations_per_s"]["fp32"] > 0
    assert 0 <= made["median_error"] <= made["error"] + 1e-3
    code, _, err = call("device", "measure", "--out", "mine.toml")
    assert (code, "add --force to allow it" in err) == (2, True)
    (tmp_path / "net.toml").write_text(
        'name = "net"\nsource = "s"\ndate = "d"\n[[clients]]\nshare = 1.0\ndown = "1 Mbit/s"\n'
        'up = "1 Mbit/s"\nrtt = "0 ms"\ncompute = { device = "mine.toml" }\n',
        encoding="utf-8",
    )
    code, out, _ = call("estimate", "--network", "net.toml", "--json", "--backbone", "minilm-l6")
    assert (code, json.loads(out)["compute_s"] > 0) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "mine.txt"], "device class 'mine.txt' must end in .toml"),
        (["--out", "mine.toml", "--precision", "fp8"], "precision 'fp8'; valid: fp32, bf16, or"),
        (["--out", "mine.toml", "--device", "tpu"], "unknown device 'tpu'; valid: auto, cpu"),
    ],
)
def test_a_wrong_measurement_is_refused_in_one_line(call, words, said):
    code, out, err = call("device", "measure", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_an_estimate_on_a_phone_says_that_compression_saves_no_time(call):
    words = ["--backbone", "gemma-3-270m", "--network", "phone-wifi", "--batch", "1"]
    code, out, _ = call("estimate", *words, "--examples", "10", "--rank", "8")
    assert code == 0
    said = " ".join(out.split())
    assert "10 steps of 141 GFLOP, 3.82 min each" in said
    assert (
        "compression saves no time here; fewer layers, shorter texts or fewer local steps do."
        in said
    )
    whole = json.loads(call("estimate", *words, "--json")[1])
    few = json.loads(call("estimate", *words, "--depth", "3", "--json")[1])
    short = json.loads(call("estimate", *words, "--tokens", "32", "--json")[1])
    assert few["compute_s"] < whole["compute_s"]
    assert short["compute_s"] < whole["compute_s"] / 4
    assert whole["compute_bound"]


def test_an_estimate_where_traffic_binds_says_nothing_of_compute(call):
    code, out, _ = call("estimate", "--network", "lte")
    assert (code, "compression saves no time" in out) == (0, False)
