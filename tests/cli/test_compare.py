"""``floss-sim compare`` on hand-made records: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import commands
import numpy as np
import pytest
from made_runs import cache_test_metrics, make_run
from networks import DRAWN

from floss_sim import RunFolder, load_profile, retime
from floss_sim.analysis import recorded_networks
from floss_sim.analysis.last_part import LAST_LEGEND
from floss_sim.analysis.time_spread import SHAPED_NOTE, SPREAD_LEGEND
from floss_sim.network import NetworkProfile
from floss_sim.plots import accuracy
from floss_sim.records.on_test import ModelOnTest
from floss_sim.units import format_duration

LOW = [(0.5, 10_000, 2000, 1.0), (0.75, 10_000, 2000, 2.0)]
HIGH = [(0.75, 10_000, 4000, 2.0), (1.0, 10_000, 2000, 3.0)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "dense-s0", LOW, method="dense", test={2: 0.5})
    make_run(tmp_path / "runs" / "dense-s1", HIGH, method="dense", seed=1)
    make_run(tmp_path / "runs" / "floss-s0", HIGH[:1], rank=8)
    return tmp_path


def call(monkeypatch, capfd, *arguments: str) -> tuple[int, str, str]:
    return commands.call(monkeypatch, capfd, "floss-sim", "compare", *arguments)


def test_the_table_says_every_number_the_best_first(monkeypatch, capfd, home: Path):
    code, out, err = call(monkeypatch, capfd, "runs", "--target", "0.8")
    assert (code, err) == (0, "")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "dense r4 2 2 0.875 0.177 0.500 (1) 5 kB 1.25 kB 25 kB 2.5 s 2 25 kB 2.5 s 0.625" in rows
    assert "floss r8 1 1 0.750 - - 5 kB 2 kB 14 kB 2 s not reached - - 0.750" in rows
    assert out.index("dense r4") < out.index("floss r8")
    assert "0.8 at round" in out
    assert "unless a label" not in out
    assert (home / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_test_accuracy_has_the_interval_of_its_run(monkeypatch, capfd, tmp_path: Path):
    """One seed: that of a share of 400 examples. Two: wider, since seeds differ, too."""
    monkeypatch.chdir(tmp_path)
    right_E = np.arange(400) < 320
    for seed, flips in ((0, 0), (1, 40)):
        path = make_run(tmp_path / "runs" / f"s{seed}", LOW, seed=seed)
        model = ModelOnTest((320 + flips) / 400, 0.5, right_E | (np.arange(400) >= 400 - flips))
        cache_test_metrics(RunFolder.read(path), 2, model.to_json())
    code, out, err = call(monkeypatch, capfd, "runs/s0")
    half = 1.645 * (0.8 * 0.2 / 400) ** 0.5
    assert (code, err) == (0, "")
    assert f"0.800±{half:.3f}" in out
    assert "± of a test accuracy: half of its 90 % interval" in out
    tests = []
    for words in (["runs/s0"], ["runs"]):
        _, out, _ = call(monkeypatch, capfd, *words, "--json")
        (one,) = json.loads(out)["configurations"]
        assert one["test"]["mean"] == pytest.approx(one["test_accuracy"])
        tests.append(one["test"])
    assert [test["seeds"] for test in tests] == [1, 2]
    assert [test["examples"] for test in tests] == [400, 400]
    assert tests[0]["high"] - tests[0]["low"] == pytest.approx(2 * half, rel=0.02)
    assert tests[1]["high"] - tests[1]["low"] > 2 * half


def test_a_limit_reads_earlier_and_says_what_has_no_point(monkeypatch, capfd, home: Path):
    code, out, _ = call(monkeypatch, capfd, "runs", "--at", "13kB")
    assert code == 0
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "dense r4 2 1 0.625 0.177 - 5 kB 1.5 kB 13 kB 1.5 s" in rows
    assert "floss r8 1 - - - - - - - -" in rows
    assert "within 13kB" in out


def test_the_answer_for_machines_holds_everything(monkeypatch, capfd, home: Path):
    code, out, _ = call(
        monkeypatch, capfd, "runs/*", "--json", "--target", "0.8", "--out", "p.png", "--x", "round"
    )
    assert code == 0
    answer = json.loads(out)
    assert answer["task"] == "made"
    assert (answer["at"], answer["target"], answer["picture"]) == (None, 0.8, "p.png")
    dense, floss = answer["configurations"]
    assert (dense["label"], dense["method"], dense["seeds"]) == ("dense r4", "dense", [0, 1])
    assert dense["runs"] == ["runs/dense-s0", "runs/dense-s1"]
    assert dense["settings"]["rank"] == 4
    assert dense["read_at"] == {
        "round": 2, "own_fleet_s": 2.5, "total_bytes": 25000.0, "accuracy": 0.875,
        "accuracy_sd": pytest.approx(0.25 / 2**0.5), "lowest": 0.75, "highest": 1.0,
        "time": {
            "median_s": 2.5, "low_s": 2.5, "high_s": 2.5, "draws": 1, "method": "recorded",
        },
    }  # fmt: skip
    assert (dense["test_accuracy"], dense["test_seeds"]) == (0.5, 1)
    assert dense["down_bytes_per_client_round"] == 5000
    assert dense["reached_at"] == dense["read_at"]
    assert [point["round"] for point in dense["curve"]] == [1, 2]
    assert floss["label"] == "floss r8"
    assert floss["reached_at"] is None
    assert floss["test_accuracy"] is None
    assert (home / "p.png").exists()


def test_a_column_has_the_accuracies_at_equal_bytes(monkeypatch, capfd, home: Path):
    """The cheapest run takes 12 kB; the two seeds of dense r4 take 13 kB in their first round."""
    make_run(home / "runs" / "small", [(0.25, 10_000, 2000, 1.0)], rank=2)
    code, out, _ = call(monkeypatch, capfd, "runs")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert (code, rows[2].endswith("bytes time last eval. at 12 kB")) == (0, True)
    ends = {row[: len("floss r8")]: row.split()[-1] for row in rows if " r" in row}
    assert [ends[label] for label in ("floss r2", "floss r8", "dense r4")] == ["0.250", "-", "-"]
    assert "last eval. at 12 kB: at equal bytes, the last one within the bytes of the" in out
    _, out, _ = call(monkeypatch, capfd, "runs", "--json")
    answer = json.loads(out)
    assert answer["equal_bytes"] == 12_000
    assert LAST_LEGEND in answer["notes"]
    known = [one["at_equal_bytes"] for one in answer["configurations"]]
    assert [one and one["accuracy"] for one in known] == [None, None, 0.25]
    for words in (["runs", "--at", "20kB"], ["runs/small"]):  # these tell nothing new
        _, out, _ = call(monkeypatch, capfd, *words)
        assert "equal bytes" not in out


def test_a_target_that_nobody_reaches_is_said_and_ends_with_3(monkeypatch, capfd, home: Path):
    code, out, err = call(monkeypatch, capfd, "runs", "--target", "0.9")
    said = "no configuration reaches accuracy 0.9: the highest is 0.875, dense r4 at round 2"
    assert (code, err, said in out.splitlines()) == (3, "", True)
    assert (home / "comparison.png").exists()
    code, out, _ = call(monkeypatch, capfd, "runs", "--target", "0.9", "--json")
    assert (code, said in json.loads(out)["notes"]) == (3, True)


def test_the_long_data_holds_every_evaluated_round_of_every_run(monkeypatch, capfd, home: Path):
    code, _, _ = call(monkeypatch, capfd, "runs", "--csv", "long.csv")
    assert code == 0
    with (home / "long.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["label", "seed", "round", "seconds", "bytes", "accuracy", "loss"]
    assert rows[1] == ["dense r4", "0", "1", "1.0", "12000", "0.5", "0.5"]
    assert [row[:3] for row in rows[2:]] == [
        ["dense r4", "0", "2"],
        ["dense r4", "1", "1"],
        ["dense r4", "1", "2"],
        ["floss r8", "0", "1"],
    ]


@pytest.mark.parametrize(
    ("arguments", "x", "at"),
    [
        (["--at", "1"], "total_bytes", None),
        (["--at", "13kB"], "total_bytes", 13000),
        (["--at", "13kB", "--x", "seconds"], "closed_at_s", None),
        (["--at", "2s", "--x", "seconds"], "closed_at_s", 2),
        (["--at", "1", "--x", "round"], "round", 1),
        (["--at", "2s", "--x", "time"], "closed_at_s", 2),
        (["--at", "13kB", "--x", "Traffic"], "total_bytes", 13000),
        (["--at", "1", "--x", "rounds"], "round", 1),
    ],
)
def test_the_picture_marks_a_limit_on_its_own_axis(
    monkeypatch, capfd, home: Path, arguments, x, at
):
    drawn = []
    draw = accuracy.draw_comparison

    def watch(frame, column, task, **marks):
        drawn.append((column, task, marks))
        return draw(frame, column, task, **marks)

    monkeypatch.setattr(accuracy, "draw_comparison", watch)
    code, _, _ = call(monkeypatch, capfd, "runs", *arguments)
    assert code == 0
    assert drawn == [(x, "made", {"target": None, "at": at})]


def test_notes_stand_below_the_table(monkeypatch, capfd, home: Path):
    make_run(home / "runs" / "begun", [], rank=16)
    code, out, _ = call(monkeypatch, capfd, "runs")
    assert code == 0
    assert "runs/begun left out: it holds no evaluated round" in out
    network = RunFolder.read(home / "runs" / "begun").manifest().network
    assert f"seconds: of the network that each run was recorded on ({network}); " in out


def test_a_narrow_terminal_folds_labels_and_cuts_nothing(monkeypatch, capfd, home: Path):
    make_run(home / "runs" / "long", LOW, method="floss-with-quite-a-long-name", fleet={"law": "x"})
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = call(monkeypatch, capfd, "runs", "--target", "0.7")
    assert code == 0
    assert "…" not in out
    assert "1.25 kB" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument 'runs'"),
        (["nowhere"], "no run folder at nowhere"),
        (["runs/z*"], "no run folder at runs/z*"),
        (["runs/dense-s0/run.json"], "is not a run folder"),
        (["runs", "other"], "different tasks cannot be compared: made"),
        (["runs", "--at", "soon"], "valid: 100 (rounds), 20MB or 30s"),
        (["runs", "--target", "90"], "outside (0, 1]"),
        (["runs", "--target", "nan"], "outside (0, 1]"),
        (["runs", "--x", "hours"], "no axis; valid: round, bytes, seconds, rounds, traffic, time"),
        (["runs", "--out", "picture.pdf"], "must end in .png"),
        (["runs", "--out", "no/such/folder.png"], "cannot write no/such/folder.png"),
        (["runs", "--csv", "no/such/folder.csv"], "cannot write no/such/folder.csv"),
        (["begun"], "no run holds an evaluated round"),
    ],
)
def test_bad_input_is_one_line(monkeypatch, capfd, home: Path, arguments, says):
    make_run(home / "other", LOW, task="other")
    make_run(home / "begun", [])
    code, out, err = call(monkeypatch, capfd, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("floss-sim: ")
    assert says in err
    assert err.count("\n") == 1


def test_a_damaged_run_is_named(monkeypatch, capfd, home: Path):
    for part in (home / "runs" / "dense-s1").glob("rounds-*"):
        part.write_bytes(b"half")
    code, _, err = call(monkeypatch, capfd, "runs")
    assert code == 2
    assert "runs/dense-s1/rounds-000002-01234567.parquet is damaged (4 bytes instead of" in err
    assert err.count("\n") == 1


def test_help_has_examples():
    command = [sys.executable, "-m", "floss_sim", "compare", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Examples:" in done.stdout
    assert "--at 20MB --target 0.9" in done.stdout


@pytest.mark.parametrize("table", ["nodir/d.csv", "runs", "c.png"])
def test_nothing_is_written_if_one_file_cannot_be(monkeypatch, capfd, home: Path, table: str):
    before = sorted(home.rglob("*"))
    code, out, err = call(monkeypatch, capfd, "runs", "--out", "c.png", "--csv", table)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert table in err
    assert sorted(home.rglob("*")) == before


def test_what_killed_commands_left_is_removed(monkeypatch, capfd, home: Path):
    left = [home / ".floss-sim-999999999-c.png", home / "runs/dense-s0/.floss-sim-999999999-x"]
    for path in left:
        path.touch()
    assert call(monkeypatch, capfd, "runs", "--out", "d.png")[0] == 0
    assert [path for path in left if path.exists()] == []


@pytest.fixture
def drawn(home: Path, monkeypatch) -> NetworkProfile:
    """A network that is packaged, as far as the command knows, and draws its links."""
    (home / "drawn.toml").write_text(DRAWN, encoding="utf-8")
    profile = load_profile(str(home / "drawn.toml"))
    monkeypatch.setattr(recorded_networks, "profile_of_name", {"drawn": profile}.__getitem__)
    for name, seed, rank in (("a0", 0, 4), ("a1", 1, 4), ("b", 0, 8)):
        rows = LOW if rank == 4 else HIGH
        make_run(home / "drawn" / name, rows, seed=seed, rank=rank, on=profile)
    return profile


def fleets_s(paths: list[Path], profile: NetworkProfile, rounds: int) -> np.ndarray:
    """Return mean seconds of recorded runs on 40 fleets, re-timed one after the other."""
    fleets = [profile.model_copy(update={"seed": seed}) for seed in range(40)]
    records = [RunFolder.read(path).record() for path in paths]
    return np.array(
        [
            np.mean([retime(r, f).rounds["closed_at_s"][rounds - 1].as_py() for r in records])
            for f in fleets
        ]
    )


def test_times_are_intervals_and_pairs_over_common_fleets(
    monkeypatch, capfd, home: Path, drawn: NetworkProfile
):
    code, out, err = call(monkeypatch, capfd, "drawn", "--target", "0.75")
    assert (code, err) == (0, "")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    slow_s = fleets_s([home / "drawn" / "a0", home / "drawn" / "a1"], drawn, 2)
    fast_s = fleets_s([home / "drawn" / "b"], drawn, 1)
    low, middle, high = np.quantile(slow_s, [0.05, 0.5, 0.95], method="weibull")
    text = f"{format_duration(middle)} ({format_duration(low)} to {format_duration(high)})"
    assert f"floss r4 2 2 0.750 0.000 - 5 kB 1 kB 24 kB {text} 2 24 kB {text} 0.750" in rows
    assert (fast_s < slow_s).all()
    assert "to accuracy 0.75: floss r8 is faster than floss r4 in 100 % of fleets" in rows
    assert f"time: {SPREAD_LEGEND}" in rows


def test_a_limit_of_seconds_holds_for_the_median(
    monkeypatch, capfd, home: Path, drawn: NetworkProfile
):
    middle_s = float(np.median(fleets_s([home / "drawn" / "b"], drawn, 1)))
    for limit_s, round_ in ((0.999 * middle_s, None), (1.001 * middle_s, 1)):
        code, out, _ = call(monkeypatch, capfd, "drawn/b", "--at", f"{limit_s:.9f}s", "--json")
        (read,) = json.loads(out)["configurations"]
        assert code == 0
        assert (read["read_at"] and read["read_at"]["round"]) == round_


def test_a_run_whose_training_time_shaped_has_one_time(monkeypatch, capfd, home: Path):
    make_run(home / "late", LOW, conditions={"policy": {"name": "deadline"}})
    code, out, _ = call(monkeypatch, capfd, "late")
    assert code == 0
    assert f"one recorded time on the recorded network: {SHAPED_NOTE}" in out
    assert "is faster" not in out
