"""A small run, exported as an app whose server and nodes run in this process."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flower_stand_ins import Context, Grid, loaded_app

from floss_sim import RunConfig, load_task
from floss_sim.deployment import Reply, export_app
from floss_sim.methods import Method
from floss_sim.protocol import Upload

CLIENTS, COHORT, ROUNDS = 4, 3, 3


def small_config(method: Method, seed: int = 0, law: str = "iid") -> RunConfig:
    changes = {
        "partition.clients": CLIENTS, "server.cohort": COHORT, "partition.law": law,
        "data.limit": 100, "data.validation": 60, "data.test": 60,
    }  # fmt: skip
    return RunConfig.of(load_task("digits", changes=changes), method, rank=2, seed=seed)


def reply_of(upload: Upload) -> Reply:
    """Return a node's reply as the server reads it."""
    return {"payload": upload.blob, "examples": upload.examples}


def read_config(app: Path) -> dict[str, Any]:
    """Return the config of an app, as Flower hands it to the app."""
    text = (app / "pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)["tool"]["flwr"]["app"]["config"]
    return found


def run_exported(
    config: RunConfig,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    nodes: dict[int, dict[str, Any]] | None = None,
    noise: str = "seed",
    writes: bool = False,
    make_grid: Callable[..., Grid] = Grid,
    **options: Any,
) -> Grid:
    """Export a run to ``folder/app``, and run the app there to ``folder/record``.

    Plot and adapter of the record are slow, and written only where ``writes`` says so.
    """
    monkeypatch.setattr("floss_sim.deployment.export.write_wheel", lambda place: place / "no.whl")
    for slow in () if writes else ("write_plot", "write_model"):
        monkeypatch.setattr(f"floss_sim.deployment.deployed_results.{slow}", lambda *given: None)
    app = export_app(config, folder / "app", task="digits", rounds=ROUNDS, eval_every=1)
    keys = {**read_config(app), "wait-for-nodes-s": 0.0, "record-path": str(folder / "record"),
            "noise": noise}  # fmt: skip
    # Node ids are not in the order of partitions.
    given = nodes or {900 - 7 * i: {"partition-id": i} for i in range(CLIENTS)}
    contexts = {node: Context(stated, keys) for node, stated in given.items()}
    with loaded_app(app, monkeypatch) as (server_app, client_app):
        grid = make_grid(client_app.app, contexts, **options)
        server_app.app.functions["main"](grid, Context(run_config=keys))
    return grid
