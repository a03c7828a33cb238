"""The public calls: what the commands do, from Python; short texts and tables for notebooks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from commands import call
from peft import PeftModel
from transformers import AutoModelForImageClassification

import floss_sim
import network_profiles
from floss_sim import RunConfig, dense, first_k, floss, load_profile, load_task, train
from floss_sim.errors import BudgetError, ConfigError, PlanError, RecordError
from floss_sim.notebook import html_table
from floss_sim.saved_run import default_folder
from planner import Request, answer, apply_plan, grid, plan, read_plan

CONFIG = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=2)
COMMAND = [
    "floss-sim", "run", "--rank", "2", "--down-density", "1/4", "--up-density", "1/16", "--network",
    "lte", "--json",
]  # fmt: skip


def test_a_saved_run_is_that_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.chdir(tmp_path)
    saved = train(CONFIG, load_profile("lte"), rounds=4, out="mine", eval_every=2)
    code, out, _ = call(
        monkeypatch, capfd, *COMMAND, "--rounds", "4", "--eval-every", "2", "--out", "theirs"
    )
    told = json.loads(out)
    assert code == 0
    theirs = floss_sim.RunFolder.read(Path("theirs")).record()
    assert saved.record.rounds.equals(theirs.rounds)
    assert saved.record.transfers.equals(theirs.transfers)
    assert told["test_accuracy"] == saved.test_accuracy
    assert told["validation_accuracy"] == saved.last_evaluated["accuracy"]
    assert saved.plot.read_bytes()[:4] == b"\x89PNG"
    backbone = AutoModelForImageClassification.from_pretrained(
        CONFIG.task.backbone_path, num_labels=10, local_files_only=True
    )
    assert PeftModel.from_pretrained(backbone, saved.adapter).peft_config["default"].r == 2


def test_a_saved_run_goes_on_and_says_so(tmp_path: Path):
    said: list[str] = []
    began: list[int] = []
    for rounds in (1, 3, 2):
        saved = train(
            CONFIG, load_profile("lte"), rounds=rounds, out=tmp_path / "run", say=said.append,
            on_start=began.append,
        )  # fmt: skip
    assert saved.record.rounds.num_rows == 3
    assert began == [0, 1, 3]
    assert [line.split("; ")[1] for line in said] == [
        "continuing from there", "nothing is left to train",
    ]  # fmt: skip
    other = replace(CONFIG, seed=1)
    with pytest.raises(RecordError, match="choose another folder"):
        train(other, load_profile("lte"), rounds=1, out=tmp_path / "run")


def test_a_default_folder_is_named_after_what_shapes_training(monkeypatch: pytest.MonkeyPatch):
    lte, plain = load_profile("lte"), floss_sim.wait_all()
    assert str(default_folder(CONFIG, lte, plain)).startswith("runs/digits-floss-rank-2")
    assert "lte" not in str(default_folder(CONFIG, lte, plain))
    shaped = str(default_folder(CONFIG, lte, first_k(3, late="finish")))
    assert "first-k-3-finish-on-lte" in shaped


def test_notebooks_show_tables_and_cells_are_escaped(tmp_path: Path):
    assert html_table([["<b>", "1 & 2"]]) == (
        "<table><tbody><tr><td>&lt;b&gt;</td><td>1 &amp; 2</td></tr></tbody></table>"
    )
    saved = train(CONFIG, load_profile("lte"), rounds=2, out=tmp_path / "run")
    assert repr(saved.record).startswith("RunRecord(digits, seed 0: 2 rounds, last accuracy 0.")
    assert saved.record._repr_html_().count("<tr>") == 2  # the head, and the evaluated round
    assert "test accuracy" in saved._repr_html_()
    assert saved.record.to_pandas()["total_bytes"].is_monotonic_increasing


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    store = tmp_path_factory.mktemp("store")
    request = Request.of(
        "digits", "lte", budget="3-dense-rounds", max_rounds=5, effort=1,
        candidates=grid([1, 2], [1.0], [1.0, 1 / 4]),
    )  # fmt: skip
    return request, plan(request, store=store, workers=1, also="2-dense-rounds"), store


def test_a_plan_prints_saves_and_is_read_again(made, tmp_path: Path):
    _, planned, _ = made
    planned.save(tmp_path / "plan")
    again = read_plan(tmp_path / "plan")
    assert again.summary() == planned.summary()
    assert again.to_json() == planned.to_json()
    assert repr(planned).startswith("Plan(digits on lte: 3-dense-rounds")
    tables = planned._repr_html_().count("<table>")  # 3 and sentences, of the plan and of answers
    assert tables == 8
    assert [row.split()[0] for row in planned.summary().splitlines()[3:4]] == ["plan"]
    assert [found.kind for found in planned.also] == ["measured"]
    with pytest.raises(PlanError):
        read_plan(tmp_path)


def test_stored_curves_answer_and_a_plan_is_applied(made, tmp_path: Path):
    request, planned, store = made
    (found,) = answer(request, store=store)
    assert found.kind == "measured"
    applied = apply_plan(planned, store=store, out=tmp_path / "applied")
    assert applied.trained == 0
    assert applied.outcome.rounds == planned.recommendation.rounds
    assert (tmp_path / "applied" / "adapter").is_dir()


def test_a_request_remembers_how_its_task_was_loaded_where_it_can(tmp_path: Path):
    assert Request.of("digits", "lte").origin.network == "lte"
    task, profile = load_task("digits"), load_profile("lte")
    assert Request.of(task, profile).origin.task == "digits"
    changed = load_task("digits", changes={"partition.clients": 20})
    assert Request.of(changed, profile).origin is None
    mine = tmp_path / "mine.toml"
    source = Path(floss_sim.tasks.__file__).parent
    shutil.copytree(source / "digits_backbone", tmp_path / "digits_backbone")
    shutil.copy(source / "digits.toml", mine)
    assert Request.of(str(mine), "lte").origin.task == str(mine)


def test_the_version_is_that_of_the_package():
    assert floss_sim.__version__.count(".") == 2
    assert dense().name == "dense"


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"rounds": "3"}, {"eval_every": 0}, {"threads": 0}, {"rounds": None}]
)
def test_numbers_that_cannot_be_create_nothing(wrong: dict, tmp_path: Path):
    with pytest.raises(ConfigError, match="no whole number above 0"):
        train(CONFIG, load_profile("lte"), out=tmp_path / "run", **{"rounds": 1, **wrong})
    assert not list(tmp_path.iterdir())


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    saved = train(CONFIG, load_profile("lte"), rounds=1, out="~/run")
    assert saved.folder.path == tmp_path / "home" / "run"
    assert not (tmp_path / "~").exists()


def test_further_networks_are_checked_as_the_first(tmp_path: Path):
    text = (Path(network_profiles.__file__).parent / "lte.toml").read_text(encoding="utf-8")
    dropping = text.replace("share =", "dropout = 0.3\nshare =")
    (tmp_path / "drop.toml").write_text(dropping, encoding="utf-8")
    request = Request.of("digits", "lte", budget="1GB")
    with pytest.raises(ConfigError, match="clients drop out"):
        answer(request, also=f"{tmp_path / 'drop.toml'}:1h")


def test_a_request_takes_paths_and_changes_and_names_what_is_wrong(made):
    changed = Request.of("digits", "lte", upload_ratio=16, changes={"partition.clients": 20})
    assert changed.origin.upload_ratio == 16
    task, network = changed.origin.reload(fetch=False)
    assert (task.partition.clients, network) == (20, changed.profile)
    with pytest.raises(ConfigError, match="changes need the task's name"):
        Request.of(load_task("digits"), "lte", changes={"partition.clients": 20})
    with pytest.raises(ConfigError, match="max_client_bytes '5MB'"):
        Request.of("digits", "lte", max_client_bytes="5MB")
    with pytest.raises(BudgetError, match="cannot read budget '50'"):
        Request.of("digits", "lte", budget=50)
    request, planned, store = made
    with pytest.raises(ConfigError, match="0 workers"):
        plan(request, store=store, workers=0)
    unknown = replace(planned, request={**planned.request, "origin": None})
    with pytest.raises(PlanError, match="does not say how its task and network were loaded"):
        apply_plan(unknown, store=store)


def test_a_summary_has_the_further_answers(made):
    _, planned, _ = made
    assert "from stored curves; no training" in planned.summary()
    assert "2-dense-rounds" in planned._repr_html_()
