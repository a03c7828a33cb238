"""Exit codes: one table for all commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from commands import call

from floss_sim.cli.exit_codes import ExitCode, guard
from floss_sim.errors import (
    BudgetError,
    ConfigError,
    NonFiniteUpdateError,
    PayloadError,
    RecordLockedError,
)


def code_of(error: BaseException, capfd: pytest.CaptureFixture) -> tuple[int, str]:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["fail"])
        code = guard(app, "fail")
    err = capfd.readouterr().err
    assert err.startswith("fail: ")
    assert err.count("\n") == 1
    return code, err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), ExitCode.BAD_INPUT),
        (BudgetError("x"), ExitCode.BAD_INPUT),
        (RecordLockedError("x"), ExitCode.BAD_INPUT),
        (PayloadError("x"), ExitCode.BAD_INPUT),
        (FileNotFoundError(2, "No such file", "data.csv"), ExitCode.BAD_INPUT),
        (OSError("disk"), ExitCode.BAD_INPUT),
        (MemoryError(), ExitCode.BAD_INPUT),
        (NonFiniteUpdateError("x"), ExitCode.DIVERGED),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_an_error_has_one_line_and_its_code(error: BaseException, code: ExitCode, capfd):
    assert code_of(error, capfd)[0] == code


def test_a_fault_of_ours_names_a_file_with_the_traceback(capfd):
    code, err = code_of(ZeroDivisionError("by zero"), capfd)
    assert code == ExitCode.FAULT
    assert "ZeroDivisionError: by zero" in err
    file = Path(err.rsplit(" ", 1)[1].strip())
    assert "raise error" in file.read_text(encoding="utf-8")
    file.unlink()


def test_divergence_and_a_missed_target_have_codes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    monkeypatch.chdir(tmp_path)
    run = ["floss-sim", "run", "--rounds", "4", "--rank", "1", "--server-lr", "3e38"]
    code, _, err = call(monkeypatch, capfd, *run, "--server-optimizer", "fedavg")
    assert (code, err.count("finite")) == (ExitCode.DIVERGED, 1)
    plan = [
        "floss-plan", "--budget", "3-dense-rounds", "--ranks", "1", "--down-densities", "1",
        "--up-densities", "1", "--max-rounds", "5", "--workers", "1", "--json",
    ]  # fmt: skip
    code, out, _ = call(monkeypatch, capfd, *plan, "--effort", "1", "--target", "1")
    assert code == ExitCode.NO_ANSWER
    assert json.loads(out)["reached"] is False
    code, out, _ = call(monkeypatch, capfd, *plan, "--effort", "0", "--seed", "9")
    assert code == ExitCode.NO_ANSWER
    assert {answer["kind"] for answer in json.loads(out)["answers"]} == {"unknown"}
