"""``floss-plan show``, ``apply``, ``--also``, ``--effort 0``, and Ctrl-C."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
from formula_engine import FormulaEngine
from made_plans import whole_plan
from safetensors.numpy import load_file

import floss_sim.tasks
import network_profiles

MAKE = [
    "floss-plan", "--no-report",
    "--task", "mine.toml", "--budget", "3-dense-rounds", "--upload-ratio", "16",
    "--ranks", "1,2", "--down-densities", "1", "--up-densities", "1/16", "--reference-rank", "2",
    "--max-rounds", "3", "--effort", "1", "--workers", "2",
]  # fmt: skip
TASKS = Path(floss_sim.tasks.__file__).parent
NETWORKS = Path(network_profiles.__file__).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a task of one's own, a plan for it, what was printed, and a store."""
    folder = tmp_path_factory.mktemp("made")
    text = (TASKS / "digits.toml").read_text(encoding="utf-8")
    # After three rounds on this split a candidate is the best, not a baseline, whose bytes are not
    # predicted: ``apply`` has a prediction to show.
    text = text.replace("split_seed = 383", "split_seed = 0").replace('"stratified"', '"random"')
    backbone = f'model = "{TASKS / "digits_backbone"}"'
    (folder / "mine.toml").write_text(
        text.replace('model = "digits_backbone"', backbone), encoding="utf-8"
    )
    asked = [word for word in MAKE[1:] if word != "--no-report"]
    words = [*asked, "--out", "plan", "--also", "2-dense-rounds,lte:2s"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "80")
        patch.setenv("FLOSS_SIM_STORE", str(folder / "store"))
        (folder / "printed").write_text(
            commands.printed(patch, "floss-plan", *words), encoding="utf-8"
        )
    return folder


@pytest.fixture
def call(monkeypatch, capfd, tmp_path: Path, made: Path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *words: commands.call(monkeypatch, capfd, *words)


def test_a_plan_is_shown_again_to_the_letter(call, tmp_path: Path):
    code, shown, _ = call("floss-plan", "show", "plan/plan.json")
    assert code == 0
    printed = (tmp_path / "printed").read_text(encoding="utf-8")
    assert printed == f"{shown}Saved plan.json, accuracy.png and report.html in\nplan\n"
    assert "2-dense-rounds" in shown
    code, out, _ = call("floss-plan", "show", "plan", "--json")
    assert (code, out) == (0, (tmp_path / "plan" / "plan.json").read_text(encoding="utf-8"))


def test_the_sliders_of_a_plans_page_begin_with_the_plan(call, tmp_path: Path, made: Path):
    at_first = (tmp_path / "plan" / "report.html").read_text(encoding="utf-8")
    code, out, err = call("floss-plan", "report", "plan", "--store", "store")
    assert (code, err) == (0, "")
    assert out == "Saved the page\nplan/report.html\n"
    html = (tmp_path / "plan" / "report.html").read_text(encoding="utf-8")
    assert html == at_first
    assert str(made) not in html
    assert str(tmp_path) not in html
    plan = json.loads((tmp_path / "plan" / "plan.json").read_text(encoding="utf-8"))
    engine, best = FormulaEngine.of_page(html), plan["recommendation"]
    settings = {"down": 1, "up": 1, "ratio": 16, "rtt": None, "compute": 1, "budget": 1}
    told = engine.call("answerOf", {**settings, "network": 0})
    assert engine.page["configs"][told["best"]]["label"].startswith("Recommended: ")
    assert told["rounds"][told["best"]] == best["rounds"]
    assert told["amount"] == pytest.approx(plan["budget"]["amount"], rel=1e-9)
    times = engine.call("timesAt", told["best"], {**settings, "network": 0})["times"]
    assert times[0][best["rounds"] - 1] == pytest.approx(best["own_fleet_s"], rel=1e-9)
    assert engine.page["configs"][told["best"]]["command"].startswith("../store/")


def test_a_plan_is_applied(call, tmp_path: Path, made: Path, monkeypatch):
    plan = json.loads((tmp_path / "plan" / "plan.json").read_text(encoding="utf-8"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert plan["request"]["origin"]["task"] == "../mine.toml"
    code, out, err = call("floss-plan", "apply", "../plan", "--json")
    assert code == 0, err
    own = json.loads(out)
    assert own["trained_now_rounds"] == 0  # the search has trained it
    assert own["validation_accuracy"] == plan["recommendation"]["validation_accuracy"]
    assert own["test_accuracy"] == plan["recommendation"]["test_accuracy"]
    assert own["planned"]["own_fleet_s"] == own["own_fleet_s"]
    assert own["predicted"]["total_bytes"] > 0
    folder = tmp_path / "plan" / "applied"
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter", "applied.json", "curve.csv", "curve.png",
    ]  # fmt: skip
    files = [path for path in (tmp_path / "plan").rglob("*") if path.is_file()]
    places = [str(place).encode() for place in (made, tmp_path, TASKS)]
    assert not [path for path in files if any(place in path.read_bytes() for place in places)]
    card = (folder / "adapter" / "README.md").read_text(encoding="utf-8")
    for name, told in (("validation", own["interval"]), ("test", own["test"])):
        mean, low, high = (f"{told[end]:.3f}" for end in ("mean", "low", "high"))
        assert f"| {name} accuracy (90 % interval) | {mean} ({low} to {high}" in card
    assert "examples, 1 seed) |" in card
    rows = [line.split(",") for line in (folder / "curve.csv").read_text().splitlines()]
    assert rows[0][:3] == ['"round"', '"closed_at_s"', '"down_bytes"']
    assert (int(rows[-1][0]), int(rows[-1][2])) == (own["rounds"], own["down_bytes"])

    words = ["floss-plan", "apply", "../plan", "--seed", "3", "--out", "second"]
    code, out, err = call(*words, "--json")
    other = json.loads(out)
    rounds = other["planned"]["rounds"]
    assert re.match(
        rf"training with seed 3; \d of {rounds} rounds(, about .* left|; accuracies .*)?\n", err
    )
    assert (other["seed"], other["trained_now_rounds"]) == (3, other["rounds"])
    _check_difference(other, own, plan)
    adapters = [
        load_file(place / "adapter" / "adapter_model.safetensors")
        for place in (folder, Path("second"))
    ]
    assert adapters[0].keys() == adapters[1].keys()
    assert any((adapters[0][key] != adapters[1][key]).any() for key in adapters[0])
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert "seed 3: 0 rounds were trained now" in out
    assert "realised" in out
    said = " ".join(out.split())
    assert "paired on 350 test examples. The intervals of both differences cover" in said
    shutil.rmtree(own["record"])
    code, out, err = call(*words)
    assert "the store lacks the run with seed 0" in " ".join(out.split())
    said, command = out.splitlines()[-2:]
    assert said == "Its record has the seconds of paper-200-20; on the plan's network:"
    code, out, err = call(*shlex.split(command), "--json")
    assert code == 0, err
    timed = {line["network"]: line["own_fleet_s"] for line in json.loads(out)["scenarios"]}
    assert timed[plan["request"]["network"]] == pytest.approx(other["own_fleet_s"])
    assert timed.get(other["record_network"]) != timed[plan["request"]["network"]]
    code, _, err = call("floss-plan", "apply", "../plan", "--out", "../plan")
    assert (code, err.count("\n")) == (2, 1)


def test_a_target_below_chance_is_no_answer(call, tmp_path: Path):
    words = [*MAKE, "--set", "server.learning_rate=1e-9", "--target", "0.05", "--out", "none"]
    code, out, err = call(*words)
    assert code == 3, err
    assert "Nothing was learned: the best validation accuracy" in " ".join(out.split())
    for words in (["show"], ["apply"], ["apply", "--seed", "5"]):
        code, out, err = call("floss-plan", *words, "none")
        assert "Nothing was learned: the" in out, err
        assert code == (0 if words == ["show"] else 3)
    code, out, _ = call("floss-plan", "apply", "none", "--json")
    assert (code, json.loads(out)["learned"]) == (3, False)


def _check_difference(other: dict[str, Any], own: dict[str, Any], plan: dict[str, Any]) -> None:
    """Check what a run with another seed says about the plan's run, from both runs' records."""
    assert own["difference"] is None
    told, theirs = other["difference"], plan["recommendation"]["curve"][-1][2]
    ours = other["last_evaluation"]["accuracy"]  # of three rounds the last part is one
    assert own["last_evaluation"]["accuracy"] == theirs
    assert told["to_seed"] == 0
    assert told["validation"]["mean"] == pytest.approx(ours - theirs)
    assert other["interval"]["mean"] == pytest.approx(ours) == other["validation_accuracy"]
    assert other["interval"]["low"] < ours < other["interval"]["high"]
    apart_E = _right_on_test(other) - _right_on_test(own)
    half = 1.6449 * apart_E.std(ddof=1) / len(apart_E) ** 0.5
    assert [told["test"][key] for key in ("low", "mean", "high")] == pytest.approx(
        [apart_E.mean() - half, apart_E.mean(), apart_E.mean() + half], abs=1e-4
    )


def _right_on_test(made: dict[str, Any]) -> Any:
    """Return which predictions of an applied plan's last model are right, as 0 or 1."""
    content = json.loads((Path(made["record"]) / "test.json").read_text(encoding="utf-8"))
    text = json.dumps(content)
    (packed,) = re.findall(rf'"{made["rounds"]}": {{[^}}]*"right": "([^"]*)"', text)
    count = made["test"]["examples"]
    return np.unpackbits(np.frombuffer(base64.b64decode(packed), np.uint8), count=count).astype(int)


def test_effort_0_trains_nothing(call, tmp_path: Path):
    def files() -> list[Path]:
        """All files but the one that remembers, a second after they were written, verified runs."""
        return sorted(path for path in tmp_path.rglob("*") if path.name != "checked.jsonl")

    before = files()
    words = [*MAKE, "--effort", "0", "--also", "lte:1min", "--json"]
    code, out, _ = call(*words, "--store", "fresh", "--prior", "none")
    assert code == 3  # no stored curve answers
    assert [a["kind"] for a in json.loads(out)["answers"]] == ["unknown", "unknown"]
    code, out, _ = call(*words, "--network", "cable")
    assert code == 0
    assert {a["kind"] for a in json.loads(out)["answers"]} == {"measured"}
    code, out, _ = call(*words[:-1])
    assert "3-dense-rounds" in out
    assert "measured" in out
    assert files() == before
    code, _, err = call(*words, "--target", "0.9")
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = call(*MAKE, "--also", "3 apples")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot read budget '3 apples'" in err


PRICED = """
[energy]
joules_per_mb_down = 3
joules_per_mb_up = 7
compute_watts = 2
[prices]
currency = "EUR"
per_gb_down = 1
per_gb_up = 5
"""


def test_answers_show_devices_energy_and_money(call, tmp_path: Path):
    text = (NETWORKS / "lte.toml").read_text(encoding="utf-8") + PRICED
    (tmp_path / "priced.toml").write_text(text.replace('"lte"', '"priced"'), encoding="utf-8")
    words = [*MAKE, "--network", "priced.toml", "--effort", "0", "--also", "lte:5MB"]
    words[words.index("--budget") + 1] = "9MB/client"
    code, out, err = call(*[word for word in words if word not in ("--upload-ratio", "16")])
    assert code == 0, err
    rows = [line.split() for line in out[out.index("busiest device") :].splitlines()[2:4]]
    assert rows[0][0] == "9MB/client"
    assert rows[0][-1] == "EUR"
    assert "unknown" not in rows[0]
    assert rows[1][:2] == ["lte:", "5MB"]
    assert rows[1][-3:] == ["unknown"] * 3
    said = " ".join(out.split())
    assert "9MB/client is 9 MB a cohort slot. A cohort slot is a place in every round" in said
    assert "Energy and money are unknown where the network's file lacks" in said


@pytest.mark.parametrize("effort", ["0", "1"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "1kB/device"], "budget '1kB/device' affords no round of any candidate; a r"),
        (["--budget", "10MB", "--also", "1kB/device"], "'1kB/device' affords no round of any"),
        (["--budget", "10MB", "--also", "1GB,9EUR"], "budget '9EUR' needs prices, which paper"),
        (["--budget", "1kJ"], "budget '1kJ' needs energy, which paper-200-20, upload ratio 16 la"),
        (["--budget", "10MB", "--max-round-s", "1e-9"], "a mean round takes more than 1e-06 ms "),
    ],
)
def test_what_affords_no_round_is_refused_before_anything_is_trained(
    call, words: list[str], said: str, effort: str
):
    code, out, err = call(*MAKE, *words, "--effort", effort, "--store", "fresh", "--seed", "8")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not Path("fresh").exists()


def test_what_has_changed_is_not_applied(call, tmp_path: Path):
    mine, plan = tmp_path / "mine.toml", tmp_path / "plan" / "plan.json"
    content = json.loads(plan.read_text(encoding="utf-8"))
    content["request"]["origin"]["task"] = str(mine)
    for place, value in (("fleet", {"clients": 10**9}), ("judged", {"validation": 70})):
        other = json.loads(json.dumps(content))
        other["request"][place] |= value
        other["request"].pop("validation_examples")
        del other["most_frequent"]  # it follows from the number of examples
        trained = [made for made in other["baselines"].values() if made]
        for made in (other["recommendation"], *other["runners_up"], *trained, *other["also"]):
            del made["usage"]  # whose mean follows from the number of clients
        (tmp_path / "other.json").write_text(json.dumps(other), encoding="utf-8")
        code, _, err = call("floss-plan", "apply", "other.json")
        assert (code, err.count("\n")) == (2, 1)
        assert f"request.{place}.{next(iter(value))}: it differs from the task" in err
    (tmp_path / "other.json").unlink()
    plan.write_text(json.dumps(content), encoding="utf-8")
    text = mine.read_text(encoding="utf-8")
    mine.write_text(text.replace("batch_size = 16", "batch_size = 8"), encoding="utf-8")
    code, _, err = call("floss-plan", "apply", "plan")
    assert code == 2
    assert "the task's settings changed since the plan was made" in err
    mine.unlink()
    code, _, err = call("floss-plan", "apply", "plan")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot read" in err


def test_what_cannot_be_shown_or_applied_is_said(call, tmp_path: Path):
    code, _, err = call("floss-plan", "show", "nowhere.json")
    assert (code, err) == (2, "floss-plan: cannot read nowhere.json: No such file or directory\n")
    old = {**whole_plan().to_json(), "plan_version": 1}
    (tmp_path / "old.json").write_text(json.dumps(old), encoding="utf-8")
    for command in ("show", "apply"):
        code, _, err = call("floss-plan", command, "old.json")
        assert code == 2
        assert err.startswith("floss-plan: old.json has plan version 1, not 3; plan again")
    (tmp_path / "made.json").write_text(json.dumps(whole_plan().to_json()), encoding="utf-8")
    assert call("floss-plan", "show", "made.json")[0] == 0
    code, _, err = call("floss-plan", "apply", "made.json")
    assert code == 2
    assert "the plan does not say how its task and network were loaded" in err


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_leaves_the_best_plan_so_far(tmp_path: Path):
    def interrupted(store: Path, out: Path, finished: int) -> subprocess.CompletedProcess:
        words = [*MAKE[1:], "--task", "digits", "--out", str(out), "--search", "grid",
                 "--max-rounds", "10", "--budget", "5-dense-rounds", "--ranks", "1,2,4",
                 "--down-densities", "1,1/4", "--store", str(store), "--workers", "1"]  # fmt: skip
        process = subprocess.Popen(
            [*commands.interruptible("planner.cli"), *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            texts = [path.read_text() for path in store.glob("*/manifest.json")]
            begun = any(store.glob("*"))  # folders are made before workers are
            if begun and sum('"rounds": 10' in text for text in texts) >= finished:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out_text, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out_text, err)

    none = interrupted(tmp_path / "a", tmp_path / "none", 0)
    assert none.returncode == 130
    assert none.stderr.endswith("floss-plan: interrupted; the same command goes on from here\n")
    assert not (tmp_path / "none").exists()
    some = interrupted(tmp_path / "a", tmp_path / "some", 2)
    assert some.returncode == 130
    assert "Interrupted: the best run so far. Repeat" in some.stdout
    plan = json.loads((tmp_path / "some" / "plan.json").read_text())
    assert plan["interrupted"]
    assert 10 in [made["rounds"] for made in (plan["recommendation"], *plan["runners_up"])]
    assert 0 < plan["effort"]["search_rounds"] < plan["effort"]["limit_rounds"]
    assert "Traceback" not in some.stderr
