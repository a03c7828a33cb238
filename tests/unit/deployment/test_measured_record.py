"""Commands read a measured record, and mark its seconds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import call


@pytest.fixture
def record(floss_run) -> Path:
    return floss_run.folder / "record"


def test_compare_account_and_replay_mark_measured_seconds(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    monkeypatch.setenv("COLUMNS", "200")
    picture = str(tmp_path / "picture.png")
    for words in (
        ("compare", str(record), "--out", picture),
        ("replay", str(record), "--network", "lte", "--out", picture),
    ):
        code, out, _ = call(monkeypatch, capfd, "floss-sim", *words)
        assert code == 0
        assert re.search(r"\dm?s measured|\d m?s measured", out)
        assert "seconds that are marked as measured are those of a deployment's server" in out
        assert "flwr 1.42.0" in out
    _, out, _ = call(monkeypatch, capfd, "floss-sim", "account", str(record), "--json")
    found = json.loads(out)
    assert found["network"] == "measured, flwr 1.42.0"
    assert "measured by a deployment's server" in found["notes"][0]
    _, out, _ = call(
        monkeypatch, capfd, "floss-sim", "account", str(record), "--network", "lte", "--json"
    )
    assert not any("measured" in line for line in json.loads(out)["notes"])
    assert json.loads(out)["total"]["download_s"] > 0


def test_a_measured_run_is_no_run_to_continue(record: Path, tmp_path: Path):
    from floss_sim.deployment import open_server, read_run_file
    from floss_sim.errors import RecordError

    run = read_run_file(record.parent / "app" / "floss_app" / "run.json")
    with (
        pytest.raises(RecordError, match="holds a run already; choose another record-path"),
        open_server(run, record, "flwr 1.42.0"),
    ):
        pass
