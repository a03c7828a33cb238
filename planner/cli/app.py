"""The typer app of ``floss-plan``: its sub-commands."""

from __future__ import annotations

import typer

from planner.cli import apply, export, plan, report, show, status, store

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.callback(invoke_without_command=True, help=plan.HELP)(plan.plan)
app.command("show", help=show.HELP)(show.show)
app.command("report", help=report.HELP)(report.report)
app.command("status", help=status.HELP)(status.status)
app.command("apply", help=apply.HELP)(apply.apply)
app.command("export", help=export.HELP)(export.export)
app.add_typer(store.app, name="store")
