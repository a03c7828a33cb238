"""The typer app of ``floss-sim``: its sub-commands."""

from __future__ import annotations

from floss_sim.cli import account, compare, profiles, replay, run, task, wire
from floss_sim.cli.console import command_app

app = command_app("Simulate federated LoRA fine-tuning: encoded messages, simulated seconds.")
app.command("run", help=run.HELP)(run.run)
app.command("compare", help=compare.HELP)(compare.compare)
app.command("replay", help=replay.HELP)(replay.replay)
app.command("account", help=account.HELP)(account.show_account)
app.add_typer(profiles.app, name="profiles")
app.add_typer(task.app, name="task")
app.add_typer(wire.app, name="wire")
