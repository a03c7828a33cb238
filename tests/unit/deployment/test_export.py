"""Files of an exported app, and inputs that are refused."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import call
from exported_apps import CLIENTS, read_config, small_config
from flower_stand_ins import Grid, stand_in_modules
from small_tasks import text_task

import floss_sim.deployment
from floss_sim import RunConfig, RunFolder, load_profile, load_task, train
from floss_sim.deployment import NodeRun, export_app, export_run, read_run_file
from floss_sim.deployment.framework import check_framework
from floss_sim.deployment.recorded_run import recorded_config
from floss_sim.deployment.run_file import RunFile
from floss_sim.errors import ConfigError, FlossError, TaskError
from floss_sim.methods import (
    DifferentialPrivacy,
    adapter_lth,
    dense,
    floss,
    floss_tiers,
    hetlora,
    method_from_name,
    sparse_adapter,
)
from floss_sim.methods.from_settings import method_from_settings
from floss_sim.protocol import Dispatch

ROOT = Path(__file__).parents[3]
HELD = [
    dense(), floss(1 / 4, 1 / 16), floss(1 / 4, 1, scope="tensor", dense_head=True),
    floss(1 / 2, 1 / 2, pick="random"), floss_tiers(), hetlora(which="largest"),
    hetlora(divisor="covering"), method_from_name("ffa", up_values="int8", error_feedback=True),
    method_from_name("dense", down_values="int8"), method_from_name("head"),
    method_from_name("ravan", heads=2, up_density=1 / 4),
    method_from_name("rolora", down_density=1 / 4, up_density=1 / 2, pick="random"),
    method_from_name("fslora", density=1 / 2), method_from_name("lora-a2"),
    method_from_name("fedsrd", down_density=1 / 2), method_from_name("ecolora", half_life=2.0),
    method_from_name("fedsa-lora"), method_from_name("freezing"),
    method_from_name("flexlora", tiers="1:4,2:1"), method_from_name("lora-fair", penalty=0.5),
    method_from_name("fedsvd", up_density=1 / 2, rebase_every=3),
    method_from_name("feddpa", private_rank=1, together=True, up_density=1 / 2),
    method_from_name("flora", merge_rate=2.0), method_from_name("fedex-lora"),
    method_from_name("fedex-lora", residual_rank=0, up_values="int8"),
    method_from_name("fedkseed", seeds=64, steps=8),
    method_from_name("rolora", change_ledger=True), method_from_name("floss", mask_ledger=True),
    sparse_adapter(1 / 2, "tensor", "random"), adapter_lth(0.9, dense_head=True),
    method_from_name("ffa", privacy=DifferentialPrivacy(math.inf, 0.0)),
    method_from_name("fedsa-lora", privacy=DifferentialPrivacy(1.0, 2.0, "local", 1e-6)),
]  # fmt: skip


def test_flower_is_imported_by_the_files_of_the_app_alone():
    imports = re.compile(r"^\s*(from|import) flwr\b", re.MULTILINE)
    found = {
        path.relative_to(ROOT).as_posix()
        for package in ("floss_sim", "planner", "network_profiles")
        for path in (ROOT / package).rglob("*.py")
        if imports.search(path.read_text(encoding="utf-8"))
    }
    app = "floss_sim/deployment/flower_app/floss_app"
    assert found == {f"{app}/client_app.py", f"{app}/server_app.py"}


def test_the_app_is_short():
    folder = Path(floss_sim.deployment.__file__).parent / "flower_app"
    lines = [len(p.read_text(encoding="utf-8").splitlines()) for p in folder.rglob("*.py")]
    assert sum(lines) <= 300
    assert len((folder / "README.md").read_text(encoding="utf-8").splitlines()) <= 70


@pytest.mark.parametrize("method", HELD, ids=lambda method: method.name)
def test_a_method_is_rebuilt_from_its_settings(method):
    settings = json.loads(json.dumps(method.settings()))
    assert method_from_settings(method.name, settings) == method


def test_an_app_has_its_run_its_keys_and_a_wheel_that_imports(tmp_path: Path):
    config = small_config(floss(1 / 4, 1 / 16))
    app = export_app(config, tmp_path / "app", task="digits", rounds=7, eval_every=2)
    run = read_run_file(app / "floss_app" / "run.json")
    assert (run.rounds, run.eval_every) == (7, 2)
    assert run.config.settings() == config.settings() and run.config.method == config.method
    keys = read_config(app)
    assert keys["num-server-rounds"] == 7 and keys["record-path"] == str(app / "record")
    assert all("_" not in key for key in keys)
    readme = (app / "README.md").read_text(encoding="utf-8")
    assert "@" not in readme and f"num-supernodes={CLIENTS}" in readme
    (wheel,) = app.glob("*.whl")
    assert wheel.name in readme
    with zipfile.ZipFile(wheel) as made:
        names = made.namelist()
        metadata = made.read("floss_sim-0.1.0.dist-info/METADATA").decode()
        made.extractall(tmp_path / "site")
    assert "floss_sim/tasks/digits.toml" in names and "network_profiles/lte.toml" in names
    assert not any(name.startswith(("floss_sim/cli/", "planner/")) for name in names)
    assert "Requires-Dist: torch" in metadata and "typer" not in metadata
    code = "import floss_sim; floss_sim.load_task('digits'); print(floss_sim.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(tmp_path / "site")}, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path / "site"))


def test_a_run_is_exported_as_it_was_recorded(tmp_path: Path):
    given = {"data.limit": 60, "data.validation": 60, "data.test": 60}
    changes = {"partition.clients": 5, "lora.targets": "q", **given}
    task = load_task("digits", changes=changes)
    config = RunConfig.of(task, method_from_name("ffa", up_density=1 / 4), rank=2, seed=3)
    train(config, load_profile("lte"), rounds=2, eval_every=1, out=tmp_path / "run",
          learner="sequential")  # fmt: skip
    folder = RunFolder.read(tmp_path / "run")
    assert recorded_config(folder.description, changes=given).settings() == config.settings()
    with pytest.raises(ConfigError, match=r"different: data\); give the run's"):
        recorded_config(folder.description)
    app = export_run(tmp_path / "run", tmp_path / "app", changes=given)
    run = read_run_file(app / "floss_app" / "run.json")
    assert (run.rounds, run.eval_every) == (2, 1)
    assert run.config.settings() == config.settings()


def test_a_task_of_ones_own_travels_with_the_app(tmp_path: Path):
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", x=draw.random((60, 1, 8, 8)), y=np.arange(60) % 10)
    text = (ROOT / "floss_sim/tasks/digits.toml").read_text(encoding="utf-8")
    backbone = ROOT / "floss_sim/tasks/digits_backbone"
    for old, new in (
        ('"sklearn-digits"', '"images.npz"'), ('"digits_backbone"', f'"{backbone}"'),
        ("= 350", "= 10"), ("clients = 50", "clients = 5"), ('"dirichlet"', '"iid"'),
    ):  # fmt: skip
        text = text.replace(old, new)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    task = str(tmp_path / "mine.toml")
    config = RunConfig.of(load_task(task), dense(), rank=1)
    app = export_app(config, tmp_path / "app", task=task, rounds=1)
    run = app / "floss_app" / "run.json"
    assert read_run_file(run).config.settings() == config.settings()
    with pytest.raises(ConfigError, match="unknown noise 'dice'; valid: seed, system"):
        read_run_file(run).with_noise("dice")
    np.savez(tmp_path / "node.npz", x=draw.random((7, 1, 8, 8)), y=np.arange(7))
    download = _download(config)
    (tmp_path / "images.npz").unlink()  # a node has no other data than its own
    node = NodeRun.open(run, data=str(tmp_path / "node.npz"))
    upload = node.train(download, {})
    assert upload.examples == 7 and upload.client == 2
    with pytest.raises(ConfigError, match="no held-out data to measure its own model on"):
        node.evaluate(download, {})
    np.savez(tmp_path / "held.npz", x=draw.random((2, 1, 8, 8)), y=np.arange(2))
    paths = {"data": str(tmp_path / "node.npz"), "validation": str(tmp_path / "held.npz")}
    assert NodeRun.open(run, **paths).evaluate(download, {}).accuracy in (0, 0.5, 1)
    with pytest.raises(TaskError, match="no data at"):
        NodeRun.open(run, data=str(tmp_path / "absent.csv"))
    np.savez(tmp_path / "images.npz", x=draw.random((60, 1, 8, 8)), y=np.arange(60) % 10)
    with pytest.raises(ConfigError, match="other data than in the exported run"):
        read_run_file(run)


def _download(config: RunConfig) -> Dispatch:
    from floss_sim import open_learner

    return open_learner(config, "cpu", 1, "sequential").dispatch(2, 0)


def test_labels_of_a_node_are_numbered_by_the_names_of_the_run(tmp_path: Path):
    rows = [f"w{i} w{i + 1},{'abc'[i % 3]}" for i in range(20)]
    (tmp_path / "all.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    task = text_task(tmp_path, "all.csv")
    names = task.content.names
    assert names == ("a", "b", "c")
    (tmp_path / "node.csv").write_text("text,label\nw1,c\nw2,b\nw3,c\n", encoding="utf-8")
    own = task.with_own_examples(str(tmp_path / "node.csv"), names).content
    assert own.train[1].tolist() == [2, 1, 2]
    assert len(own.validation[1]) == len(own.test[1]) == 0
    (tmp_path / "node.csv").write_text("text,label\nw1,z\n", encoding="utf-8")
    with pytest.raises(TaskError, match="holds the label 'z'; valid: 'a', 'b', 'c'"):
        task.with_own_examples(str(tmp_path / "node.csv"), names)


@pytest.mark.parametrize("version", ["1.41.3", "1.43.0", "2.0.0", "1.28.0"])
def test_another_version_of_flower_is_refused(version: str, monkeypatch: pytest.MonkeyPatch):
    with (
        stand_in_modules(monkeypatch, version),
        pytest.raises(ConfigError, match=rf"flwr {version} is not supported; valid: flwr 1\.42"),
    ):
        check_framework()
    monkeypatch.setenv("FLOSS_SIM_ANY_FRAMEWORK", "1")
    with stand_in_modules(monkeypatch, version):
        assert check_framework() == f"flwr {version}"


def test_without_flower_the_app_says_so():
    with pytest.raises(ConfigError, match="flwr is not installed"):
        check_framework()


def test_what_cannot_be_exported_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    method = sparse_adapter(pick="random")
    config = RunConfig.of(load_task("digits", changes={"data.limit": 60}), method, rank=1)
    train(config, load_profile("lte"), rounds=1, out=tmp_path / "run", learner="sequential")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for words, said in (
        (["run", "--out", "app"], "cannot hold method 'sparse-adapter'"),
        (["run", "--out", "full"], "is not empty"),
        (["run", "--out", "app", "--to", "other"], "valid: flower"),
        (["absent", "--out", "app"], "no run folder"),
    ):
        monkeypatch.chdir(tmp_path)
        code, out, err = call(monkeypatch, capfd, "floss-sim", "export", *words)
        assert (code, out) == (2, "") and said in err and err.count("\n") == 1
        assert not (tmp_path / "app").exists()


def test_a_node_without_data_and_a_damaged_run_file_are_refused(
    tmp_path: Path, run_app: Callable[..., Grid], caplog: pytest.LogCaptureFixture
):
    config = small_config(dense())
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(FlossError, match="missing"):
        read_run_file(tmp_path / "run.json")
    nodes = {1 + i: {"partition-id": i} for i in range(CLIENTS - 1)} | {9: {"data-path": "absent"}}
    grid = run_app(config, nodes=nodes)
    reasons = {m.error.reason for m in grid.received if m.has_error()}
    assert reasons == {"<class 'RuntimeError'>:<'the node cannot train; its log says why'>"}
    assert "cannot train: no data at" in caplog.text  # on the node alone
    fates = RunFolder.read(tmp_path / "record").record().transfers["fate"].to_pylist()
    assert "dropped" in fates and "aggregated" in fates


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (method_from_name("floss", down_density=1 / 4, mask_ledger=True), "a ledger of masks"),
        (adapter_lth(pick="random"), "a random mask, whose history"),
    ],
)
def test_a_method_whose_states_an_app_lacks_is_refused(method, reason: str):
    config = RunConfig.of(load_task("digits"), method, rank=2)
    with pytest.raises(ConfigError, match=reason):
        RunFile.of(config, task="digits", rounds=1)
