"""``floss-sim replay`` on hand-made records: what it prints, draws and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import commands
import numpy as np
import pytest
from made_runs import make_run, timed
from networks import DRAWN, write_rows

from floss_sim import RunFolder, load_profile, retime
from floss_sim.analysis.time_spread import SPREAD_LEGEND
from floss_sim.network import NetworkProfile
from floss_sim.network.named_changes import with_changes
from floss_sim.units import format_bytes, format_duration

DENSE = [(0.5, 40_000, 40_000, 0.0), (0.75, 40_000, 40_000, 0.0)]
FLOSS = [(0.5, 40_000, 4000, 0.0), (None, 40_000, 4000, 0.0), (0.75, 40_000, 4000, 0.0)]
MINE = """
name = "{name}"
source = "x"
date = "x"
[[clients]]
share = 1.0
down = "80 kbit/s"
up = "80 kbit/s"
rtt = "{rtt}"
compute_per_example = "0 ms"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    paper = load_profile("paper-200-20")
    make_run(tmp_path / "runs" / "dense", DENSE, method="dense", on=paper)
    make_run(tmp_path / "runs" / "floss", FLOSS, on=paper, rank=8)
    (tmp_path / "mine.toml").write_text(MINE.format(name="mine", rtt="1 s"))
    return tmp_path


def call(monkeypatch, capfd, *arguments: str) -> tuple[int, str, str]:
    return commands.call(monkeypatch, capfd, "floss-sim", "replay", *arguments)


def lines_of(out: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines()]


def test_a_line_for_each_configuration_and_network(monkeypatch, capfd, home: Path):
    networks = ["--network", "mine.toml", "--network", "paper-200-20"]
    code, out, err = call(monkeypatch, capfd, "runs", *networks, "--target", "0.7")
    assert (code, err) == (0, "")
    rows = lines_of(out)
    # 30 kB each way at 10 kB/s and a round trip of a second: 7 seconds a round
    assert "dense r4 mine 1 2 160 kB 14 s 7 s 0.750 2 160 kB 14 s" in rows
    assert "floss r8 mine 1 3 132 kB 12.9 s 4.3 s 0.750 3 132 kB 12.9 s" in rows
    assert (
        "dense r4 paper-200-20 (recorded) 1 2 160 kB 26.4 ms 13.2 ms 0.750 2 160 kB 26.4 ms" in rows
    )
    assert sum("paper-200-20 (recorded)" in row for row in rows) == 2
    assert not [row for row in rows if "paper-200-20 1" in row]  # not once more as re-timed
    assert "paper-200-20 is the same for every seed: one time" in rows
    alone = [row for row in rows if "its seconds are those of traffic alone" in row]
    assert [row.split()[0] for row in alone] == ["paper-200-20"]
    assert [row for row in rows if row.startswith("last eval.: validation accuracy of one")]
    assert rows[-1] == "picture: replay.png"
    assert (home / "replay.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_network_the_recorded_seconds_stand(monkeypatch, capfd, home: Path):
    code, out, _ = call(monkeypatch, capfd, "runs/dense", "--json", "--target", "0.9")
    assert code == 3
    answer = json.loads(out)
    assert (answer["task"], answer["target"], answer["picture"]) == ("made", 0.9, "replay.png")
    (line,) = answer["scenarios"]
    assert (line["label"], line["method"], line["seeds"]) == ("dense", "dense", [0])
    assert (line["network"], line["recorded"], line["rounds"]) == ("paper-200-20", True, 2)
    assert line["own_fleet_s"] == timed(DENSE, load_profile("paper-200-20"))[-1][3]
    assert line["time"]["median_s"] == line["own_fleet_s"] == 2 * line["round_time"]["median_s"]
    assert line["last"]["accuracy"] == 0.75
    assert line["reached_at"] is None
    assert [point["round"] for point in line["curve"]] == [1, 2]
    assert line["runs"] == ["runs/dense"]


def test_changes_apply_to_all_networks_or_to_the_recorded_one(monkeypatch, capfd, home: Path):
    changes = ["--upload-ratio", "4", "--rtt", "50ms", "--down", "100Mbit/s"]
    said = ", down 100Mbit/s, rtt 50ms, upload ratio 4"
    round_s = 0.05 + 8 * 30_000 / 100e6 + 8 * 30_000 / 25e6
    for networks, names in (
        ([], ["paper-200-20", f"paper-200-20{said}"]),
        (["--network", "lte", "--network", "mine.toml"], ["paper-200-20", f"lte{said}",
                                                         f"mine{said}"]),
    ):  # fmt: skip
        code, out, _ = call(monkeypatch, capfd, "runs/dense", "--json", *networks, *changes)
        assert code == 0
        lines = json.loads(out)["scenarios"]
        assert [line["network"] for line in lines] == names
        assert lines[-1]["time"]["median_s"] == pytest.approx(2 * round_s)


def test_a_target_that_nobody_reaches_is_said_and_ends_with_3(monkeypatch, capfd, home: Path):
    said = "no configuration reaches accuracy 0.9: the highest is 0.750, dense r4 at round 2"
    words = ["runs", "--network", "lte", "--target", "0.9"]
    code, out, err = call(monkeypatch, capfd, *words)
    assert (code, err, out.count("not reached")) == (3, "", 4)
    assert said in out.splitlines()
    code, out, _ = call(monkeypatch, capfd, *words, "--json")
    assert (code, said in json.loads(out)["notes"]) == (3, True)


def test_a_sweep_says_where_the_fastest_changes(monkeypatch, capfd, home: Path):
    sweep = ["--sweep", "rtt=0s,2s,5s,20s", "--out", "sweep.png"]
    code, out, err = call(monkeypatch, capfd, "runs", "--network", "mine.toml", *sweep)
    assert (code, err) == (0, "")
    rows = lines_of(out)
    assert rows[0] == "made: simulated time to accuracy 0.75 on mine; * marks the fastest"
    assert "rtt dense r4 floss r8" in rows
    assert "0s 12 s * 9.9 s" in rows
    assert "2s 16 s * 15.9 s" in rows
    assert "5s * 22 s 24.9 s" in rows
    assert "bytes 160 kB 132 kB" in rows  # two rounds of 80 kB, three of 44
    assert "the fastest changes from floss r8 to dense r4 between rtt 2s and 5s" in rows
    assert "accuracy 0.75: the highest that every configuration reaches" in rows
    assert (home / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_sweep_for_machines(monkeypatch, capfd, home: Path):
    code, out, _ = call(
        monkeypatch, capfd, "runs", "--network", "mine.toml", "--network", "lte", "--json",
        "--sweep", "rtt=2s,5s", "--target", "0.5",
    )  # fmt: skip
    assert code == 0
    answer = json.loads(out)
    assert (answer["sweep"], answer["target"]) == ("rtt", 0.5)
    mine, lte = answer["networks"]
    assert (mine["network"], lte["network"]) == ("mine", "lte")
    assert mine["rows"][0] == {
        "value": "2s", "fastest": ["floss r8"],
        "bytes": {"dense r4": 80_000, "floss r8": 44_000},
        "seconds": {"dense r4": pytest.approx(8), "floss r8": pytest.approx(5.3)},
        "times": {
            label: {
                "median_s": pytest.approx(s), "low_s": pytest.approx(s),
                "high_s": pytest.approx(s), "draws": 1, "method": "closed form",
            }
            for label, s in (("dense r4", 8), ("floss r8", 5.3))
        },
        "fraction_of_fleets_before_second": None,
    }  # fmt: skip
    assert mine["verdict"] == "floss r8 is the fastest at every value"


def test_a_sweep_that_changes_bytes_tells_the_least_and_the_most(monkeypatch, capfd, home: Path):
    """Every client that takes part by then downloads the backbone once."""
    words = ["runs/dense", "--network", "mine.toml", "--sweep", "first-download=1MB,9MB"]
    code, out, err = call(monkeypatch, capfd, *words, "--json")
    assert (code, err) == (0, "")
    one, nine = (row["bytes"]["dense"] for row in json.loads(out)["networks"][0]["rows"])
    first = {row["client"] for row in RunFolder.read(home / "runs/dense").record().transfers
             .to_pylist()}  # fmt: skip
    assert (one - 160_000, nine - 160_000) == (len(first) * 1_000_000, len(first) * 9_000_000)
    code, out, err = call(monkeypatch, capfd, *words)
    assert f"bytes {format_bytes(one)} to {format_bytes(nine)}" in lines_of(out)


def test_a_sweep_of_one_configuration_marks_nothing(monkeypatch, capfd, home: Path):
    code, out, _ = call(monkeypatch, capfd, "runs/dense", "--sweep", "up=1Mbit/s,10Mbit/s")
    assert code == 0
    assert lines_of(out)[0] == "made: simulated time to accuracy 0.75 on paper-200-20"
    assert "*" not in out
    assert "fastest" not in out


def test_a_sweep_whose_target_nobody_reaches_draws_nothing(monkeypatch, capfd, home: Path):
    code, out, _ = call(monkeypatch, capfd, "runs", "--sweep", "rtt=1s", "--target", "1")
    assert code == 3
    assert "no configuration reaches accuracy 1: the highest is 0.750" in out
    assert out.count("not reached") == 2
    assert "bytes - -" in lines_of(out)
    assert "no configuration reaches 1" in out
    assert "picture: none" in out
    assert not (home / "replay.png").exists()


def test_a_run_without_an_evaluated_round_has_seconds_alone(monkeypatch, capfd, home: Path):
    make_run(home / "young", [(None, 40_000, 40_000, 0.0)], on=load_profile("lte"))
    code, out, _ = call(monkeypatch, capfd, "young", "--network", "mine.toml")
    assert code == 0
    assert "floss mine 1 1 80 kB 7 s 7 s -" in lines_of(out)
    assert "picture: none, because no round was evaluated" in out


def test_a_narrow_terminal_cuts_nothing(monkeypatch, capfd, home: Path):
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = call(monkeypatch, capfd, "runs", "--rtt", "1s", "--target", "0.7")
    assert code == 0
    assert "…" not in out
    assert "132 kB" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument 'runs'"),
        (["nowhere"], "no run folder at nowhere"),
        (["runs", "--network", "dialup"], "valid: "),
        (["runs", "--network", "lost.toml"], "cannot read lost.toml"),
        (["runs", "--network", "mine.toml", "--network", "also.toml"], "are named 'mine'"),
        (["runs", "--rtt", "5 parsecs"], "rtt: duration '5parsecs' has unit 'parsecs'; valid"),
        (["runs", "--down", "100"], "down: rate '100' is not a number with a unit"),
        (["runs", "--upload-ratio", "many"], "upload-ratio: 'many' is not a number"),
        (["runs", "--up", "1Mbit/s", "--upload-ratio", "2"], "both set the up rates"),
        (["runs", "--sweep", "rtt"], "sweep 'rtt' lacks a value"),
        (["runs", "--sweep", "tea=1,2"], "cannot sweep 'tea'; valid: down, up, rtt, upload-ratio"),
        (["runs", "--sweep", "rtt=1ms,soon"], "rtt: duration 'soon' is not a number"),
        (["runs", "--sweep", "rtt=1ms", "--rtt", "1ms"], "'rtt' is both swept and set"),
        (["runs", "--target", "90"], "outside (0, 1]"),
        (["runs", "--out", "picture.pdf"], "must end in .png"),
        (["runs", "--out", "no/such/folder.png"], "cannot write no/such/folder.png"),
        (["begun"], "no run holds a committed round"),
        (["young", "--target", "0.9"], "this run has no evaluated round: young"),
        (["runs", "young", "--sweep", "rtt=1ms"], "this run has no evaluated round: young"),
        (["runs", "other"], "different tasks cannot be compared"),
        (["foreign", "--rtt", "1ms"], "'mine', which is not a packaged network; give a --network"),
        (["late", "--network", "lte"], "--task made --method floss --rank 4 --seed 0 --network"),
    ],
)
def test_bad_input_is_one_line(monkeypatch, capfd, home: Path, arguments, says):
    (home / "also.toml").write_text(MINE.format(name="mine", rtt="2 s"))
    mine = load_profile("mine.toml")
    make_run(home / "begun", [])
    make_run(home / "young", [(None, 1000, 1000, 0.0)], on=load_profile("lte"), rank=2)
    make_run(home / "other", DENSE, task="other")
    make_run(home / "foreign", DENSE, on=mine)
    make_run(home / "late", DENSE, conditions={"policy": {"name": "deadline"}})
    code, out, err = call(monkeypatch, capfd, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("floss-sim: ")
    assert says in err
    assert err.count("\n") == 1
    assert not (home / "replay.png").exists()


def test_seeds_on_several_networks_need_a_network(monkeypatch, capfd, home: Path):
    make_run(home / "seed1", DENSE, method="dense", seed=1, on=load_profile("lte"))
    code, out, err = call(monkeypatch, capfd, "runs/dense", "seed1")
    assert (code, out) == (2, "")
    assert "recorded on lte and paper-200-20; give a --network" in err
    code, out, _ = call(monkeypatch, capfd, "runs/dense", "seed1", "--network", "mine.toml")
    assert code == 0
    assert "dense mine 2 2 160 kB 14 s 7 s 0.750" in lines_of(out)
    assert "recorded" not in out.partition("mine")[2]


def test_help_has_examples():
    command = [sys.executable, "-m", "floss_sim", "replay", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Examples:" in done.stdout
    assert "--sweep upload-ratio=1,2,4,8,16,32" in done.stdout


@pytest.fixture
def drawn(home: Path) -> Path:
    (home / "drawn.toml").write_text(DRAWN, encoding="utf-8")
    return home / "drawn.toml"


def fleets_s(path: Path, profile: NetworkProfile, rounds: int) -> np.ndarray:
    """Return the seconds of a recorded run on 40 fleets, re-timed one after the other."""
    record = RunFolder.read(path).record()
    fleets = [profile.model_copy(update={"seed": seed}) for seed in range(40)]
    return np.array([retime(record, f).rounds["closed_at_s"][rounds - 1].as_py() for f in fleets])


def interval(seconds: np.ndarray) -> str:
    low, middle, high = np.quantile(seconds, [0.05, 0.5, 0.95], method="weibull")
    return f"{format_duration(middle)} ({format_duration(low)} to {format_duration(high)})"


def test_times_are_intervals_and_pairs_over_common_fleets(
    monkeypatch, capfd, home: Path, drawn: Path
):
    options = ["--network", str(drawn), "--target", "0.7"]
    code, out, err = call(monkeypatch, capfd, "runs", *options)
    assert (code, err) == (0, "")
    rows, profile = lines_of(out), load_profile(str(drawn))
    dense_s = fleets_s(home / "runs" / "dense", profile, 2)
    floss_s = fleets_s(home / "runs" / "floss", profile, 3)
    (row,) = (row for row in rows if row.startswith("dense r4 drawn"))
    a_round = interval(dense_s / 2)
    assert row == (
        f"dense r4 drawn 1 2 160 kB {interval(dense_s)} {a_round} 0.750 2 160 kB "
        f"{interval(dense_s)}"
    )
    first, second = ("dense r4", "floss r8")
    wins = 100 * (dense_s < floss_s).mean()
    if np.median(floss_s) < np.median(dense_s):
        first, second, wins = second, first, 100 - wins
    sentence = f"{first} is faster than {second} in {wins:.0f} % of fleets"
    assert f"drawn, to accuracy 0.7: {sentence}" in rows
    assert f"time: {SPREAD_LEGEND}" in rows
    assert "paper-200-20 is the same for every seed: one time" in rows
    _, out, _ = call(monkeypatch, capfd, "runs", *options, "--json")
    answer = json.loads(out)
    (line,) = (
        x for x in answer["scenarios"] if (x["label"], x["network"]) == ("dense r4", "drawn")
    )
    assert line["own_fleet_s"] == dense_s[0]
    assert line["round_time"] == {
        "median_s": pytest.approx(np.median(dense_s) / 2),
        "low_s": pytest.approx(line["time"]["low_s"] / 2),
        "high_s": pytest.approx(line["time"]["high_s"] / 2),
        "draws": 40,
        "method": "closed form",
    }
    assert line["time"]["median_s"] == line["reached_at"]["time"]["median_s"]
    assert line["time"]["median_s"] == pytest.approx(np.median(dense_s))
    assert f"drawn, to accuracy 0.7: {sentence}" in answer["notes"]


def test_a_sweep_says_on_how_many_fleets_the_fastest_wins(
    monkeypatch, capfd, home: Path, drawn: Path
):
    sweep = ["--network", str(drawn), "--sweep", "rtt=0ms,1s", "--target", "0.7"]
    code, out, err = call(monkeypatch, capfd, "runs", *sweep)
    assert (code, err) == (0, "")
    profile = with_changes(load_profile(str(drawn)), {"rtt": "1s"})
    dense_s = fleets_s(home / "runs" / "dense", profile, 2)
    floss_s = fleets_s(home / "runs" / "floss", profile, 3)
    assert (dense_s < floss_s).all()  # a round of a second fewer
    row = f"1s * {interval(dense_s)} {interval(floss_s)} 100 % of fleets"
    assert row in lines_of(out)
    assert "before the second" in out


def test_the_network_that_is_given_makes_a_recorded_run_known(
    monkeypatch, capfd, home: Path, drawn: Path
):
    profile = load_profile(str(drawn))
    make_run(home / "own", DENSE, on=profile)
    code, out, _ = call(monkeypatch, capfd, "own")
    assert code == 0
    assert "one recorded time: drawn is neither packaged nor kept in the record; --network" in out
    code, out, _ = call(monkeypatch, capfd, "own", "--network", str(drawn))
    assert code == 0
    dense_s = fleets_s(home / "own", profile, 2)
    (row,) = (row for row in lines_of(out) if row.startswith("floss drawn (recorded)"))
    assert interval(dense_s) in row
    assert "one recorded time" not in out


def test_a_client_that_decides_is_named_once_on_each_network(monkeypatch, capfd, home: Path):
    """Client 1 sends three quarters of all bytes, and no rate of mine.toml differs."""
    code, out, _ = call(monkeypatch, capfd, "runs", "--network", "mine.toml")
    assert code == 0
    rows = lines_of(out)
    assert (
        "dense r4 on mine: client 1 (80 kbit/s down, 80 kbit/s up, round trip 1 s) holds up its "
        "rounds: 2 of 2 rounds have it, and take 7 s in the median instead of 3 s; without it the "
        "run takes 6 s instead of 14 s"
    ) in rows
    assert sum(" on mine: client 1 (" in row for row in rows) == 1
    removed = [row for row in rows if row.startswith("dense r4 on mine: removed by")]
    assert removed == [
        "dense r4 on mine: removed by --policy deadline:3s (about 6 s, 50 % of the updates lost); "
        "this changes what is learned"
    ]  # the fleet has no third client to select


def test_slow_fleets_are_told_once_on_each_network(monkeypatch, capfd, home: Path):
    """One of two clients decides if one has the slow row; client 1 does if both have it."""
    paper, path = load_profile("paper-200-20"), write_rows(home, equal=9)
    for name, rank in (("a", 4), ("b", 8)):
        make_run(home / "few" / name, [(0.5, 4000, 4000, 0.0)] * 3, rank=rank, on=paper)
    profile = load_profile(str(path))
    fleets = [profile.model_copy(update={"seed": seed}).links(2) for seed in range(40)]
    slow = sum(any(link.up_bits_per_s == 100 for link in links) for links in fleets)
    assert 0 < slow < 40
    code, out, _ = call(monkeypatch, capfd, "few", "--network", str(path))
    assert code == 0
    assert [row for row in lines_of(out) if "fleets a single client" in row] == [
        f"floss r4 on rows: on {slow} of 40 fleets a single client takes more than half of the "
        "time, at worst one with 10 Mbit/s down, 100 bit/s up, round trip 20 ms, 1 ms an example"
    ]
    _, out, _ = call(monkeypatch, capfd, "few", "--network", str(path), "--json")
    answer = json.loads(out)
    told = [line["slow_fleets"] for line in answer["scenarios"] if line["network"] == "rows"]
    assert [found["fleets"] for found in told] == [slow, slow]


def test_a_factor_that_is_none_is_refused(monkeypatch, capfd, home: Path):
    code, out, err = call(monkeypatch, capfd, "runs", "--scale-up", "0")
    assert (code, out) == (2, "")
    assert err == "floss-sim: scale-up: factor 0 is out of range; valid: 1e-06 to 1e+06\n"
    assert not (home / "replay.png").exists()
