"""The typer app of ``floss-sim``: its sub-commands."""

from __future__ import annotations

from typing import ClassVar

from floss_sim.cli.console import command_app
from floss_sim.cli.lazy_commands import LazyCommands

HELP = "Simulate federated LoRA fine-tuning: encoded messages, simulated seconds."


class Commands(LazyCommands):
    """The sub-commands of ``floss-sim``."""

    places: ClassVar = {
        "run": (
            "floss_sim.cli.run:run",
            "Train one configuration in lockstep with simulated time.",
        ),
        "compare": (
            "floss_sim.cli.compare:compare",
            "Compare recorded runs: one table, one picture.",
        ),
        "replay": (
            "floss_sim.cli.replay:replay",
            "Re-time recorded runs on other networks, without training: one table, one picture.",
        ),
        "report": (
            "floss_sim.cli.report:report",
            "Write the page of recorded runs: one HTML file with sliders.",
        ),
        "account": (
            "floss_sim.cli.account:show_account",
            "Show the costs of a recorded run: seconds, bytes, energy and money.",
        ),
        "estimate": (
            "floss_sim.cli.estimate:estimate",
            "Estimate bytes, seconds and memory of a federated run, before anything is trained.",
        ),
        "check-app": (
            "floss_sim.cli.check_app:check_app",
            "Show bytes and time of a Flower app, from its pyproject.toml; nothing of it is run.",
        ),
        "export": (
            "floss_sim.cli.export:export",
            "Write a recorded run as an app of a deployment framework.",
        ),
        "profiles": ("floss_sim.cli.profiles:app", "Network profiles."),
        "device": ("floss_sim.cli.device:app", "Devices of clients."),
        "task": ("floss_sim.cli.task:app", "Check tasks."),
        "wire": (
            "floss_sim.cli.wire:app",
            "Show sizes of messages, and the contents of one message.",
        ),
    }


app = command_app(HELP, Commands)
