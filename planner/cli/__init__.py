"""The command ``floss-plan``: one module a sub-command; shared options in ``shared_options``."""

from floss_sim.cli.entry import run_command


def main() -> None:
    """Entry point of ``floss-plan``."""
    run_command("floss-plan", "planner.cli.app")
