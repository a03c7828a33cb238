"""Recorded runs on other networks: against runs that were simulated there, and closed forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import make_run
from stand_in_learners import CountingLearner

from floss_sim import RunConfig, RunFolder, load_profile, run
from floss_sim.analysis.what_if import (
    recorded_network,
    replay_comparison,
    retime,
    scenario,
    scenarios,
)
from floss_sim.errors import ConfigError, ProfileError, RecordError
from floss_sim.network import NetworkProfile

ROWS = [(None, 40_000, 20_000, 0.0), (0.5, 40_000, 4000, 0.0), (0.75, 4000, 400_000, 0.0)]


def recorded(path: Path, config: RunConfig, profile: NetworkProfile, rounds: int = 12) -> RunFolder:
    """Simulate a run into a folder."""
    folder = RunFolder.open(path, config.description(CountingLearner.identity))
    run(config, profile, CountingLearner(), rounds=rounds, folder=folder, eval_every=5)
    return folder


def seconds(record) -> list[float]:
    return record.rounds["closed_at_s"].to_pylist()


@pytest.mark.parametrize("name", ["lte", "paper-200-20"])
def test_the_recorded_network_gives_the_recorded_tables_exactly(
    sparse_digits: RunConfig, tmp_path: Path, name: str
):
    profile = load_profile(name)
    record = recorded(tmp_path / "run", sparse_digits, profile).record()
    again = retime(record, profile)
    assert again.rounds.equals(record.rounds, check_metadata=True)
    assert again.transfers.equals(record.transfers, check_metadata=True)


def test_another_network_gives_what_a_run_on_it_records(
    sparse_digits: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    lte = load_profile("lte")
    record = recorded(tmp_path / "paper", sparse_digits, paper).record()
    there = recorded(tmp_path / "lte", sparse_digits, lte).record()
    again = retime(record, lte)
    assert again.rounds.equals(there.rounds)
    assert again.transfers.equals(there.transfers)
    assert not again.rounds.equals(record.rounds)


def test_seconds_are_those_of_the_closed_form(tmp_path: Path):
    lte = load_profile("lte")
    record = RunFolder.read(make_run(tmp_path / "here", ROWS)).record()
    there = RunFolder.read(make_run(tmp_path / "there", ROWS, on=lte)).record()
    assert seconds(retime(record, lte)) == pytest.approx(seconds(there), rel=1e-12)


def test_the_size_of_the_fleet_says_in_which_class_a_client_is(tmp_path: Path):
    # of 8 clients, the first two are in the slowest class
    ordered = load_profile("broadband").model_copy(update={"class_order": "by-number"})
    record = RunFolder.read(make_run(tmp_path / "run", ROWS, fleet={"clients": 8})).record()
    slowest = ordered.clients[0].link()
    first = (
        slowest.transfer_s("down", 30_000) + slowest.compute_s(1) + slowest.transfer_s("up", 15_000)
    )
    assert seconds(retime(record, ordered))[0] == pytest.approx(first, rel=1e-12)


def test_an_interrupted_run_is_retimed_as_far_as_it_is_committed(
    sparse_digits: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    class Dies(CountingLearner):
        def aggregate(self, arrivals):
            if self.version == 3:
                raise KeyboardInterrupt
            return super().aggregate(arrivals)

    folder = RunFolder.open(tmp_path / "run", sparse_digits.description(CountingLearner.identity))
    with pytest.raises(KeyboardInterrupt):
        run(sparse_digits, paper, Dies(), rounds=9, folder=folder, commit_every_s=0)
    (configuration,) = replay_comparison([folder.path], "lte").configurations
    line = scenario(configuration, load_profile("lte"))
    assert (line.rounds, line.last_point) == (3, None)
    whole = recorded(tmp_path / "whole", sparse_digits, load_profile("lte")).record()
    assert line.own_fleet_s == seconds(whole)[2]


def test_a_run_that_time_shaped_is_refused_with_the_command_that_trains(tmp_path: Path):
    path = make_run(tmp_path / "run", ROWS, method="dense", conditions={"deadline_s": 3.0})
    with pytest.raises(ConfigError) as error:
        replay_comparison([path], "lte")
    assert str(error.value).startswith(f"{path}: simulated time affected the training of this run")
    command = "floss-sim run --task made --method dense --rank 4 --seed 0 --network lte"
    assert command in str(error.value).replace("'", "")
    with pytest.raises(ConfigError, match="simulated time affected the training"):
        retime(RunFolder.read(path).record(), load_profile("lte"))


def test_a_record_without_a_fleet_is_refused(tmp_path: Path):
    record = RunFolder.read(make_run(tmp_path / "run", ROWS)).record()
    with pytest.raises(RecordError, match=r"no fleet size \(trajectory\.fleet\.clients\)"):
        retime(replace(record, description={}), load_profile("lte"))


def test_seeds_are_one_configuration_whatever_they_were_recorded_on(tmp_path: Path, paper):
    lte = load_profile("lte")
    paths = [
        make_run(tmp_path / "0", ROWS, on=paper),
        make_run(tmp_path / "1", ROWS, on=lte, seed=1),
        make_run(tmp_path / "again", ROWS[:2], on=lte),  # of seed 0, not as far
    ]
    comparison = replay_comparison(paths, "lte")
    (configuration,) = comparison.configurations
    assert [one.seed for one in configuration.runs] == [0, 1]
    assert comparison.notes == (f"{paths[2]} left out: {paths[0]} is the same run",)
    (only,) = scenarios(configuration, [lte])  # the seeds share no network
    assert (only.network, only.recorded) == ("lte", False)
    assert only.own_fleet_s == pytest.approx(seconds(configuration.runs[1].record)[-1])


def test_the_recorded_line_comes_first_and_is_not_repeated(tmp_path: Path, paper):
    path = make_run(tmp_path / "run", ROWS, on=paper)
    (configuration,) = replay_comparison([path], "lte").configurations
    lines = scenarios(configuration, [load_profile("lte"), paper])
    assert [line.title for line in lines] == ["paper-200-20 (recorded)", "lte"]
    assert lines[0].own_fleet_s == seconds(RunFolder.read(path).record())[-1]
    assert [line.last_point.accuracy for line in lines] == [0.75, 0.75]


def test_uneven_seeds_count_as_far_as_all_go(tmp_path: Path, paper):
    paths = [make_run(tmp_path / "0", ROWS, on=paper), make_run(tmp_path / "1", ROWS[:2], seed=1)]
    comparison = replay_comparison(paths, "lte")
    assert comparison.notes == ("floss: its seeds hold 2 to 3 rounds; only the first 2 are used",)
    line = scenario(comparison.configurations[0], paper)
    assert line.rounds == 2
    assert line.last_point.round == 2
    assert line.own_fleet_s == pytest.approx(seconds(RunFolder.read(paths[0]).record())[1])


def test_a_run_without_rounds_is_left_out(tmp_path: Path):
    paths = [make_run(tmp_path / "begun", []), make_run(tmp_path / "run", ROWS, rank=8)]
    assert replay_comparison(paths, "lte").notes == (
        f"{paths[0]} left out: it holds no committed round",
    )  # fmt: skip
    with pytest.raises(RecordError, match="no run holds a committed round"):
        replay_comparison(paths[:1], "lte")


def test_runs_of_different_tasks_are_refused(tmp_path: Path):
    paths = [make_run(tmp_path / "a", ROWS), make_run(tmp_path / "b", ROWS, task="other")]
    with pytest.raises(RecordError, match="different tasks"):
        replay_comparison(paths, "lte")


def test_the_recorded_network_is_found_by_name_and_checked_by_its_seconds(tmp_path: Path, paper):
    ratio = paper.with_upload_ratio(16)
    paths = [make_run(tmp_path / "0", ROWS, on=ratio), make_run(tmp_path / "1", ROWS, rank=8)]
    comparison = replay_comparison(paths[:1], "lte")
    assert recorded_network(comparison.configurations) == ratio
    with pytest.raises(ProfileError, match="recorded on paper-200-20, upload ratio 16 and unnamed"):
        recorded_network(replay_comparison(paths, "lte").configurations)
    with pytest.raises(ProfileError, match="'unnamed network', which is not a packaged network"):
        recorded_network(replay_comparison(paths[1:], "lte").configurations)
    false = load_profile("lte").model_copy(update={"name": "paper-200-20"})
    other = make_run(tmp_path / "2", ROWS, on=false)
    with pytest.raises(ProfileError, match="a 'paper-200-20' that differs from the packaged one"):
        recorded_network(replay_comparison([other], "lte").configurations)
