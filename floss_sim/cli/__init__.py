"""Command ``floss-sim``: one module per sub-command; ``shared_options`` holds common options."""

from __future__ import annotations

import sys

from floss_sim.cli import account, compare, profiles, replay, run, task, wire
from floss_sim.cli.console import command_app
from floss_sim.cli.exit_codes import guard

app = command_app("Simulate federated LoRA fine-tuning: encoded messages, simulated seconds.")
app.command("run", help=run.HELP)(run.run)
app.command("compare", help=compare.HELP)(compare.compare)
app.command("replay", help=replay.HELP)(replay.replay)
app.command("account", help=account.HELP)(account.show_account)
app.add_typer(profiles.app, name="profiles")
app.add_typer(task.app, name="task")
app.add_typer(wire.app, name="wire")


def main() -> None:
    """Entry point of ``floss-sim``."""
    sys.exit(guard(app, "floss-sim"))
