"""Targets, fronts, limits and a wider space at the command line, really run."""

from __future__ import annotations

import json

import commands
import pytest

MAKE = [
    "floss-plan", "--no-report",
    "--budget", "7-dense-rounds", "--upload-ratio", "16", "--ranks", "1,4",
    "--down-densities", "1", "--up-densities", "1/16,1/64", "--reference-rank", "4",
    "--max-rounds", "5", "--effort", "1", "--workers", "2",
]  # fmt: skip


def test_objectives_share_one_store(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: str) -> tuple[int, str, str]:
        return commands.call(monkeypatch, capfd, *MAKE, *words)

    code, out, _ = call("--target", "0.999", "--json")
    missed = json.loads(out)
    assert (code, missed["reached"]) == (3, False)
    accuracies = [
        o["validation_accuracy"] for o in [missed["recommendation"], *missed["runners_up"]]
    ]
    target = str(min(accuracies) / 2)

    code, out, err = call("--target", target, "--json")
    assert out, err
    reached = json.loads(out)
    best = reached["recommendation"]
    assert (code, reached["reached"], best["binds"]) == (0, True, "target"), err
    assert best["budget_spent"] <= min(o["budget_spent"] for o in reached["runners_up"])
    assert best["validation_accuracy"] >= float(target)
    assert reached["effort"]["search_rounds"] <= reached["effort"]["limit_rounds"]

    code, out, _ = call("--pareto", "--out", "front")
    assert code == 0
    assert "Best expected accuracy of a measured run within each cost" in out
    assert "Saved plan.json, accuracy.png and front.png in" in out
    made = json.loads((tmp_path / "front" / "plan.json").read_text())
    effort = made["effort"]
    assert effort["trained_now_rounds"] == effort["seed_rounds"]  # its search is in the store
    costs = [point["cost"] for point in made["front"]]
    assert costs == sorted(costs)
    assert (tmp_path / "front" / "front.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr("sys.argv", [])
    code, shown, _ = commands.call(monkeypatch, capfd, "floss-plan", "show", "front")
    assert (code, shown) == (0, out[: out.index("Saved plan.json")])

    slow = max(cost["round_s"] for cost in made["costs"])
    code, out, _ = call("--max-round-s", str(slow * 0.999))
    assert code == 0
    assert "of 4 candidates " in out
    assert "would take more than" in out

    most = 4.5 * max(c["down_bytes"] + c["up_bytes"] for c in made["costs"])
    code, out, _ = call("--max-client-bytes", f"{most / 3:.0f}B", "--json")
    limited = json.loads(out)
    assert code == 0
    assert limited["recommendation"]["binds"] in ("limit of a client", "round cap")
    assert limited["effort"]["grid_rounds"] < made["effort"]["grid_rounds"]

    code, out, _ = call(
        "--values", "fp32,int8", "--cohorts", "3,5", "--depths", "all,1", "--json",
        "--up-densities", "1/16", "--effort", "0.25",
    )  # fmt: skip
    wide = json.loads(out)
    assert code == 0
    assert wide["effort"]["searched"] == 16
    assert {cost["depth"] for cost in wide["costs"]} == {1, 4} == {*wide["request"]["depth"]}
    assert wide["request"]["values"] == ["fp32", "int8"]
    assert {cost["cohort_size"] for cost in wide["costs"]} == {3, 5}
    (dense,) = (wide["baselines"]["dense"],)
    assert (dense["cohort_size"], dense["depth"]) == (5, 4)
