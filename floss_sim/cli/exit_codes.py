"""Exit codes of all commands, and the one line on stderr that says why a command failed.

====  =====================================================================================
code  meaning
====  =====================================================================================
0     done
1     a fault of floss-sim: the line names a file with the traceback, to attach to a report
2     bad input, or an environment that lacks something (a file, a device, a library, memory)
3     no acceptable answer: a target was missed, or no stored curve answers; the JSON says which
4     training diverged
130   interrupted by Ctrl-C; the same command continues
====  =====================================================================================
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from enum import IntEnum

import typer
from typer.exceptions import TyperException

from floss_sim.errors import DivergedError, FlossError


class ExitCode(IntEnum):
    """Exit codes of the commands."""

    DONE = 0
    FAULT = 1
    BAD_INPUT = 2
    NO_ANSWER = 3
    DIVERGED = 4
    INTERRUPTED = 130


def guard(app: typer.Typer, name: str) -> int:
    """Run a typer app and return its exit code; an error is one line on stderr."""
    try:
        result = app(standalone_mode=False)
    except BaseException as error:
        code, message = failure(error)
    else:
        code = result if isinstance(result, int) else ExitCode.DONE
        message = _INTERRUPTED if code == ExitCode.INTERRUPTED else ""  # typer swallows Ctrl-C
    if message:
        print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    return code


_INTERRUPTED = "interrupted; the same command goes on from here"


def failure(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the message of an error that ended a command.

    Raises:
        SystemExit: The error itself, if it asks to exit.
    """
    match error:
        case SystemExit():
            raise error
        case KeyboardInterrupt() | typer.Abort():
            return ExitCode.INTERRUPTED, _INTERRUPTED
        case TyperException():
            return ExitCode.BAD_INPUT, error.format_message()
        case DivergedError():
            return ExitCode.DIVERGED, str(error)
        case FlossError():
            return ExitCode.BAD_INPUT, str(error)
        case MemoryError():
            return ExitCode.BAD_INPUT, "not enough memory"
        case OSError():
            said = error.strerror or str(error) or type(error).__name__
            return ExitCode.BAD_INPUT, f"{error.filename or 'file system'}: {said}"
    return ExitCode.FAULT, _fault(error)


def _fault(error: BaseException) -> str:
    """Write the traceback into a file; return the line that names it."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="floss-sim-", suffix=".traceback.txt", delete=False, encoding="utf-8"
    ) as file:
        file.writelines(traceback.format_exception(error))
    return (
        f"a fault of floss-sim ({type(error).__name__}: {error}); please report it and attach "
        f"{file.name}"
    )
