"""Exit codes: one table for all commands."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import typer
from commands import call

from floss_sim.cli.console import note, plain_table, print_json, print_text, show_whole
from floss_sim.cli.exit_codes import ExitCode, guard
from floss_sim.errors import (
    BudgetError,
    ConfigError,
    NonFiniteUpdateError,
    PayloadError,
    RecordLockedError,
)
from floss_sim.plain_text import printable


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
    assert printable(err) == err
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
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ExitCode.BAD_INPUT),
        (RecursionError("maximum recursion depth exceeded"), ExitCode.BAD_INPUT),
        (OverflowError("int too large to convert to float"), ExitCode.BAD_INPUT),
        (UnicodeEncodeError("ascii", "\u2603", 0, 1, "ordinal not in range"), ExitCode.BAD_INPUT),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), ExitCode.BAD_INPUT),
        (lzma.LZMAError("Corrupt input data"), ExitCode.BAD_INPUT),
        (zlib.error("Error -3"), ExitCode.BAD_INPUT),
        (ConfigError("x\ny" * 9999), ExitCode.BAD_INPUT),
        (ConfigError("\udcff \N{SNOWMAN}"), ExitCode.BAD_INPUT),
        (ConfigError("a\x1b[31m\x07\x9b2J\u202eb"), ExitCode.BAD_INPUT),
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
    run = ["floss-sim", "run", "--rounds", "4", "--rank", "1", "--server-lr", "1e30"]
    code, _, err = call(monkeypatch, capfd, *run, "--server-optimizer", "fedavg")
    assert (code, err.count("finite")) == (ExitCode.DIVERGED, 1)
    plan = [
        "floss-plan", "--no-report",
        "--budget", "3-dense-rounds", "--ranks", "1", "--down-densities", "1",
        "--up-densities", "1", "--max-rounds", "5", "--workers", "1", "--json",
    ]  # fmt: skip
    code, out, _ = call(monkeypatch, capfd, *plan, "--effort", "1", "--target", "1")
    assert code == ExitCode.NO_ANSWER
    assert json.loads(out)["reached"] is False
    untrained = [*plan, "--effort", "0", "--seed", "9"]
    code, out, _ = call(monkeypatch, capfd, *untrained, "--prior", "none")
    assert code == ExitCode.NO_ANSWER
    assert {answer["kind"] for answer in json.loads(out)["answers"]} == {"unknown"}
    code, out, _ = call(monkeypatch, capfd, *untrained)
    assert code == 0
    told = json.loads(out)
    assert {(a["kind"], a["measured"]) for a in told["answers"]} == {("forecast", 0)}
    assert all("digits" not in a["from_tasks"] for a in told["answers"])
    assert told["answers"][0]["from_tasks"]


def test_a_fault_is_one_line_where_nothing_can_be_written(capfd, tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "none"))
        code, err = code_of(ZeroDivisionError("by zero"), capfd)
    assert code == ExitCode.FAULT
    assert "could not be written" in err


PRINTS = r"""
import sys, typer
from floss_sim.cli.exit_codes import guard
app = typer.Typer()
@app.command()
def tell(rich: bool = False, lines: int = 1):
    if rich:
        from rich.console import Console
        from rich.table import Table
        table = Table("\u00b1 5 \u00b5s \u2192 \u2603 \u00e9 \udcff")
        for _ in range(lines):
            table.add_row("x" * 50)
        Console().print(table)
        return
    for _ in range(lines):
        print("\u00b1 5 \u00b5s \u2192 \u2603 \u00e9 \udcff")
sys.exit(guard(app, "tell"))
"""


@pytest.mark.parametrize("rich", [[], ["--rich"]])
def test_characters_that_a_terminal_lacks_are_other_ones(rich: list[str]):
    done = subprocess.run(
        [sys.executable, "-c", PRINTS, *rich],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "COLUMNS": "80"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"+- 5 us -> ? e ?" in done.stdout


def test_control_characters_of_a_text_are_shown_as_other_ones(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    table = plain_table("a\x1b[31m", "b", title="t\x07")
    table.add_row("c\x9b2J\u202e", "d")
    show_whole(table)
    note("e\x1b]0;f\x07")
    print_text("g\x1b[1m\nh")
    out, err = capfd.readouterr()
    assert err == ""
    assert printable(out) == out
    for said in ("a?[31m", "t?", "c?2J?", "e?]0;f?", "g?[1m\nh"):
        assert said in out


WARNS = r"""
import warnings, typer
from floss_sim.cli.exit_codes import guard
app = typer.Typer()
@app.command()
def warn():
    warnings.warn("runs train\none at a time\x1b[31m", RuntimeWarning)
before = warnings.formatwarning
guard(app, "warn")
assert warnings.formatwarning is before
"""


def test_a_warning_of_a_command_is_one_line():
    done = subprocess.run([sys.executable, "-c", WARNS], capture_output=True, check=True)
    assert done.stderr == b"warning: runs train one at a time [31m\n"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_holds_no_number_that_is_not_finite(capfd, value: float):
    print_json({"a": [{"b": 1.5}]})
    assert json.loads(capfd.readouterr().out) == {"a": [{"b": 1.5}]}
    with pytest.raises(ConfigError, match=rf"^a\.1\.b is {value}, which is no number in JSON$"):
        print_json({"a": [0, {"b": value}]})
    assert capfd.readouterr().out == ""


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("rich", ["", "--rich"])
def test_a_reader_that_ends_early_is_no_error(rich: str, tmp_path: Path):
    (tmp_path / "tell.py").write_text(PRINTS)
    for lines in (1, 4_000):  # shorter and longer than the pipe's buffer
        line = f"{{ '{sys.executable}' tell.py {rich} --lines {lines}; echo $? >code; }} | true"
        done = subprocess.run(
            ["/bin/bash", "-c", f"sleep 0.2; {line}; sleep 0.3"], cwd=tmp_path, capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"}, check=False,
        )  # fmt: skip
        while not (tmp_path / "code").read_text():
            pass
        assert (tmp_path / "code").read_text() == "0\n"
        assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", PRINTS], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == ExitCode.BAD_INPUT
    assert done.stderr == b"tell: file system: No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("command", ["floss_sim", "planner"])
@pytest.mark.parametrize(
    ("words", "closed", "code", "lines"),
    [
        ("--help", ">&-", ExitCode.DONE, 0),
        ("nosuch", ">&-", ExitCode.BAD_INPUT, 1),
        ("nosuch", "2>&-", ExitCode.BAD_INPUT, 0),
        ("nosuch", "<&- >&- 2>&-", ExitCode.BAD_INPUT, 0),
    ],
)
def test_a_closed_stream_changes_neither_the_exit_code_nor_the_other_streams(
    command: str, words: str, closed: str, code: ExitCode, lines: int
):
    done = subprocess.run(
        ["/bin/bash", "-c", f"'{sys.executable}' -m {command} {words} {closed}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", lines)


@pytest.mark.parametrize("module", ["typer", "numpy", "pydantic", "floss_sim.simulator"])
@pytest.mark.parametrize("command", ["floss_sim", "planner"])
def test_ctrl_c_while_a_command_is_imported_is_one_line(command: str, module: str):
    """SIGINT comes from an import hook, as soon as the module is asked for."""
    interrupt = (
        "import os, runpy, signal, sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Hook())\n"
        f"sys.argv[1:] = {['run', '--help'] if command == 'floss_sim' else []}\n"
        f"runpy.run_module({command!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", interrupt], capture_output=True, text=True)
    assert done.returncode == ExitCode.INTERRUPTED
    assert done.stderr.splitlines() == [
        f"{'floss-sim' if command == 'floss_sim' else 'floss-plan'}: "
        "interrupted; the same command goes on from here"
    ]
