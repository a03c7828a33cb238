"""The summary of ``floss-sim run``: each figure of the time again from the record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call
from networks import DRAWN, write_rows

from floss_sim import RunFolder, load_profile, retime
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.units import format_duration

RUN = ["floss-sim", "run", "--rank", "1", "--rounds", "3", "--eval-every", "3"]
SLOWEST = draw_cohort(0, 2, 50, 5).clients[0]
SLOW = "".join(f"{1e7 * (1 if n != SLOWEST else 1e-4):g},1e6\n" for n in range(50))


def told(monkeypatch, capfd, *words: str) -> str:
    code, out, err = call(monkeypatch, capfd, *words)
    assert code == 0, err
    return " ".join(out.replace("│", " ").split())


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    path = tmp_path / "drawn.toml"
    path.write_text(DRAWN, encoding="utf-8")
    return path


def test_the_time_has_an_interval_over_fleets(monkeypatch, capfd, tmp_path: Path, drawn: Path):
    words = [*RUN, "--network", str(drawn), "--out", str(tmp_path / "run")]
    table = told(monkeypatch, capfd, *words)
    summary = json.loads(told(monkeypatch, capfd, *words, "--json"))
    record = RunFolder.read(tmp_path / "run").record()
    profile = load_profile(str(drawn))
    ends_s = [
        retime(record, profile.model_copy(update={"seed": seed})).rounds["closed_at_s"][-1].as_py()
        for seed in range(40)
    ]
    low_s, middle_s, high_s = np.quantile(ends_s, [0.05, 0.5, 0.95], method="weibull")
    evaluated = record.evaluated().to_pylist()
    last = [row["accuracy"] for row in evaluated if row["round"] > 0.85 * evaluated[-1]["round"]]
    assert summary["validation_models"] == len(last)
    assert summary["validation_accuracy"] == pytest.approx(np.mean(last))
    assert f"validation accuracy {np.mean(last):.3f} (the last evaluation, of this run" in table
    assert summary["own_fleet_s"] == ends_s[0]
    assert summary["time"] == {
        "median_s": pytest.approx(middle_s), "low_s": pytest.approx(low_s),
        "high_s": pytest.approx(high_s), "draws": 40, "method": "closed form",
    }  # fmt: skip
    low, middle, high, own = map(format_duration, (low_s, middle_s, high_s, ends_s[0]))
    assert f"simulated time {middle} ({low} to {high}): median (5 to 95 %) over fleets" in table
    slower = sum(s < ends_s[0] for s in ends_s)
    assert (
        f"recorded time {own} on the profile's own fleet (seed 0), slower than {slower} of 40"
    ) in table


def test_a_network_that_draws_nothing_says_so(monkeypatch, capfd, tmp_path: Path):
    table = told(monkeypatch, capfd, *RUN, "--out", str(tmp_path / "run"))
    assert "; paper-200-20 is the same for every seed: one time" in table
    assert "recorded time" not in table
    assert "paper-200-20 has no round trip and no compute: its seconds are those of" in table


def test_a_time_that_shapes_training_is_one_clock(monkeypatch, capfd, tmp_path: Path, drawn: Path):
    words = [*RUN, "--network", str(drawn), "--policy", "first-k:3", "--out", str(tmp_path / "run")]
    table = told(monkeypatch, capfd, *words)
    own_s = RunFolder.read(tmp_path / "run").record().rounds["closed_at_s"][-1].as_py()
    assert f"simulated time {format_duration(own_s)} on the recorded fleet; time shaped" in table
    summary = json.loads(told(monkeypatch, capfd, *words, "--json"))
    assert (summary["time"]["median_s"], summary["time"]["method"]) == (own_s, "recorded")
    assert summary["straggler"] is None


def test_a_client_that_decides_the_time_is_named(monkeypatch, capfd, tmp_path: Path):
    (tmp_path / "rows.csv").write_text("down_bits_per_s,up_bits_per_s\n" + SLOW, encoding="utf-8")
    (tmp_path / "slow.toml").write_text(
        'name = "slow"\nsource = "made"\ndate = "2026"\n[fleet]\nlaw = "table"\n'
        'file = "rows.csv"\nrtt = "20 ms"\ncompute_per_example = "1 ms"\n',
        encoding="utf-8",
    )
    words = [*RUN, "--network", str(tmp_path / "slow.toml"), "--rounds", "12"]
    words += ["--out", str(tmp_path / "run")]
    table = told(monkeypatch, capfd, *words)
    assert "slow is the same for every seed: one time" in table
    assert "traffic alone" not in table
    assert f"straggler client {SLOWEST} (1 kbit/s down, 1 Mbit/s up, round trip 20 ms" in table
    assert "; removed by --policy deadline:" in table
    found = json.loads(told(monkeypatch, capfd, *words, "--json"))["straggler"]
    record = RunFolder.read(tmp_path / "run").record()
    assert found["run_s"] == pytest.approx(record.rounds["closed_at_s"][-1].as_py())
    assert found["run_without_s"] < found["run_s"] / 2


def test_fleets_with_one_slow_client_explain_the_interval(monkeypatch, capfd, tmp_path: Path):
    words = [*RUN, "--network", str(write_rows(tmp_path, equal=60)), "--out", str(tmp_path / "run")]
    table = told(monkeypatch, capfd, *words)
    summary = json.loads(told(monkeypatch, capfd, *words, "--json"))
    slow = summary["slow_fleets"]
    assert slow["worst_link"]["up_bits_per_s"] == 100
    assert (
        f"slow fleets on {slow['fleets']} of 40 fleets a single client takes more than half of "
        "the time, at worst one with 10 Mbit/s down, 100 bit/s up"
    ) in table
    assert summary["time"]["high_s"] > 2 * summary["time"]["median_s"]
