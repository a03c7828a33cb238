"""Fits of a device's speed: exact steps come back, and the error is that of the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from floss_sim.errors import ProfileError
from floss_sim.network.devices.device_class import load_device
from floss_sim.network.devices.fit import Measurement, device_text, fit_speed


def steps(precision: str, step_s: float, rate: float, noise=lambda n: 1.0) -> list[Measurement]:
    return [
        Measurement("m", 8, 1, precision, n * 1e9, noise(n) * (step_s + n * 1e9 / rate))
        for n in range(1, 9)
    ]


def test_exact_steps_of_two_precisions_come_back():
    made = fit_speed("mine", [*steps("fp32", 0.02, 5e9), *steps("bf16", 0.02, 40e9)])
    assert made.speed.step_s == pytest.approx(0.02, rel=1e-9)
    assert dict(made.speed.rates) == pytest.approx({"fp32": 5e9, "bf16": 40e9}, rel=1e-9)
    assert made.largest_error < 1e-9


def test_noise_of_ten_percent_moves_the_rate_by_less():
    draw = np.random.default_rng(0)
    made = fit_speed("mine", steps("fp32", 0.0, 5e9, lambda n: 1 + draw.uniform(-0.1, 0.1)))
    assert made.speed.operations_per_s("fp32") == pytest.approx(5e9, rel=0.1)
    assert made.median_error <= made.largest_error <= 0.2
    assert made.speed.step_s >= 0


def test_a_class_is_written_and_read_again(tmp_path: Path):
    made = fit_speed("mine", steps("fp32", 0.02, 5e9))
    text = device_text(made, source='the "lab"', date="2026-01-01", measured="by hand")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    again = load_device(str(tmp_path / "mine.toml"))
    assert again.speed == made.speed or again.speed.step_s == pytest.approx(0.02)
    assert (again.source, len(again.steps)) == ('the "lab"', 8)


def test_too_few_steps_are_refused():
    with pytest.raises(ProfileError, match="2 steps in bf16; a fit needs 3 or more"):
        fit_speed("mine", [*steps("fp32", 0, 1e9), *steps("bf16", 0, 1e9)[:2]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[rates]\n", "rates: give the rate of at least one of int4, int8, bf16, fp32"),
        ('[rates]\nfp16 = "1 GFLOP/s"\n', "rates.fp16: unknown key; valid: int4, int8"),
        ('[rates]\nfp32 = "fast"\n', "rates.fp32: rate of operations 'fast' is not a number"),
        ("", "rates: missing; valid: a table with keys of int4, int8, bf16, fp32"),
    ],
)
def test_a_wrong_class_is_refused_in_one_line(tmp_path: Path, text: str, said: str):
    head = 'name = "a"\nsource = "b"\ndate = "c"\nmeasured = "d"\n'
    (tmp_path / "mine.toml").write_text(head + text, encoding="utf-8")
    with pytest.raises(ProfileError) as error:
        load_device(str(tmp_path / "mine.toml"))
    assert said in str(error.value)
