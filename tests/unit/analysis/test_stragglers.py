from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from floss_sim import RunConfig, deadline, first_k, load_profile, retime, run, size_only
from floss_sim.analysis.stragglers import Straggler, find_straggler, link_text, straggler_of
from floss_sim.network import NetworkProfile
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.runs.size_only_learner import SizeOnlyLearner

CLIENTS = np.array([[0, 1, 9], [2, 0, 1], [9, 2, 0], [1, 2, 0]])
SECONDS = np.array([[1.0, 2, 10], [2, 1, 1], [12, 1, 3], [1, 1, 2]])


def test_a_client_is_named_with_what_waiting_for_it_costs():
    assert find_straggler(SECONDS, CLIENTS, 20) == Straggler(
        client=9, rounds=2, all_rounds=4, round_s=11, round_without_s=2.5, run_s=26,
        run_without_s=9, deadline_s=3, deadline_run_s=10, deadline_lost=pytest.approx(2 / 12),
        cohort=3, selection_run_s=9,  # 2 + 2 + 3 + 2; the additional clients are 2, 9, 1 and 9
    )  # fmt: skip


def test_over_selection_needs_another_client():
    found = find_straggler(SECONDS, CLIENTS, 3)
    assert found is not None
    assert found.selection_run_s is None
    assert found.sentences()[1] == (
        "removed by --policy deadline:3s (about 10 s, 17 % of the updates lost); this changes "
        "what is learned"
    )


@pytest.mark.parametrize("part", [0.49, 0.51])
def test_half_of_the_median_round_is_the_limit(part: float):
    seconds = np.where(CLIENTS == 9, 1.0, part)
    found = find_straggler(seconds, CLIENTS, 20)
    assert (found is not None) is (part < 0.5)


def test_a_client_that_hardly_delays_the_run_is_no_straggler():
    """Each round without client 9 takes 1 s; its one round of 3 s is 2 of 2 + R seconds."""
    for rounds, named in ((17, True), (19, False)):
        clients = np.array([[9, 1], *[[0, 1]] * (rounds - 1)])
        seconds = np.array([[3.0, 1], *[[1.0, 1]] * (rounds - 1)])
        assert (find_straggler(seconds, clients, 20) is not None) is named


def test_equal_clients_and_single_clients_are_no_stragglers():
    assert find_straggler(np.ones((4, 3)), CLIENTS, 20) is None
    assert find_straggler(np.array([[1.0], [9.0]]), np.array([[0], [1]]), 20) is None


def test_no_deadline_removes_a_client_that_others_are_as_slow_as():
    clients = np.array([[9, 1], [0, 9], [2, 3], [3, 2]])
    seconds = np.array([[10.0, 1], [1, 10], [20, 19], [20, 20]])
    found = find_straggler(seconds, clients, 20)
    assert found is not None
    assert (found.client, found.deadline_s, found.deadline_lost) == (9, None, None)
    assert "deadline" not in found.sentences()[1]


def test_a_deadline_that_saves_nothing_is_not_named():
    """Two clients are as slow in other rounds: the deadline would be just below client 9's time."""
    clients, seconds = np.array([[0, 1, 2]] * 40), np.ones((40, 3))
    clients[:6, 0], seconds[:6, 0] = 9, 10.0
    clients[6:10, :2], seconds[6:10, :2] = (7, 8), 9.9
    found = find_straggler(seconds, clients, 20)
    assert found is not None
    assert (found.client, found.deadline_s) == (9, None)


FAST = "down_bits_per_s,up_bits_per_s\n" + 50 * "1e7,1e6\n"


def table_network(folder: Path, rows: str) -> NetworkProfile:
    """Return a network whose client n has the rates of row n."""
    (folder / "rows.csv").write_text(rows, encoding="utf-8")
    path = folder / "table.toml"
    path.write_text(
        'name = "table"\nsource = "made"\ndate = "2026"\n[fleet]\nlaw = "table"\n'
        'file = "rows.csv"\nrtt = "20 ms"\ncompute_per_example = "1 ms"\n',
        encoding="utf-8",
    )
    return load_profile(str(path))


@pytest.fixture
def slow_link(tmp_path: Path) -> NetworkProfile:
    """Fifty clients: client 7 has a thousandth of the others' rates."""
    lines = FAST.splitlines()
    return table_network(tmp_path, "\n".join([*lines[:8], "1e4,1e3", *lines[9:]]) + "\n")


def simulated_s(config: RunConfig, profile: NetworkProfile, policy, rounds: int):
    learner = SizeOnlyLearner(config.sizes, config.client_examples())
    return run(config, profile, learner, rounds=rounds, policy=policy)


def test_the_remedies_take_as_long_as_the_simulator_says(
    slow_link: NetworkProfile, sparse_digits: RunConfig
):
    record = size_only(sparse_digits, slow_link, 60)
    found = straggler_of(record)
    assert found is not None
    assert found.client == 7
    assert found.run_s == pytest.approx(record.rounds["closed_at_s"][-1].as_py(), rel=1e-9)
    assert found.deadline_s is not None
    made = simulated_s(sparse_digits, slow_link, deadline(found.deadline_s), 60)
    assert found.deadline_run_s == pytest.approx(made.rounds["closed_at_s"][-1].as_py(), rel=1e-9)
    lost = 1 - sum(made.rounds["reports"].to_pylist()) / (60 * 5)
    assert found.deadline_lost == pytest.approx(lost)
    larger = sparse_digits.with_(server={"cohort": 6})
    made = simulated_s(larger, slow_link, first_k(5), 60)
    assert found.selection_run_s == pytest.approx(made.rounds["closed_at_s"][-1].as_py(), rel=0.1)


def test_only_runs_that_wait_for_all_have_a_straggler(
    slow_link: NetworkProfile, sparse_digits: RunConfig
):
    assert straggler_of(simulated_s(sparse_digits, slow_link, first_k(3), 20)) is None
    record = size_only(sparse_digits, slow_link, 20)
    assert straggler_of(retime(record, load_profile("paper-200-20"))) is None
    assert straggler_of(record, 1) is None or 7 in record.transfers["client"].to_pylist()[:10]


def test_sentences(slow_link: NetworkProfile):
    found = find_straggler(SECONDS, CLIENTS, 20)
    assert found is not None
    link = slow_link.links(50)[7]
    assert link_text(link) == "10 kbit/s down, 1 kbit/s up, round trip 20 ms, 1 ms an example"
    assert found.sentences(link) == [
        "client 9 (10 kbit/s down, 1 kbit/s up, round trip 20 ms, 1 ms an example) holds up its "
        "rounds: 2 of 4 rounds have it, and take 11 s in the median instead of 2.5 s; without it "
        "the run takes 9 s instead of 26 s",
        "removed by --policy deadline:3s (about 10 s, 17 % of the updates lost) or --cohort 4 "
        "--policy first-k:3 (about 9 s, up to 33.3 % more bytes); this changes what is learned",
    ]
    assert found.to_json()["client"] == 9


def test_a_deadline_removes_all_clients_that_halve_their_rounds(
    tmp_path: Path, sparse_digits: RunConfig
):
    """Three of fifty clients are slow: without one of them the others still decide."""
    cohorts = [draw_cohort(0, number, 50, 5).clients for number in range(1, 61)]
    slow = [cohorts[1][0], cohorts[4][1], cohorts[8][2]]
    rows = [(1e4, 1e3) if client in slow else (1e7, 1e6) for client in range(50)]
    text = "down_bits_per_s,up_bits_per_s\n" + "".join(f"{d:g},{u:g}\n" for d, u in rows)
    network = table_network(tmp_path, text)
    record = size_only(sparse_digits, network, 60)
    found = straggler_of(record)
    assert found is not None
    assert found.client in slow
    assert found.deadline_s is not None
    assert found.deadline_run_s is not None
    fast_s = size_only(sparse_digits, table_network(tmp_path, FAST), 60).rounds["closed_at_s"]
    assert found.deadline_s < 2 * fast_s[-1].as_py() / 60
    assert found.run_without_s > 10 * found.deadline_run_s
    parts = sum(client in slow for cohort in cohorts for client in cohort)
    assert found.deadline_lost == pytest.approx(parts / 300)


def test_a_deadline_for_a_single_client_is_not_named_where_others_are_as_slow():
    """Client 9 takes 30 s in six rounds; client 8 takes 29 s in two of them, 1 s in the others."""
    clients = np.array([[9, 8, 0], [1, 2, 0], [9, 8, 1], [2, 1, 0]] * 3)
    seconds = np.where(clients == 9, 30.0, 1.0)
    seconds[[8, 10], 1] = 29.0
    found = find_straggler(seconds, clients, 20)
    assert found is not None
    assert (found.client, found.deadline_s, found.deadline_lost) == (9, None, None)
    assert found.selection_run_s == 10 * 1 + 2 * 29
