"""``floss-sim run``: train one configuration in lockstep with simulated time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from floss_sim.cli.common import (
    BackboneOption,
    DatasetOption,
    DeviceOption,
    FetchOption,
    JsonOption,
    NetworkOption,
    RatioOption,
    SeedOption,
    SetOption,
    TaskOption,
    given,
    network,
    parse_settings,
    progress_bar,
)
from floss_sim.config import RunConfig
from floss_sim.errors import RecordError
from floss_sim.methods import method_from_name
from floss_sim.network import NetworkProfile
from floss_sim.records import RunFolder, RunRecord
from floss_sim.run import run as run_lockstep
from floss_sim.sparsity import format_density, parse_density
from floss_sim.tasks import load_task
from floss_sim.training import KIND, export_adapter, open_learner, resolve_device, test_metrics
from floss_sim.units import format_bytes, format_duration

HELP = """Train one configuration in lockstep with simulated time.

The same command continues an interrupted run; with more --rounds it prolongs a finished one.

Examples:

  floss-sim run --rank 16 --down-density 1/4 --up-density 1/16 --rounds 50

  floss-sim run --method dense --rounds 50 --network lte --out runs/dense

  floss-sim run --rounds 20 --partition iid --upload-ratio 4 --json
"""


def run(
    task: TaskOption = "digits",
    dataset: DatasetOption = None,
    backbone: BackboneOption = None,
    fetch: FetchOption = False,
    set_: SetOption = None,
    method: Annotated[str, typer.Option(help="floss or dense.")] = "floss",
    rank: Annotated[int, typer.Option(help="LoRA rank.")] = 16,
    down_density: Annotated[str, typer.Option(help="Fraction of P sent down.")] = "1",
    up_density: Annotated[str, typer.Option(help="Fraction of an update sent up.")] = "1",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in all.")] = 200,
    network_name: NetworkOption = "paper-200-20",
    upload_ratio: RatioOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/ and the settings.")
    ] = None,
    eval_every: Annotated[int, typer.Option(min=1, help="Rounds between evaluations.")] = 10,
    device: DeviceOption = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    clients: Annotated[int | None, typer.Option(help="Clients in the fleet.")] = None,
    partition: Annotated[str | None, typer.Option(help="iid, dirichlet or column.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Concentration of dirichlet.")] = None,
    cohort: Annotated[int | None, typer.Option(help="Clients of a round.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Local epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Local batch size.")] = None,
    client_lr: Annotated[float | None, typer.Option(help="Local learning rate.")] = None,
    server_lr: Annotated[float | None, typer.Option(help="Server learning rate.")] = None,
    server_optimizer: Annotated[str | None, typer.Option(help="fedadam or fedavg.")] = None,
    json_: JsonOption = False,
) -> None:
    """Train one configuration in lockstep with simulated time."""
    chosen = method_from_name(method, parse_density(down_density), parse_density(up_density))
    loaded = load_task(
        task, dataset=dataset, backbone=backbone, fetch=fetch, changes=parse_settings(set_)
    )
    config = RunConfig.of(loaded, chosen, rank=rank, seed=seed).with_(
        fleet=given(clients=clients, law=partition, alpha=alpha),
        client=given(epochs=epochs, batch_size=batch_size, learning_rate=client_lr),
        server=given(optimizer=server_optimizer, learning_rate=server_lr, cohort=cohort),
    )
    profile = network(network_name, upload_ratio)
    place = resolve_device(device)
    path = out or _default_folder(config)
    folder = RunFolder.open(path, config.description(KIND, place, threads))
    with folder.lock():
        record = _run_with_progress(config, profile, folder, rounds, eval_every, place, threads)
        summary = _finish(config, profile, folder, record, place)
    if json_:
        print(json.dumps(summary, indent=2))
    else:
        Console().print(_summary_table(summary))
        print(f"record, plot and adapter: {path}")


def _default_folder(config: RunConfig) -> Path:
    down, up = (
        format_density(selector.density).replace("/", "_")
        for selector in (config.method.download, config.method.upload)
    )
    stem = f"{config.task.name}-{config.method.name}-r{config.rank}-d{down}-u{up}-s{config.seed}"
    return Path("runs") / stem


def _run_with_progress(
    config: RunConfig,
    profile: NetworkProfile,
    folder: RunFolder,
    rounds: int,
    eval_every: int,
    device: str,
    threads: int,
) -> RunRecord:
    console = Console(stderr=True)
    done = folder.committed().rounds
    if done:
        console.print(f"{folder.path} holds {done} rounds; continuing from there")
    with progress_bar(console, "{task.fields[note]}") as bar:
        work = bar.add_task(config.method.name, total=max(rounds, done), completed=done, note="")
        learner = open_learner(config, device, threads)
        note = ""

        def show(row: Mapping[str, Any]) -> None:
            nonlocal note
            if row["accuracy"] is not None:
                note = f", accuracy {row['accuracy']:.3f}"
            instant = f"simulated {format_duration(row['closed_at_s'])}"
            bar.update(work, completed=row["round"], note=instant + note)

        return run_lockstep(
            config,
            profile,
            learner,
            rounds=rounds,
            folder=folder,
            eval_every=eval_every,
            on_round=show,
        )


def _finish(
    config: RunConfig, profile: NetworkProfile, folder: RunFolder, record: RunRecord, device: str
) -> dict[str, Any]:
    """Write plot and adapter of a finished run; return its summary."""
    from floss_sim.plots import draw_run, save

    curve = record.evaluated()
    if not curve.num_rows:
        raise RecordError(f"{folder.path} holds no evaluated round; run more --rounds")
    last = curve.to_pylist()[-1]
    model = folder.model(last["round"])
    test = folder.tested(last["round"], lambda: test_metrics(config, model, device))
    label = describe(config)
    title = f"{config.task.name} on {profile.name}, seed {config.seed}"
    save(draw_run(curve.to_pandas(), title, label), folder.path / "accuracy.png")
    export_adapter(config, model, folder.path / "adapter")
    down = record.rounds["down_bytes"].to_pylist()[: last["round"]]
    up = record.rounds["up_bytes"].to_pylist()[: last["round"]]
    return {
        **config.settings(),
        "method": config.method.name,
        "down_density": config.method.download.density,
        "up_density": config.method.upload.density,
        "network": profile.name,
        "rounds": last["round"],
        "validation_accuracy": last["accuracy"],
        "validation_loss": last["loss"],
        "dense_accuracy": last["dense_accuracy"],
        "test_accuracy": test["accuracy"],
        "down_bytes": sum(down),
        "up_bytes": sum(up),
        "simulated_s": last["closed_at_s"],
        "fingerprint": folder.description["fingerprint"],
        "out": str(folder.path),
    }


def describe(config: RunConfig) -> str:
    """Return a run's configuration in a few words, such as ``rank 16, down 1/4, up 1/16``."""
    down, up = config.method.download.density, config.method.upload.density
    return f"rank {config.rank}, down {format_density(down)}, up {format_density(up)}"


def _summary_table(summary: Mapping[str, Any]) -> Table:
    table = Table(show_header=False)
    rounds, cohort = summary["rounds"], summary["server"]["cohort"]
    transfers = rounds * cohort
    densities = [format_density(summary[f"{way}_density"]) for way in ("down", "up")]
    for name, value in (
        ("method", f"{summary['method']}, rank {summary['rank']}"),
        ("densities", f"down {densities[0]}, up {densities[1]}"),
        ("network", summary["network"]),
        ("rounds", f"{rounds} of {cohort} clients"),
        ("validation accuracy", f"{summary['validation_accuracy']:.3f}"),
        ("test accuracy", f"{summary['test_accuracy']:.3f}"),
        ("bytes down", _both_bytes(summary["down_bytes"], transfers)),
        ("bytes up", _both_bytes(summary["up_bytes"], transfers)),
        ("simulated time", format_duration(summary["simulated_s"])),
    ):
        table.add_row(name, value)
    return table


def _both_bytes(total: int, transfers: int) -> str:
    return f"{format_bytes(total)} ({format_bytes(total / transfers)} a client and round)"
