"""``floss-sim run``: train one configuration in lockstep with simulated time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from floss_sim.analysis.privacy_of_config import with_privacy_of_run
from floss_sim.cli.console import PlainConsole, alternatives, print_json, print_text
from floss_sim.cli.method_options import takes_method_options
from floss_sim.cli.progress_log import late_lines
from floss_sim.cli.run_progress import train_with_progress
from floss_sim.cli.run_summary import summary_of, summary_table
from floss_sim.cli.shared_options import (
    BackboneDownloadOption,
    BackboneOption,
    DatasetOption,
    DeviceOption,
    DoraOption,
    FetchOption,
    FrameworkOption,
    JsonOption,
    NetworkOption,
    RatioOption,
    SeedOption,
    SetOption,
    TaskOption,
    ThreadsOption,
    given_settings,
    network,
    parse_settings,
    with_backbone,
)
from floss_sim.errors import ConfigError
from floss_sim.methods.method_options import method_of_options
from floss_sim.methods.privacy_options import with_privacy
from floss_sim.runs.config import RunConfig
from floss_sim.simulator import parse_policy
from floss_sim.tasks import load_task
from floss_sim.training import LEARNERS
from floss_sim.vectors.layout import ADAPTER_LAYOUTS

HELP = """Train one configuration in lockstep with simulated time.

The same command continues an interrupted run; with more --rounds it prolongs a finished one.

Methods: dense, floss, floss-tiers, sparse-adapter, adapter-lth, hetlora, rolora, fslora,
lora-a2, fedsrd, ecolora, fedsa-lora, feddpa, freezing, flexlora, lora-fair, fedsvd, flora,
fedex-lora, fed-sb, ravan, fedkseed, ffa, bitfit, full, head.

Examples:

  floss-sim run --rank 16 --down-density 1/4 --up-density 1/16 --rounds 50

  floss-sim run --method dense --rounds 50 --network lte --out runs/dense

  floss-sim run --method sparse-adapter --density 1/4 --scope tensor --rounds 50

  floss-sim run --up-density 1/16 --up-values int8 --error-feedback --rounds 50

  floss-sim run --method ffa --dp-clip 0.1 --dp-epsilon 8 --rounds 50

  floss-sim run --rounds 20 --partition iid --upload-ratio 4 --json

  floss-sim run --network lte --cohort 8 --policy first-k:5 --rounds 50

  floss-sim run --network lte --policy deadline:2s:3 --late finish --rounds 50

  floss-sim run --network lte --policy buffered:3 --rounds 50
"""


@takes_method_options
def run(
    *,
    task: TaskOption = "digits",
    dataset: DatasetOption = None,
    backbone: BackboneOption = None,
    fetch: FetchOption = False,
    set_: SetOption = None,
    method: Annotated[str, typer.Option(help="One of the methods above.")] = "floss",
    rank: Annotated[int | None, typer.Option(help="LoRA rank; default 16.")] = None,
    dora: DoraOption = False,
    method_options: dict[str, Any],
    privacy_options: dict[str, Any],
    rounds: Annotated[int, typer.Option(min=1, max=10**7, help="Rounds in all.")] = 200,
    network_name: NetworkOption = "paper-200-20",
    upload_ratio: RatioOption = None,
    framework: FrameworkOption = None,
    include_backbone: BackboneDownloadOption = False,
    policy: Annotated[
        str,
        typer.Option(
            help="When a round closes: wait-all, first-k:K, deadline:SECONDS[:MINIMUM], buffered:K."
        ),
    ] = "wait-all",
    late: Annotated[
        str | None,
        typer.Option(
            help="What late clients do: cancel (stop at once, the default) or finish "
            "(complete the upload, which is ignored)."
        ),
    ] = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/ and the settings.")
    ] = None,
    eval_every: Annotated[int, typer.Option(min=1, help="Rounds between evaluations.")] = 10,
    own_accuracy: Annotated[
        bool,
        typer.Option(
            "--own-accuracy",
            help="Also measure each client's model on data like its own (always with fedsa-lora, "
            "feddpa).",
        ),
    ] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    learner: Annotated[
        str,
        typer.Option(
            help=f"Train the clients of a round together or in turn: {alternatives(LEARNERS)}."
        ),
    ] = "bank",
    clients: Annotated[int | None, typer.Option(help="Clients in the fleet.")] = None,
    partition: Annotated[str | None, typer.Option(help="iid, dirichlet or column.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Concentration of dirichlet.")] = None,
    cohort: Annotated[int | None, typer.Option(help="Clients of a round.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Local epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Local batch size.")] = None,
    client_lr: Annotated[float | None, typer.Option(help="Local learning rate.")] = None,
    server_lr: Annotated[float | None, typer.Option(help="Server learning rate.")] = None,
    server_optimizer: Annotated[
        str | None,
        typer.Option(help="fedadam, fedadamw, fedavg, fedavgm, fedyogi or fedadagrad."),
    ] = None,
    weighting: Annotated[
        str | None, typer.Option(help="Weight of each update: uniform, or by its local examples.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Train one configuration in lockstep with simulated time."""
    chosen = with_privacy(method_of_options(method, method_options), privacy_options)
    if rank is not None and chosen.trains not in ADAPTER_LAYOUTS:
        raise ConfigError(f"method {method!r} has no adapters; --rank does not apply")
    if dora and chosen.trains not in ADAPTER_LAYOUTS:
        raise ConfigError(f"method {method!r} has no adapters; --dora does not apply")
    if chosen.server_averages and (server_optimizer or server_lr is not None):
        raise ConfigError(
            f"the server of method {method!r} averages; --server-optimizer and --server-lr do not "
            "apply"
        )
    changes = parse_settings(set_) | ({"lora.dora": True} if dora else {})
    with late_lines("loading the task"):
        loaded = load_task(task, dataset=dataset, backbone=backbone, fetch=fetch, changes=changes)
    config = RunConfig.of(loaded, chosen, rank=16 if rank is None else rank, seed=seed).with_(
        fleet=given_settings(clients=clients, law=partition, alpha=alpha),
        client=given_settings(epochs=epochs, batch_size=batch_size, learning_rate=client_lr),
        server=given_settings(
            optimizer=server_optimizer, learning_rate=server_lr, cohort=cohort, weighting=weighting
        ),
    )
    chosen_network = network(network_name, upload_ratio, framework=framework)
    profile = with_backbone(chosen_network, loaded, include_backbone)
    closing = parse_policy(policy, late)
    config = with_privacy_of_run(
        config, privacy_options.get("dp_epsilon"), rounds, profile, closing
    )
    saved = train_with_progress(
        config,
        profile,
        rounds=rounds,
        out=out,
        policy=closing,
        eval_every=eval_every,
        device=device,
        threads=threads,
        learner=learner,
        own_accuracy=own_accuracy,
    )
    if json_:
        print_json(summary_of(saved))
    else:
        PlainConsole().print(summary_table(summary_of(saved), saved))
        print_text(f"record, plot and {saved.adapter.name}: {saved.folder.path}")
