"""Command ``floss-sim``: one module per sub-command; ``shared_options`` holds common options."""

from floss_sim.cli.entry import run_command


def main() -> None:
    """Entry point of ``floss-sim``."""
    run_command("floss-sim", "floss_sim.cli.app")
