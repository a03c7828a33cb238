"""The lockstep loop with learners that need no framework."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stand_in_learners import CountingLearner

from floss_sim import RunConfig, RunFolder, load_profile, retime, run, size_only
from floss_sim.errors import NonFiniteUpdateError
from floss_sim.network import NetworkProfile

COLUMNS = ("rounds", "transfers")


def open_folder(path: Path, config: RunConfig) -> RunFolder:
    return RunFolder.open(path, config.description(CountingLearner.identity))


def test_a_longer_run_continues_a_shorter_one_and_trains_nothing_twice(
    sparse_digits: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    folder = open_folder(tmp_path / "run", sparse_digits)
    first, second = CountingLearner(), CountingLearner()
    run(sparse_digits, paper, first, rounds=10, folder=folder)
    longer = run(sparse_digits, paper, second, rounds=30, folder=folder)
    assert (first.trained, second.trained) == (10 * 5, 20 * 5)
    straight = run(sparse_digits, paper, CountingLearner(), rounds=30)
    for kind in COLUMNS:
        assert getattr(longer, kind).equals(getattr(straight, kind))
        assert getattr(folder.record(), kind).equals(getattr(straight, kind))


def test_asking_for_fewer_rounds_than_there_are_wakes_no_learner(
    sparse_digits: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    folder = open_folder(tmp_path / "run", sparse_digits)
    run(sparse_digits, paper, CountingLearner(), rounds=10, folder=folder)
    idle = CountingLearner()
    assert run(sparse_digits, paper, idle, rounds=4, folder=folder).rounds.num_rows == 10
    assert (idle.trained, idle.restored) == (0, 0)


def test_the_last_round_is_evaluated_whatever_the_period(
    sparse_digits: RunConfig, paper: NetworkProfile
):
    record = run(sparse_digits, paper, CountingLearner(), rounds=13, eval_every=5)
    assert record.evaluated()["round"].to_pylist() == [5, 10, 13]


def test_retiming_keeps_every_measurement(sparse_digits: RunConfig, paper: NetworkProfile):
    recorded = run(sparse_digits, paper, CountingLearner(), rounds=13, eval_every=3)
    again = retime(recorded, load_profile("lte"))
    assert again.rounds["accuracy"].equals(recorded.rounds["accuracy"])
    assert again.evaluated()["round"].to_pylist() == [3, 6, 9, 12, 13]


def test_retiming_equals_a_run_on_the_other_network(
    sparse_digits: RunConfig, paper: NetworkProfile
):
    lte = load_profile("lte")
    recorded = run(sparse_digits, paper, CountingLearner(), rounds=12)
    direct = run(sparse_digits, lte, CountingLearner(), rounds=12)
    again = retime(recorded, lte)
    for kind in COLUMNS:
        assert getattr(again, kind).equals(getattr(direct, kind))
    assert not recorded.rounds["closed_at_s"].equals(direct.rounds["closed_at_s"])


def test_a_folder_continued_on_another_network_is_timed_on_it_throughout(
    sparse_digits: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    folder, lte = open_folder(tmp_path / "run", sparse_digits), load_profile("lte")
    run(sparse_digits, paper, CountingLearner(), rounds=10, folder=folder)
    late = CountingLearner()
    run(sparse_digits, lte, late, rounds=15, folder=folder)
    assert late.trained == 5 * 5
    direct = run(sparse_digits, lte, CountingLearner(), rounds=15, eval_every=5)
    for column in ("closed_at_s", "down_bytes", "up_bytes"):
        assert folder.record().rounds[column].equals(direct.rounds[column])
    assert folder.record().transfers.equals(direct.transfers)


def test_a_run_folder_keeps_the_model_of_every_evaluated_round(
    sparse_digits: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    folder = open_folder(tmp_path / "run", sparse_digits)
    run(sparse_digits, paper, CountingLearner(), rounds=12, folder=folder, eval_every=5)
    assert [folder.model(r) for r in (5, 10, 12)] == [b"version 5", b"version 10", b"version 12"]


def test_a_run_notes_the_memory_of_host_and_device(
    sparse_digits: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    class OnDevice(CountingLearner):
        def device_peak_bytes(self) -> int | None:
            return 3 << 20

    for name, learner, peak in (("host", CountingLearner(), None), ("gpu", OnDevice(), 3072)):
        folder = open_folder(tmp_path / name, sparse_digits)
        run(sparse_digits, paper, learner, rounds=2, folder=folder)
        note = json.loads((folder.path / "host.jsonl").read_text().splitlines()[-1])
        assert note["peak_memory_kb"] > 1000
        assert note.get("device_peak_kb") == peak


def test_commits_between_evaluations_survive(
    sparse_digits: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    class Dies(CountingLearner):
        def aggregate(self, arrivals):
            if self.version == 7:
                raise KeyboardInterrupt
            return super().aggregate(arrivals)

    folder = open_folder(tmp_path / "run", sparse_digits)
    with pytest.raises(KeyboardInterrupt):
        run(sparse_digits, paper, Dies(), rounds=20, folder=folder, commit_every_s=0)
    assert folder.manifest().rounds == 7
    late = CountingLearner()
    resumed = run(sparse_digits, paper, late, rounds=20, folder=folder)
    assert late.trained == 13 * 5
    assert resumed.rounds.equals(run(sparse_digits, paper, CountingLearner(), rounds=20).rounds)


def test_bytes_of_a_round_are_those_of_its_transfers(
    sparse_digits: RunConfig, paper: NetworkProfile
):
    record = run(sparse_digits, paper, CountingLearner(), rounds=6)
    transfers = record.transfers.to_pandas()
    for direction in ("down", "up"):
        sums = transfers[transfers.direction == direction].groupby("round").nbytes.sum()
        assert np.array_equal(sums, record.rounds.to_pandas()[f"{direction}_bytes"])


def test_a_cohort_never_holds_a_client_twice(sparse_digits: RunConfig, paper: NetworkProfile):
    transfers = size_only(sparse_digits, paper, 50).transfers.to_pandas()
    downloads = transfers[transfers.direction == "down"]
    assert (downloads.groupby("round").client.nunique() == 5).all()


class Diverges(CountingLearner):
    """Ceases to be finite in round 5."""

    def aggregate(self, arrivals):
        if self.version == 4:
            raise NonFiniteUpdateError("client 3 (round 5) is not finite")
        return super().aggregate(arrivals)


def test_a_run_that_diverged_is_not_trained_again_but_keeps_its_rounds(
    sparse_digits: RunConfig, paper: NetworkProfile, tmp_path: Path
):
    folder = open_folder(tmp_path / "run", sparse_digits)
    for rounds in (9, 30):
        learner = Diverges()
        with pytest.raises(NonFiniteUpdateError, match=r"client 3 \(round 5\)"):
            run(
                sparse_digits, paper, learner, rounds=rounds, folder=folder,
                eval_every=2, commit_every_s=0,
            )  # fmt: skip
        assert learner.trained == (25 if rounds == 9 else 0)
    assert folder.divergence() == "client 3 (round 5) is not finite"
    assert run(sparse_digits, paper, Diverges(), rounds=4, folder=folder).rounds.num_rows == 4
