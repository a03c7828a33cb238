"""Start of a command: its modules are imported under the same guard as it runs."""

from __future__ import annotations

import os
import sys
from importlib import import_module

INTERRUPTED = "interrupted; the same command goes on from here"
INTERRUPTED_CODE = 130


def run_command(name: str, module: str) -> None:
    """Import a command, run it, and exit with its code.

    Importing takes longer than many answers, so Ctrl-C is expected in it too.

    Args:
        name: Name of the command, for messages.
        module: Module that defines the typer app ``app``.

    Raises:
        SystemExit: Always; see ``exit_codes`` for the codes.
    """
    _open_closed_streams()
    try:
        import_module("floss_sim.malloc").keep_freed_memory()
        guard = import_module("floss_sim.cli.exit_codes").guard
        sys.exit(guard(import_module(module).app, name))
    except KeyboardInterrupt:
        print(f"{name}: {INTERRUPTED}", file=sys.stderr)
        sys.exit(INTERRUPTED_CODE)


def _open_closed_streams() -> None:
    """Open the null device for each standard stream that the caller has closed (``>&-``).

    A print or a flush does not fail then, and no file that is opened later takes the stream's
    number, under which libraries and child processes would write into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(null, True)
            setattr(sys, name, os.fdopen(null, mode, encoding="utf-8"))
