"""Seconds of runs on a network of one's own: with an interval in every command, file or no file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import call, printed
from networks import DRAWN

from floss_sim import RunFolder, load_profile, retime
from floss_sim.analysis.time_spread import SHAPED_NOTE, SPREAD_LEGEND
from floss_sim.network import NetworkProfile
from floss_sim.records.file_names import NETWORK
from floss_sim.units import format_duration

Command = Callable[..., tuple[int, str, str]]
MINE = DRAWN.replace('"drawn"', '"mine"')


@pytest.fixture
def command(monkeypatch, capfd, tmp_path: Path) -> Command:
    """Call ``floss-sim`` in a folder of its own; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(MINE, encoding="utf-8")
    return lambda *words: call(monkeypatch, capfd, "floss-sim", *words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the run ``runs/first`` and its network, ``moved.toml``."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("mine.toml").write_text(MINE, encoding="utf-8")
        words = ["--rank", "1", "--rounds", "3", "--network", "mine.toml", "--out", "runs/first"]
        printed(patch, "floss-sim", "run", *words)
    return (folder / "mine.toml").rename(folder / "moved.toml").parent


@pytest.fixture
def profile(command: Command, trained: Path) -> NetworkProfile:
    """The network of the run ``runs/first``, whose file is gone."""
    Path("mine.toml").unlink()
    shutil.copytree(trained, ".", dirs_exist_ok=True)
    return load_profile("moved.toml")


def interval(profile: NetworkProfile, **changes: float) -> list[float]:
    """Return 5, 50 and 95 % of the seconds of the run, re-timed on one fleet after the other."""
    record = RunFolder.read(Path("runs/first")).record()
    changed = profile.with_changes("changed", **changes)
    fleets = [changed.model_copy(update={"seed": seed}) for seed in range(40)]
    ends_s = [retime(record, fleet).rounds["closed_at_s"][-1].as_py() for fleet in fleets]
    return [float(q) for q in np.quantile(ends_s, [0.05, 0.5, 0.95], method="weibull")]


def text(seconds: list[float]) -> str:
    low, middle, high = map(format_duration, seconds)
    return f"{middle} ({low} to {high})"


def test_compare_and_replay_know_the_network_without_its_file(
    command: Command, profile: NetworkProfile
):
    code, out, err = command("compare", "runs")
    assert (code, err) == (0, "")
    assert text(interval(profile)) in out
    assert "one recorded time" not in out
    code, out, err = command("replay", "runs/first", "--rtt", "90ms")
    assert (code, err) == (0, "")
    assert text(interval(profile)) in out
    assert text(interval(profile, rtt=0.09)) in out
    code, out, _ = command("account", "runs/first", "--json")
    said = (
        f"seconds: of one fleet (seed 0); the run takes {text(interval(profile))}: {SPREAD_LEGEND}"
    )
    assert json.loads(out)["notes"][-1] == said


def test_a_run_that_time_shaped_has_one_time_in_account_too(command: Command):
    words = ["--rank", "1", "--rounds", "2", "--network", "mine.toml", "--policy", "first-k:3"]
    assert command("run", *words, "--out", "runs/first")[0] == 0
    code, out, err = command("account", "runs/first", "--json")
    assert (code, err) == (0, "")
    said = f"seconds: of one fleet (seed 0); {SHAPED_NOTE}"
    assert json.loads(out)["notes"][-1] == said


def test_a_record_without_its_network_says_so_and_takes_the_file(
    command: Command, profile: NetworkProfile
):
    (Path("runs/first") / NETWORK).unlink()
    code, out, err = command("compare", "runs")
    assert (code, err) == (0, "")
    reason = "one recorded time: mine is neither packaged nor kept in the record; --network"
    assert reason in out
    code, out, err = command("compare", "runs", "--network", "moved.toml")
    assert (code, err) == (0, "")
    assert text(interval(profile)) in out
    code, out, err = command("compare", "runs", "--network", "moved.toml", "--network", "lte")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no run was recorded on lte as it is now" in err


def test_the_same_command_keeps_the_network_again(command: Command, profile: NetworkProfile):
    file = Path("runs/first") / NETWORK
    kept = file.read_bytes()
    file.unlink()
    words = ["run", "--rank", "1", "--rounds", "3", "--out", "runs/first", "--network"]
    assert command(*words, "moved.toml")[0] == 0
    assert file.read_bytes() == kept
    assert command(*words, "lte")[0] == 0  # a packaged one
    assert not file.exists()


def test_a_damaged_network_is_one_line(command: Command, profile: NetworkProfile):
    (Path("runs/first") / NETWORK).write_bytes(b"half")
    for words in (["compare", "runs"], ["replay", "runs"], ["account", "runs/first"]):
        code, out, err = command(*words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{NETWORK} is damaged" in err


def test_a_run_that_fails_at_once_leaves_no_folder(command: Command, monkeypatch):
    monkeypatch.setattr("floss_sim.simulator.rounds._MOST_ATTEMPTS", 10)
    text = Path("mine.toml").read_text(encoding="utf-8")
    Path("mine.toml").write_text(f"{text}dropout = 0.9999999\n", encoding="utf-8")
    words = ["--rank", "1", "--rounds", "2", "--network", "mine.toml", "--out", "runs/few"]
    code, _, err = command("run", *words)
    assert (code, "round 1 could not be completed" in err) == (2, True)
    assert not Path("runs").exists()


def test_factors_change_the_kept_network_and_keep_its_spread(
    command: Command, profile: NetworkProfile
):
    """Against the record, re-timed on 40 fleets whose links are scaled one by one."""
    code, out, err = command("replay", "runs", "--scale-up", "4", "--scale-down", "0.5", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)["scenarios"][-1]
    assert told["network"] == "mine, scale down 0.5, scale up 4"
    record = RunFolder.read(Path("runs/first")).record()
    seconds = []
    for seed in range(40):
        links = profile.model_copy(update={"seed": seed}).links(50)
        ends_s, down, up = 0.0, {}, {}
        for row in record.transfers.to_pylist():
            (up if row["direction"] == "up" else down)[row["round"], row["client"]] = row
        for number in range(1, 4):
            slowest = 0.0
            for (round_, client), row in up.items():
                if round_ == number:
                    link = links[client]
                    slowest = max(
                        slowest,
                        8 * down[round_, client]["nbytes"] / (0.5 * link.down_bits_per_s)
                        + 8 * row["nbytes"] / (4 * link.up_bits_per_s)
                        + link.compute_s_per_example * row["examples"]
                        + link.rtt_s,
                    )
            ends_s += slowest
        seconds.append(ends_s)
    quantiles = np.quantile(seconds, [0.05, 0.5, 0.95], method="weibull")
    made = [told["time"][name] for name in ("low_s", "median_s", "high_s")]
    assert made == pytest.approx(quantiles.tolist(), rel=1e-9)
    assert told["bytes"] == sum(record.transfers["nbytes"].to_pylist())


@pytest.mark.parametrize(
    "words",
    [
        ["--down", "1Mbit/s", "--up", "1Mbit/s", "--rtt", "5ms", "--scale-up", "2"],
        ["--upload-ratio", "4", "--scale-down", "2", "--first-download", "1MB"],
        ["--server-egress", "600kbit/s", "--server-ingress", "600kbit/s", "--target", "0.01"],
        ["--sweep", "scale-up=1,4", "--scale-down", "2"],
        ["--network", "moved.toml", "--network", "lte", "--scale-up", "2", "--json"],
    ],
)
def test_replay_of_a_run_on_a_file_takes_every_option(
    command: Command, profile: NetworkProfile, words: list[str]
):
    code, out, err = command("replay", "runs", *words)
    assert (code, err) == (0, "")
    assert out


def test_an_estimate_and_a_plan_take_factors(command: Command, monkeypatch, capfd, tmp_path: Path):
    monkeypatch.setenv("FLOSS_SIM_STORE", str(tmp_path / "store"))
    words = ["estimate", "--network", "paper-200-20", "--rounds", "3", "--examples", "1", "--json"]
    before, after, slower = (
        json.loads(command(*words, *more)[1])
        for more in ((), ("--scale-up", "4"), ("--scale-down", "0.5"))
    )
    down_s, up_s = (before["run_time"]["median_s"] * before["round_shares"][way]
                    for way in ("download", "upload"))  # fmt: skip
    assert after["run_time"]["median_s"] == pytest.approx(down_s + up_s / 4)
    assert slower["run_time"]["median_s"] == pytest.approx(2 * down_s + up_s)
    assert command("estimate", "--scale-up", "0")[0] == 2
    asked = ["--no-report", "--budget", "2-dense-rounds", "--ranks", "1", "--down-densities", "1",
             "--up-densities", "1", "--reference-rank", "1", "--effort", "1", "--workers", "1",
             "--max-rounds", "2", "--scale-up", "4", "--out", "plan", "--json"]  # fmt: skip
    code, out, err = call(monkeypatch, capfd, "floss-plan", *asked)
    assert code == 0, err
    made = json.loads(out)
    assert made["request"]["network"] == "paper-200-20, scale up 4"
    assert made["request"]["origin"]["scale_up"] == 4
    code, out, err = call(monkeypatch, capfd, "floss-plan", "apply", "plan", "--out", "model")
    assert code == 0, err
