"""``python -m floss_sim`` is the command ``floss-sim``."""

from floss_sim.cli import main

if __name__ == "__main__":
    main()
