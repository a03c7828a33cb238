"""What an engine's text must be, and what is refused in one line before anything is sent."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from floss_sim.errors import ConfigError
from planner.cluster.engines import open_engine
from planner.cluster.engines.dask_engine import check_versions

SOUND = {"processes": "executor = 'processes'\nworkers = 2\n"}


def refusal(spec: str, workers: int | None = None) -> str:
    with pytest.raises(ConfigError) as caught, open_engine(spec, workers):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lsf", "unknown executor 'lsf'; valid: local, dask:tcp://HOST:PORT, ray:auto"),
        ("ray:", "unknown executor"),
        ("slurm:", "unknown executor"),
        ("slurm:queue=gpu", "'queue=gpu'; valid: key=value with account, constraint"),
        ("slurm:partition", "'partition'; valid: key=value"),
        ("slurm:time=1h", "time is a whole number from 1, not '1h'"),
        ("slurm:cpus=1,cpus=2", "'cpus=2'; valid: key=value"),
        ("slurm:local=yes", "local is true or false"),
        ("slurm:local=true,gpus=1", "local=true has no GPUs"),
        ("slurm:local=true", "needs --workers: the number of jobs"),
    ],
)
def test_a_text_that_names_no_engine(spec: str, said: str):
    assert said in refusal(spec)


@pytest.mark.parametrize(
    ("library", "spec", "extra"),
    [
        ("distributed", "dask:tcp://127.0.0.1:1", "dask"),
        ("ray", "ray:auto", "ray"),
        ("submitit", "slurm:local=true", "slurm"),
        ("parsl", "parsl:{file}", "parsl"),
    ],
)
def test_a_library_that_is_missing(
    library: str, spec: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, library, None)
    file = tmp_path / "parsl.toml"
    file.write_text(SOUND["processes"])
    said = refusal(spec.format(file=file), workers=1)
    assert said.endswith(f"which is not installed: pip install 'floss-sim[{extra}]'")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("executor = 'slurm'\nworkers = 1", "executor"),
        ("executor = 'threads'\nworkers = 0", "workers"),
        ("executor = 'threads'\nworkers = 1\nrun = 'rm'", "run"),
        ("executor = 'threads'\nworkers = 2\ngpus = 2", "threads share their devices"),
        ("executor = 'processes'\nworkers = 3\ngpus = 2", "3 workers need as many GPUs, not 2"),
    ],
)
def test_a_file_of_parsl_is_data(content: str, said: str, tmp_path: Path):
    file = tmp_path / "parsl.toml"
    file.write_text(content)
    assert said in refusal(f"parsl:{file}")


def test_fewer_workers_than_asked(tmp_path: Path):
    file = tmp_path / "parsl.toml"
    file.write_text(SOUND["processes"])
    assert "has 2 workers, fewer than the 3 asked for" in refusal(f"parsl:{file}", workers=3)


@pytest.mark.parametrize("library", ["distributed", "ray"])
def test_an_address_that_nobody_answers(library: str):
    pytest.importorskip(library, reason=f"needs {library}")
    with socket.socket() as held:  # bound, and not listening
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        spec = f"dask:tcp://{address}" if library == "distributed" else f"ray:{address}"
        assert f"answers at {address}" in refusal(spec)


def test_an_address_that_accepts_and_is_silent(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("distributed", reason="needs distributed")
    monkeypatch.setattr("planner.cluster.engines.dask_engine.ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refusal(f"dask:tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert "no Dask scheduler answers within" in said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", "importing own_code_of_a_test fails: ZeroDivisionError"),
        ("def f(:", "importing own_code_of_a_test fails: SyntaxError"),
        ("def f(needed): pass", "f() fails: TypeError"),
        ("def f(): return 3", "the function returned int, which is no concurrent.futures.Executor"),
    ],
)
def test_code_of_the_user_that_fails(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own_code_of_a_test.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("own_code_of_a_test", None)
    assert said in refusal("own_code_of_a_test:f")


def versions(**changed: str) -> dict:
    ours = {"python": "3.12.4.final.0", "distributed": "2026.8.0", "dask": "2026.8.0",
            "cloudpickle": "3.1.2"}  # fmt: skip
    found = {name: {"packages": dict(ours)} for name in ("client", "scheduler", "worker")}
    for place, text in changed.items():
        package, version = text.split()
        found[place]["packages"][package] = version
    return {**found, "workers": {"tcp://127.0.0.1:1": found["worker"]}}


def test_versions_of_dask_are_both_named():
    check_versions("dask:tcp://h:1", versions(worker="python 3.12.1.final.0"))  # of one minor
    for changed, said in [
        ({"worker": "python 3.11.4.final.0"}, "worker tcp://127.0.0.1:1 has python 3.11, this"
         " process 3.12"),
        ({"scheduler": "distributed 2025.1.0"}, "the scheduler has distributed 2025.1.0, this"
         " process 2026.8.0"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            check_versions("dask:tcp://h:1", versions(**changed))
