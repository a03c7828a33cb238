"""``floss-sim run``: train one configuration in lockstep with simulated time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from floss_sim.cli.console import PlainConsole, alternatives, print_json, print_text
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
    check_value_code,
    given_settings,
    network,
    parse_settings,
    with_backbone,
)
from floss_sim.errors import ConfigError, DensityError
from floss_sim.methods import method_from_name
from floss_sim.runs.config import RunConfig
from floss_sim.simulator import parse_policy
from floss_sim.tasks import load_task
from floss_sim.training import LEARNERS
from floss_sim.vectors.density import parse_density
from floss_sim.vectors.layout import ADAPTER_LAYOUTS
from floss_sim.wire import VALUE_CODES

HELP = """Train one configuration in lockstep with simulated time.

The same command continues an interrupted run; with more --rounds it prolongs a finished one.

Methods: dense, floss, floss-tiers, sparse-adapter, adapter-lth, hetlora, rolora, fslora,
lora-a2, fedsrd, ecolora, fedsa-lora, freezing, flexlora, lora-fair, fedsvd, fed-sb,
ravan, fedkseed, ffa, bitfit, full, head.

Examples:

  floss-sim run --rank 16 --down-density 1/4 --up-density 1/16 --rounds 50

  floss-sim run --method dense --rounds 50 --network lte --out runs/dense

  floss-sim run --method sparse-adapter --density 1/4 --scope tensor --rounds 50

  floss-sim run --up-density 1/16 --up-values int8 --error-feedback --rounds 50

  floss-sim run --rounds 20 --partition iid --upload-ratio 4 --json

  floss-sim run --network lte --cohort 8 --policy first-k:5 --rounds 50

  floss-sim run --network lte --policy deadline:2s:3 --late finish --rounds 50

  floss-sim run --network lte --policy buffered:3 --rounds 50
"""
_VALUES = alternatives(f"{name} (default)" if name == "fp32" else name for name in VALUE_CODES)


def run(
    task: TaskOption = "digits",
    dataset: DatasetOption = None,
    backbone: BackboneOption = None,
    fetch: FetchOption = False,
    set_: SetOption = None,
    method: Annotated[str, typer.Option(help="One of the methods above.")] = "floss",
    rank: Annotated[int | None, typer.Option(help="LoRA rank; default 16.")] = None,
    dora: DoraOption = False,
    down_density: Annotated[str | None, typer.Option(help="Fraction of P sent down.")] = None,
    up_density: Annotated[str | None, typer.Option(help="Fraction of an update sent up.")] = None,
    density: Annotated[
        str | None,
        typer.Option(
            help="sparse-adapter: density of its one mask; fslora: fraction of ranks; freezing: of "
            "layers that never freeze; default 1/4."
        ),
    ] = None,
    factor: Annotated[
        float | None, typer.Option(help="adapter-lth: fraction of the mask kept each round.")
    ] = None,
    tiers: Annotated[
        str | None,
        typer.Option(help="floss-tiers: share:down:up,... ; hetlora, flexlora: share:ranks,..."),
    ] = None,
    which: Annotated[str | None, typer.Option(help="hetlora: first or largest ranks.")] = None,
    divisor: Annotated[
        str | None,
        typer.Option(
            help="hetlora, fslora: average an entry over the cohort, or over the covering clients."
        ),
    ] = None,
    candidate_seeds: Annotated[
        int | None, typer.Option(help="fedkseed: directions of the model; default 4096.")
    ] = None,
    local_steps: Annotated[
        int | None, typer.Option(help="fedkseed: steps of a client in a round; default 200.")
    ] = None,
    heads: Annotated[
        int | None, typer.Option(help="ravan: heads that share the rank; default 4.")
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            help="Rank entries over the whole vector (global, default) or in each tensor."
        ),
    ] = None,
    pick: Annotated[
        str | None, typer.Option(help="Entries to keep: largest (default) or random.")
    ] = None,
    segments: Annotated[
        int | None, typer.Option(help="ecolora: number of segments; default 5.")
    ] = None,
    a_density: Annotated[
        str | None, typer.Option(help="ecolora: density of A; default 1.2 times --up-density.")
    ] = None,
    half_life: Annotated[
        float | None,
        typer.Option(help="ecolora: rounds in which densities fall half of the way; default 10."),
    ] = None,
    freeze_every: Annotated[
        int | None,
        typer.Option(help="freezing: rounds after which one more layer freezes; default 10."),
    ] = None,
    product_rate: Annotated[
        float | None,
        typer.Option(help="flexlora: part of the mean in the server's new product; default 1."),
    ] = None,
    penalty: Annotated[
        float | None,
        typer.Option(help="lora-fair: penalty of the squared correction of B; default 0.01."),
    ] = None,
    rebase_every: Annotated[
        int | None,
        typer.Option(help="fedsvd: rounds between renewals of A; default 1; 0: never."),
    ] = None,
    dense_head: Annotated[
        bool | None, typer.Option("--dense-head", help="Always send the whole task head.")
    ] = None,
    down_values: Annotated[
        str | None, typer.Option(help=f"Value code of downloads: {_VALUES}.")
    ] = None,
    up_values: Annotated[
        str | None, typer.Option(help="Value code of uploads, with the same choice.")
    ] = None,
    error_feedback: Annotated[
        bool | None,
        typer.Option(
            "--error-feedback",
            help="Error feedback: accumulate unsent entries, add them to the next update.",
        ),
    ] = None,
    mask_ledger: Annotated[
        bool | None,
        typer.Option(
            "--mask-ledger",
            help="Code download positions relative to the mask that the client already holds: "
            "smaller downloads, state on the server.",
        ),
    ] = None,
    change_ledger: Annotated[
        bool | None,
        typer.Option(
            "--change-ledger",
            help="Download only what has changed since the client's last reply (rolora, lora-a2, "
            "fedsrd, freezing, fedsvd): smaller downloads, state on both ends.",
        ),
    ] = None,
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
    densities = given_settings(
        down_density=down_density, up_density=up_density, density=density, a_density=a_density
    )
    for name, code in given_settings(down_values=down_values, up_values=up_values).items():
        check_value_code(f"--{name.replace('_', '-')}", code)
    chosen = method_from_name(
        method,
        **{name: _density(name, text) for name, text in densities.items()},
        **given_settings(
            factor=factor, tiers=tiers, which=which, divisor=divisor, scope=scope, pick=pick,
            dense_head=dense_head, down_values=down_values, up_values=up_values,
            error_feedback=error_feedback, mask_ledger=mask_ledger,
            change_ledger=change_ledger, segments=segments,
            half_life=half_life, freeze_every=freeze_every, heads=heads,
            seeds=candidate_seeds, steps=local_steps,
            product_rate=product_rate, penalty=penalty, rebase_every=rebase_every,
        ),
    )  # fmt: skip
    if rank is not None and chosen.trains not in ADAPTER_LAYOUTS:
        raise ConfigError(f"method {method!r} has no adapters; --rank does not apply")
    if dora and chosen.trains not in ADAPTER_LAYOUTS:
        raise ConfigError(f"method {method!r} has no adapters; --dora does not apply")
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
    saved = train_with_progress(
        config,
        profile,
        rounds=rounds,
        out=out,
        policy=parse_policy(policy, late),
        eval_every=eval_every,
        device=device,
        threads=threads,
        learner=learner,
    )
    if json_:
        print_json(summary_of(saved))
    else:
        PlainConsole().print(summary_table(summary_of(saved), saved))
        print_text(f"record, plot and {saved.adapter.name}: {saved.folder.path}")


def _density(option: str, text: str) -> float:
    try:
        return parse_density(text)
    except DensityError as error:
        raise DensityError(f"--{option.replace('_', '-')}: {error}") from None
