"""How many processes train, and what a session leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from floss_sim.errors import RecordError
from planner.session import Workers, open_session


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_runs_share_a_gpu_in_one_process(tmp_path: Path, device: str):
    for asked, given in ((None, 1), (3, 3)):
        with open_session(tmp_path, Workers(device, asked)) as trains:
            assert (trains.store.device, trains.workers) == (device, given)
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_created_is_said(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(RecordError, match="cannot create"),
        open_session(tmp_path / "file", Workers("cpu", 1)),
    ):
        pass


def test_a_cpu_has_a_process_for_each_core(tmp_path: Path):
    for asked, given in ((None, os.cpu_count() or 1), (1, 1)):
        with open_session(tmp_path, Workers("cpu", asked)) as trains:
            assert trains.workers == given


def test_a_store_that_stays_empty_because_of_an_error_is_removed(tmp_path: Path):
    def fail() -> None:
        with open_session(tmp_path / "new" / "store", Workers("cpu", 1)):
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert not list(tmp_path.iterdir())
