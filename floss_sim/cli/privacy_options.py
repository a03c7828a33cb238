"""Options of differential privacy, which combine with the options of every method."""

from __future__ import annotations

from typing import Annotated

import typer

from floss_sim.methods.differential_privacy import DEFAULT_DELTA

DpClipOption = Annotated[
    float | None,
    typer.Option(help="Differential privacy: clip updates, with their heads, to this L2 norm."),
]
DpNoiseOption = Annotated[
    float | None,
    typer.Option(help="Noise multiplier: standard deviation of the noise, in clips."),
]
DpEpsilonOption = Annotated[
    float | None,
    typer.Option(help="In place of --dp-noise: the epsilon to reach after all rounds."),
]
DpDeltaOption = Annotated[
    float | None, typer.Option(help=f"Delta of epsilon; default {DEFAULT_DELTA:g}.")
]
DpTrustOption = Annotated[
    str | None,
    typer.Option(
        help="Who adds the noise: sum (default): the clients, to a sum that is all the server "
        "sees; server: the server, which is trusted; local: each client, to its own upload."
    ),
]
