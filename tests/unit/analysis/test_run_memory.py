"""Memory of a run's clients, and the refusal of models that this machine cannot hold."""

from __future__ import annotations

import commands
import pytest

from floss_sim import RunConfig, dense, load_task
from floss_sim.analysis import run_memory as module
from floss_sim.analysis.run_memory import check_memory, machine_bytes, run_memory
from floss_sim.errors import ConfigError
from floss_sim.tasks.backbone_files import BackboneFiles


def digits(**changes) -> RunConfig:
    return RunConfig.of(load_task("digits", changes=changes), dense(), rank=4)


def test_memory_of_a_run_follows_from_batch_and_rank():
    made, large = run_memory(digits()), run_memory(digits(**{"client.batch_size": 8}))
    assert made.trained == 4 * digits().layout.entries
    assert made.activations == 2 * large.activations
    most = max(len(part) for part in digits().clients)
    assert run_memory(digits(**{"client.batch_size": 4096})).activations == (
        made.activations * most // 16
    )


def test_a_machine_has_memory_and_a_container_less(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(module, "_CONTAINER_LIMIT", limit)
    whole = machine_bytes()  # without a file
    assert whole is not None
    assert whole > 2**28
    for text, found in (("max\n", whole), ("1048576\n", 2**20)):
        limit.write_text(text, encoding="ascii")
        assert machine_bytes() == found


def test_a_model_that_is_too_large_is_refused_with_its_estimate(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "machine_bytes", lambda: 10**6)
    read = property(lambda files: pytest.fail("weights were read first"))
    monkeypatch.setattr(BackboneFiles, "digest", read)
    check_memory(digits(), "cuda")
    with pytest.raises(ConfigError) as error:
        check_memory(digits(), "cpu")
    said = "training a client of task 'digits' takes about"
    assert str(error.value).startswith(said)
    for words in (
        ("floss-sim", "task", "check", "digits"),
        ("floss-sim", "run", "--rounds", "1", "--rank", "4", "--out", "here"),
        ("floss-plan", "--budget", "1MB", "--store", "store"),
        ("floss-plan", "--budget", "1MB", "--store", "store", "--dry-run"),
    ):
        code, _, err = commands.call(monkeypatch, capfd, *words)
        assert code == 2, words
        assert said in err.splitlines()[-1]
        assert "more than this machine's 1 MB of memory" in err
    assert not list(tmp_path.iterdir())
