"""Every public name has an example in its docstring, and the examples run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import floss_sim
import planner

NAMES = [
    *((floss_sim, name) for name in floss_sim.__all__ if name != "__version__"),
    *((planner, name) for name in planner.__all__),
]


@pytest.mark.parametrize(
    ("module", "name"), NAMES, ids=[f"{module.__name__}.{name}" for module, name in NAMES]
)
def test_the_example_of_a_public_name_runs(
    module, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    public = getattr(module, name)
    # Of a class the class' own docstring.
    finder = doctest.DocTestFinder(recurse=False)
    tests = [test for test in finder.find(public, name, globs={}) if test.examples]
    assert tests, f"{module.__name__}.{name} has no example"
    for test in tests:
        said: list[str] = []
        assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)


def test_the_public_names_are_these():
    assert sorted(floss_sim.__all__) == floss_sim.__all__ == [
        "AdapterSettings", "Deployment", "Estimate", "FlossError", "RunConfig", "RunFolder",
        "RunRecord", "SavedRun", "TimeSpread", "__version__", "backbone_model", "buffered",
        "deadline", "dense", "estimate", "first_k", "floss", "load_profile", "load_task",
        "method_from_name", "open_learner", "retime", "run", "size_only", "time_spread",
        "train", "wait_all",
    ]  # fmt: skip
    assert sorted(planner.__all__) == planner.__all__ == [
        "Request", "answer", "apply_plan", "dry_run", "export_plan", "grid", "parse_budget", "plan",
        "read_plan",
    ]  # fmt: skip
