"""Exit codes of all commands, and the one line on stderr that says why a command failed.

====  =====================================================================================
code  meaning
====  =====================================================================================
0     done
1     a fault of floss-sim: the line names a file with the traceback, to attach to a report
2     bad input, or an environment that lacks something (a file, a device, a library, memory)
3     no acceptable answer: a target was missed, nothing was learned, or no stored curve answers
4     training diverged
130   interrupted by Ctrl-C; the same command continues
====  =====================================================================================

A reader of stdout that ends early, such as ``| head``, ends a command quietly with 0. A character
that the terminal's encoding lacks is shown as another one, and so are control characters.
"""

from __future__ import annotations

import codecs
import io
import lzma
import os
import sys
import tempfile
import traceback
import unicodedata
import zlib
from contextlib import suppress
from enum import IntEnum
from typing import TextIO

import typer
from typer.exceptions import TyperException

from floss_sim.cli.entry import INTERRUPTED, INTERRUPTED_CODE
from floss_sim.errors import DivergedError, FlossError
from floss_sim.plain_text import plain_warnings, printable


class ExitCode(IntEnum):
    """Exit codes of the commands."""

    DONE = 0
    FAULT = 1
    BAD_INPUT = 2
    NO_ANSWER = 3
    DIVERGED = 4
    INTERRUPTED = INTERRUPTED_CODE


# ASCII for characters of reports that an encoding may lack.
_PLAIN = {
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{MICRO SIGN}": "u",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
}
_HANDLER = "floss-sim-plain"  # name of the error handler of stdout and stderr
_MAX_LINE = 2000  # characters of the line on stderr
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # said by torch


def guard(app: typer.Typer, name: str) -> int:
    """Run a typer app and return its exit code; an error or a warning is one line on stderr."""
    _allow_any_character()
    with plain_warnings():
        code, message = _call(app)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
    except OSError as error:
        _discard(sys.stdout)
        code, message = (code, message) if message else failure(error)
    if message:
        _print_line(f"{name}: {message}")
    return code


def _call(app: typer.Typer) -> tuple[int, str]:
    """Return the exit code of an app, and the message of its error; empty if there is none."""
    try:
        result = app(standalone_mode=False)
    except BaseException as error:
        return failure(error)
    code = result if isinstance(result, int) else ExitCode.DONE
    return code, INTERRUPTED if code == ExitCode.INTERRUPTED else ""  # typer swallows Ctrl-C


def _print_line(text: str) -> None:
    line = printable(" ".join(text.split()))
    try:
        print(line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}...", file=sys.stderr)
        sys.stderr.flush()
    except OSError:  # nobody reads stderr
        _discard(sys.stderr)


def _allow_any_character() -> None:
    """Let stdout and stderr replace a character that their encoding lacks."""
    codecs.register_error(_HANDLER, _plain_text)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _plain_text(error: UnicodeError) -> tuple[str, int]:
    """Return ASCII for the characters that cannot be encoded, as an error handler of codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character) or _closest(character) for character in lacking), error.end


def _closest(character: str) -> str:
    parts = unicodedata.normalize("NFKD", character)
    return parts.encode("ascii", "ignore").decode("ascii") or "?"


def _discard(stream: TextIO) -> None:
    """Send what a broken stream still holds to the null device, so that exiting is quiet."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def failure(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the message of an error that ended a command.

    Raises:
        SystemExit: The error itself, if it asks to exit.
    """
    if isinstance(error, BrokenPipeError) or _is_rich_exit(error):
        return ExitCode.DONE, ""
    match error:
        case SystemExit():
            raise error
        case KeyboardInterrupt() | typer.Abort():
            return ExitCode.INTERRUPTED, INTERRUPTED
        case TyperException():
            return ExitCode.BAD_INPUT, error.format_message()
        case DivergedError():
            return ExitCode.DIVERGED, str(error)
        case FlossError():
            return ExitCode.BAD_INPUT, str(error)
        case OSError():
            said = error.strerror or str(error) or type(error).__name__
            return ExitCode.BAD_INPUT, f"{error.filename or 'file system'}: {said}"
    said = _input_problem(error)
    return (ExitCode.BAD_INPUT, said) if said else (ExitCode.FAULT, _fault(error))


def _is_rich_exit(error: BaseException) -> bool:
    """Return whether rich exits because nobody reads stdout any more."""
    return isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)


def _input_problem(error: BaseException) -> str:
    """Return the message of an error that only an input can cause; empty for other errors."""
    match error:
        case MemoryError():
            return "not enough memory"
        case RecursionError():
            return "an input is nested too deeply"
        case OverflowError():
            return f"a number is too large: {error}"
        case UnicodeError():
            return f"a text cannot be read or written: {error}"
        case lzma.LZMAError() | zlib.error():
            return f"a compressed file is damaged: {error}"
        case RuntimeError() if any(said in str(error).lower() for said in _NO_MEMORY):
            return "not enough memory"
    return ""


def _fault(error: BaseException) -> str:
    """Write the traceback into a file; return the line that names it."""
    said = f"a fault of floss-sim ({type(error).__name__}: {error}); please report it"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="floss-sim-", suffix=".traceback.txt", delete=False, encoding="utf-8",
            errors="backslashreplace",
        ) as file:  # fmt: skip
            file.writelines(traceback.format_exception(error))
    except OSError:
        return f"{said}; the traceback could not be written"
    return f"{said} and attach {file.name}"
