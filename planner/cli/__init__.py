"""The command ``floss-plan``: one module a sub-command; shared options in ``shared_options``."""

from __future__ import annotations

import sys

import typer

from floss_sim.cli.exit_codes import guard
from planner.cli import apply, plan, show, store

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.callback(invoke_without_command=True, help=plan.HELP)(plan.plan)
app.command("show", help=show.HELP)(show.show)
app.command("apply", help=apply.HELP)(apply.apply)
app.add_typer(store.app, name="store")


def main() -> None:
    """Entry point of ``floss-plan``."""
    sys.exit(guard(app, "floss-plan"))
