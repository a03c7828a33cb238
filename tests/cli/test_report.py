"""``floss-sim report``, ``replay --report`` and ``floss-plan report``: pages, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import call
from formula_engine import FormulaEngine
from made_plans import whole_plan
from made_runs import make_run
from read_pages import ReadPage

from floss_sim import load_profile
from floss_sim.page import library
from planner.report.reported_plan import ReportedPlan

ROWS = [(0.1 * k, 8_000_000 * k, 2_000_000, float(k)) for k in range(1, 5)]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOSS_SIM_STORE", str(tmp_path / "store"))
    cable = load_profile("cable")
    for rank, seed in ((4, 0), (4, 1), (16, 0), (16, 1)):
        make_run(tmp_path / "runs" / f"{rank}-{seed}", ROWS, on=cable, rank=rank, seed=seed)
    return tmp_path


def test_a_page_of_runs_gives_the_seconds_that_replay_gives(runs: Path, monkeypatch, capfd):
    code, out, err = call(monkeypatch, capfd, "floss-sim", "report", "runs", "--json")
    assert (code, err) == (0, "")
    size = (runs / "report.html").stat().st_size
    assert json.loads(out) == {"page": "report.html", "bytes": size}
    changes = ("--network", "cable", "--scale-up", "0.5", "--rtt", "80ms")
    words = ("floss-sim", "replay", "runs", *changes, "--report", "--json")
    code, out, _ = call(monkeypatch, capfd, *words)
    made = json.loads(out)
    assert made["page"] == "replay.html"
    line = next(one for one in made["scenarios"] if not one["recorded"])
    settings = {"down": 1, "up": 0.5, "ratio": 0, "rtt": 0.08, "compute": 1, "network": 0}
    for name in ("report.html", "replay.html"):
        engine = FormulaEngine.of_page((runs / name).read_text(encoding="utf-8"))
        labels = [one["label"] for one in engine.page["configs"]]
        told = engine.call("timesAt", labels.index(line["label"]), settings)["times"]
        assert told[0][-1] == pytest.approx(line["own_fleet_s"], rel=1e-9)
        assert len(told) == line["time"]["draws"]
    sliders = engine.page["sliders"]
    page = ReadPage((runs / "replay.html").read_text(encoding="utf-8"))
    places = {a["id"]: int(a["value"]) for tag, a in page.elements if tag == "input"}
    chosen = {name: sliders[name]["words"][places[f"set-{name}"]] for name in ("up", "rtt", "down")}
    assert chosen == {"up": "--scale-up 0.5", "rtt": "--rtt 0.08s", "down": ""}
    assert sliders["network"]["words"] == ["--network cable"]


def test_without_a_known_network_a_page_names_the_command(runs: Path, monkeypatch, capfd):
    own = load_profile("cable").model_copy(update={"name": "<b>mine</b>"})
    make_run(runs / "own", ROWS, on=own)
    code, _, err = call(monkeypatch, capfd, "floss-sim", "report", "own")
    page = ReadPage((runs / "report.html").read_text(encoding="utf-8"))
    assert (code, err, page.data("page-data")["whatIf"], page.count("b")) == (0, "", None, 0)
    assert "floss-sim replay own --network NAME --report" in page.text
    assert "<b>mine</b>" in page.text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["floss-sim", "report", "none"], "no run folder at none"),
        (["floss-sim", "report", "empty"], "is not a run folder"),
        (["floss-sim", "report", "bare"], "no run holds an evaluated round"),
        (["floss-sim", "report", "runs", "--out", "page.txt"], "must end in .html"),
        (["floss-sim", "report", "runs", "--out", "none/page.html"], "none"),
        (["floss-sim", "report", "runs", "--out", "taken.html"], "taken.html"),
        (["floss-sim", "replay", "bare", "--network", "lte", "--report"], "no evaluated round"),
        (["floss-sim", "replay", "runs", "--sweep", "rtt=1ms", "--report"], "no --report"),
        (["floss-plan", "report", "none"], "none"),
        (["floss-plan", "report", "empty"], "empty"),
        (["floss-plan", "report", "old.json"], "plan version 2, not 3"),
        (["floss-plan", "report", "plan", "--out", "none/page.html"], "none"),
        (["floss-plan", "report", "plan", "--out", "taken.html"], "taken.html"),
    ],
)
def test_bad_input_leaves_nothing(runs: Path, monkeypatch, capfd, words: list[str], says: str):
    make_run(runs / "bare", [(None, 8, 8, 1.0)], on=load_profile("cable"))
    (runs / "empty").mkdir()
    (runs / "taken.html").mkdir()
    ReportedPlan.of(whole_plan()).save(runs / "plan")
    old = {**whole_plan().to_json(), "plan_version": 2}
    (runs / "old.json").write_text(json.dumps(old), encoding="utf-8")
    before = {path for path in runs.rglob("*") if path.name != "accuracy.png"}
    code, out, err = call(monkeypatch, capfd, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert {path for path in runs.rglob("*") if path.name != "accuracy.png"} == before


def test_without_the_extra_one_line_says_how_to_get_it(runs: Path, monkeypatch, capfd):
    monkeypatch.setattr(library, "_PACKAGE", "no_such_package")
    for words in (["floss-sim", "report", "runs"], ["floss-plan", "report", "plan"]):
        code, out, err = call(monkeypatch, capfd, *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "pip install 'floss-sim[report]'" in err
    code, _, err = call(monkeypatch, capfd, "floss-sim", "replay", "runs", "--report")
    assert (code, err.count("\n")) == (2, 1)
