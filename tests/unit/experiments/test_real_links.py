"""The real-links experiment: its arithmetic on a CSV made by hand, and how it declines to run."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from places import EXPERIMENTS

FOLDER = EXPERIMENTS / "real_links"
HEAD = (
    "case,direction,connection,clients,client,payload_bytes,client_bits_per_s,client_burst_bytes,"
    "server_bits_per_s,server_burst_bytes,server_queue,repetition,started_s,first_byte_s,seconds,"
    "retransmits,least_round_trip_s\n"
)
PROBE = "probe,up,kept,1,0,1,12112,100,,,,0,0,0,0.01,0,0.002\n"
# Ten segments of 1448 bytes are 15140 bytes on the wire; 14440 beyond the burst last 1 s.
ALONE = "alone,up,{},1,0,14480,115520,700,,,,{},0,0,{},0,0.002\n"
# One and two segments through a shared link of one segment (1514 bytes) a second.
CROWD = (
    "crowd,down,kept,2,0,1448,12112,0,12112,0,fifo,0,0,0,2,0,0\n"
    "crowd,down,kept,2,1,2896,12112,0,12112,0,fifo,0,0.5,0,2.5,0,0\n"
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a script of the experiment, and forget it and what it imports from there."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for file in FOLDER.glob("*.py"):
        sys.modules.pop(file.stem, None)


def compared(compare: ModuleType, folder: Path, *rows: str) -> list:
    path = folder / "measured.csv"
    path.write_text(HEAD + "".join(rows), encoding="utf-8")
    return compare.compared(compare.read(path))


def test_one_transfer_takes_latency_and_what_exceeds_the_burst(script, tmp_path):
    alone = [ALONE.format("kept", number, s) for number, s in enumerate((0.9, 1.25, 1.0))]
    (one,) = compared(script("compare"), tmp_path, PROBE, *alone)
    assert one.predicted_s == pytest.approx(1.01)
    assert one.measured_s == (0.9, 1.25, 1.0)
    assert one.error == pytest.approx(0.01)


def test_a_new_connection_takes_its_handshake_more(script, tmp_path):
    (one,) = compared(script("compare"), tmp_path, PROBE, ALONE.format("new", 0, 1.0))
    assert one.predicted_s == pytest.approx(1.01 + 0.002 / 2 + 0.01)


def test_a_crowd_shares_max_min_fairly_and_its_last_byte_is_a_line(script, tmp_path):
    short, long, last = compared(script("compare"), tmp_path, PROBE, CROWD)
    # The second starts half a second later: half of the first is gone by then.
    assert [short.predicted_s, long.predicted_s] == pytest.approx([1.51, 2.51])
    assert last.measured_s == (3.0,)
    assert last.predicted_s == pytest.approx(0.5 + 2.51)


def test_progressive_filling_obeys_own_rates(script):
    filled_s = script("compare").filled_s
    assert filled_s([10, 20], 8, float("inf"), [0, 0]) == [10, 20]
    # Two of three at a third each, then one at its own rate, less than all of the link.
    assert filled_s([40, 10, 10], 16, 24, [0, 0, 0]) == pytest.approx([25, 10, 10])
    assert filled_s([10, 10], 8, 8, [0, 5]) == pytest.approx([15, 20])


def test_a_payload_smaller_than_the_burst_takes_the_latency(script, tmp_path):
    small = "small,up,kept,1,0,10,8,700,,,,0,0,0,0.02,0,0\n"
    (one,) = compared(script("compare"), tmp_path, PROBE, small)
    assert one.predicted_s == pytest.approx(0.01)


def test_tables_name_the_worst_line(script, tmp_path):
    compare = script("compare")
    comparisons = compared(compare, tmp_path, PROBE, ALONE.format("kept", 0, 1.0), CROWD)
    assert "| 1000.00 | 1000.00 | 1000.00 | 1010.00 | +1.0% |" in compare.table(comparisons)
    summary = compare.summary(comparisons)
    assert "| up, no server cap | 1 | 1.0% | 0 | 1.0% | up 1 x 14480 kept" in summary
    assert "| 1 | 24.5% | down 2 x mixed kept fifo 0, 1,448 bytes |" in summary


def test_every_case_is_told_apart_and_the_caps_bind(script):
    cases = script("cases").all_cases()
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        if case.server:
            assert case.server.bits_per_s < len(case.payloads_bytes) * case.client.bits_per_s


def test_without_root_it_says_so_and_ends_well(script, monkeypatch, capsys):
    measure = script("measure")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["measure.py"])
    monkeypatch.setattr(measure, "network", None)
    measure.main()
    assert capsys.readouterr().out == "skipped: making network namespaces needs root\n"


def test_without_the_tools_it_names_them(script, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert script("measure").lacking() == "ip and tc (of iproute2) not found"


def test_what_the_kernel_refuses_is_the_reason(script, monkeypatch):
    measure = script("measure")

    def refusing() -> None:
        raise RuntimeError("ip netns add: Operation not permitted")

    monkeypatch.setattr(measure, "network", refusing)
    assert measure.refused() == "ip netns add: Operation not permitted"
