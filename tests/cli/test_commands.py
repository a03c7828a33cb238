"""The two commands, really run, with their answers for machines."""

from __future__ import annotations

import json
import shutil
import sys
from importlib import resources
from pathlib import Path

import commands
import pytest

import floss_sim.cli
import planner.cli
from floss_sim import load_task
from floss_sim.records import RunFolder

PLAN = [
    "floss-plan", "--no-report",
    "--budget", "5-dense-rounds", "--upload-ratio", "16", "--ranks", "1,4",
    "--down-densities", "1,1/4", "--up-densities", "1/16", "--reference-rank", "4",
    "--max-rounds", "14", "--effort", "1", "--workers", "2", "--json",
]  # fmt: skip


def answer(monkeypatch, capfd, main, arguments: list[str]) -> dict:
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capfd.readouterr()
    assert stop.value.code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a plan, the JSON that its command printed, and the store."""
    return commands.write_plan(tmp_path_factory.mktemp("planned"), *PLAN)


@pytest.fixture
def in_its_folder(planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a copy of the plan's folder, with its store."""
    shutil.copytree(planned, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def test_a_run_leaves_record_plot_and_adapter_and_continues(monkeypatch, capfd, tmp_path: Path):
    arguments = [
        "floss-sim", "run", "--rank", "2", "--down-density", "1/4", "--up-density", "1/16",
        "--network", "lte", "--out", str(tmp_path / "run"), "--json",
    ]  # fmt: skip
    first = answer(monkeypatch, capfd, floss_sim.cli.main, [*arguments, "--rounds", "3"])
    assert first["rounds"] == 3
    assert 0 <= first["test_accuracy"] <= 1
    record = RunFolder.read(tmp_path / "run").record()
    assert sum(record.rounds["down_bytes"].to_pylist()) == first["down_bytes"]
    assert record.rounds["closed_at_s"][-1].as_py() == first["own_fleet_s"]
    assert (tmp_path / "run" / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").exists()
    second = answer(monkeypatch, capfd, floss_sim.cli.main, [*arguments, "--rounds", "5"])
    assert second["rounds"] == 5
    again = RunFolder.read(tmp_path / "run").record()
    assert again.rounds.slice(0, 3).equals(record.rounds)


def test_a_layer_that_cannot_be_stacked_is_named_once(monkeypatch, capfd, tmp_path: Path):
    arguments = ["floss-sim", "run", "--method", "full", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as stop:
        floss_sim.cli.main()
    assert stop.value.code == 0
    said = " ".join(capfd.readouterr().err.split())
    assert said.count("cannot be batched over clients: they train one at a time") == 1
    assert "embed.class.weight" in said
    description = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert description["trajectory"]["learner"] == "torch-sequential"


def test_a_folder_of_another_run_is_refused(monkeypatch, capfd, tmp_path: Path):
    arguments = ["floss-sim", "run", "--rounds", "1", "--out", str(tmp_path / "run"), "--json"]
    answer(monkeypatch, capfd, floss_sim.cli.main, [*arguments, "--rank", "2"])
    monkeypatch.setattr(sys, "argv", [*arguments, "--rank", "4"])
    with pytest.raises(SystemExit) as stop:
        floss_sim.cli.main()
    assert stop.value.code == 2
    assert "different: layout, rank" in capfd.readouterr().err


@pytest.mark.usefixtures("in_its_folder")
def test_a_plan_is_made_and_asked_again_trains_nothing(monkeypatch, capfd, tmp_path: Path):
    first = json.loads((tmp_path / "printed.json").read_text(encoding="utf-8"))
    best = first["recommendation"]
    assert first["effort"]["trained_now_rounds"] > 0
    assert first["effort"]["search_rounds"] <= first["effort"]["limit_rounds"]
    assert best["budget_spent"] <= 1
    assert best["rounds"] <= 14
    (cost,) = [c for c in first["costs"] if (c["rank"], c["down_density"]) == (4, 1.0)]
    link_s = 8 * (cost["down_bytes"] + 16 * cost["up_bytes"]) / 200e6
    assert cost["round_s"] == pytest.approx(link_s, rel=1e-3)  # bytes are whole, of a mean message
    assert cost["affordable_rounds"] == 14
    seen = [c for c in first["costs"] if "up_error" in c]
    assert seen
    assert all(abs(c["up_error"]) < 0.2 and c["up_calibration"] > 0 for c in seen)
    assert 0 <= best["test_accuracy"] <= 1
    dense = first["baselines"]["dense"]
    assert (dense["rank"], dense["down_density"], dense["up_density"]) == (4, 1, 1)
    assert 5 <= dense["rounds"] < 14  # of 32 bits an entry; what the wire saves buys more
    assert dense["binds"] == "budget"
    assert first["baselines"]["thesis_rule"]["up_density"] == 1 / 64
    (saved,) = tmp_path.glob("plans/*/plan.json")
    assert json.loads(saved.read_text()) == first
    again = answer(monkeypatch, capfd, planner.cli.main, PLAN)
    assert first["effort"].pop("trained_now_runs") == first["effort"]["runs"]
    assert again["effort"].pop("trained_now_runs") == again["effort"].pop("trained_now_rounds") == 0
    first["effort"].pop("trained_now_rounds")
    assert again == first
    assert first["effort"]["search"] == first["request"]["search"] == "race"
    fewer = [*PLAN, "--down-densities", "1"]
    for name in ("asha", "grid"):
        made = answer(monkeypatch, capfd, planner.cli.main, [*fewer, "--search", name])
        assert made["effort"]["search"] == made["request"]["search"] == name
        assert 0 < made["effort"]["search_rounds"] <= made["effort"]["limit_rounds"]
    assert made["effort"]["starters"] == made["effort"]["searched"] == 2


@pytest.mark.usefixtures("in_its_folder")
def test_a_time_budget_and_another_network_reuse_the_curves(monkeypatch, capfd):
    timed = [*PLAN]
    timed[timed.index("5-dense-rounds")] = "1s"
    on_lte = [*timed, "--network", "lte"]
    made = answer(monkeypatch, capfd, planner.cli.main, on_lte)
    best = made["recommendation"]
    assert best["time"]["median_s"] <= 1
    assert best["time"]["median_s"] == pytest.approx(best["budget_spent"])
    fresh = answer(monkeypatch, capfd, planner.cli.main, [*on_lte, "--store", "fresh"])
    assert fresh["effort"].pop("trained_now_rounds") > made["effort"].pop("trained_now_rounds")
    assert fresh["effort"].pop("trained_now_runs") == fresh["effort"]["runs"]
    assert made["effort"].pop("trained_now_runs") < made["effort"]["runs"]
    better = made.pop("better_stored")  # of the first plan, whose budget was larger
    assert better["interval"]["low"] > best["interval"]["high"]
    assert better["budget_spent"] > 1
    assert fresh.pop("better_stored") is None
    assert made == fresh  # else, a plan does not depend on what the store held before
    budget = {"text": "1s", "kind": "seconds", "amount": 1.0, "unit": "s", "confidence": 0.5}
    assert made["budget"] == budget


@pytest.mark.usefixtures("in_its_folder")
def test_tables_for_people_fit_a_terminal(monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", [a for a in PLAN if a != "--json"])
    with pytest.raises(SystemExit) as stop:
        planner.cli.main()
    out, _ = capfd.readouterr()
    assert stop.value.code == 0
    assert "dense LoRA" in out
    assert "…" not in out
    assert max(len(line) for line in out.splitlines()) <= 80


def test_a_run_that_time_shapes_says_what_was_wasted_and_is_not_replayed(
    monkeypatch, capfd, tmp_path: Path
):
    arguments = [
        "floss-sim", "run", "--rank", "2", "--network", "lte", "--policy", "first-k:2",
        "--rounds", "3", "--out", str(tmp_path / "run"), "--json",
    ]  # fmt: skip
    made = answer(monkeypatch, capfd, floss_sim.cli.main, arguments)
    assert (made["policy"], made["reports"]) == ("first-k", 6)
    assert 0 < made["wasted_bytes"] < made["down_bytes"] + made["up_bytes"]
    said = answer(
        monkeypatch, capfd, floss_sim.cli.main,
        ["floss-sim", "account", str(tmp_path / "run"), "--json", "--by", "client"],
    )  # fmt: skip
    assert said["total"]["wasted_bytes"] == made["wasted_bytes"]
    assert sum(row["participations"] for row in said["rows"]) == 15
    other = ["first-k:3" if word == "first-k:2" else word for word in arguments[1:]]
    for refused in (
        ["replay", str(tmp_path / "run"), "--network", "cable"],
        ["account", str(tmp_path / "run"), "--network", "cable"],
        other,
    ):
        monkeypatch.setattr(sys, "argv", ["floss-sim", *refused])
        with pytest.raises(SystemExit) as stop:
            floss_sim.cli.main()
        err = capfd.readouterr().err
        assert stop.value.code == 2
        assert err.count("\n") == 1
        assert "time affected the training of this run" in err or "different: conditions" in err


def test_the_backbone_is_downloaded_once_by_each_client(monkeypatch, capfd, tmp_path: Path):
    arguments = ["floss-sim", "run", "--rank", "2", "--rounds", "2", "--network", "lte", "--json"]
    plain = answer(
        monkeypatch, capfd, floss_sim.cli.main, [*arguments, "--out", str(tmp_path / "a")]
    )
    heavy = answer(
        monkeypatch, capfd, floss_sim.cli.main,
        [*arguments, "--include-backbone", "--out", str(tmp_path / "b")],
    )  # fmt: skip
    clients = set(RunFolder.read(tmp_path / "b").record().transfers["client"].to_pylist())
    backbone = load_task("digits").backbone_bytes
    assert heavy["down_bytes"] - plain["down_bytes"] == len(clients) * backbone
    assert heavy["own_fleet_s"] > plain["own_fleet_s"]
    assert heavy["validation_accuracy"] == plain["validation_accuracy"]


def test_a_plan_is_refused_where_clients_are_lost(monkeypatch, capfd, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    text = (resources.files("network_profiles") / "paper-200-20.toml").read_text(encoding="utf-8")
    (tmp_path / "lossy.toml").write_text(f"{text}dropout = 0.1\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [*PLAN[:4], "--network", "lossy.toml"])
    with pytest.raises(SystemExit) as stop:
        planner.cli.main()
    assert stop.value.code == 2
    assert "clients drop out or come and go" in capfd.readouterr().err


def test_a_run_on_a_network_of_ones_own_is_accounted_for_as_it_was(
    monkeypatch, capfd, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    text = (resources.files("network_profiles") / "lte.toml").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text(f"{text}\n[energy]\ncompute_watts = 2\n", encoding="utf-8")
    arguments = [
        "floss-sim", "run", "--rank", "2", "--network", "own.toml", "--policy", "first-k:2",
        "--rounds", "2", "--out", "run", "--json",
    ]  # fmt: skip
    made = answer(monkeypatch, capfd, floss_sim.cli.main, arguments)
    account = ["floss-sim", "account", "run", "--json"]
    plain = answer(monkeypatch, capfd, floss_sim.cli.main, account)
    priced = answer(monkeypatch, capfd, floss_sim.cli.main, [*account, "--network", "own.toml"])
    assert plain["total"]["wasted_bytes"] == priced["total"]["wasted_bytes"] > 0
    assert priced["total"]["energy_j"] == pytest.approx(2 * priced["total"]["compute_s"])
    assert made["participations"] == sum(row["participations"] for row in plain["rows"])


def test_help_names_every_value_code_and_what_a_ledger_is_for(monkeypatch, capfd):
    code, out, _ = commands.call(monkeypatch, capfd, "floss-sim", "run", "--help")
    assert code == 0
    said = " ".join(out.split())
    assert "Value code of downloads: fp32 (default), fp16, bf16, int8, int4, tail or sign." in said
    assert "smaller downloads, state on the server" in said
