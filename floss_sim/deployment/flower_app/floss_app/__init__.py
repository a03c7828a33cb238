"""A Flower app that trains the run of ``run.json`` with floss-sim."""
