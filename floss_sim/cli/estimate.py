"""``floss-sim estimate``: bytes, seconds and memory of a federated run that nobody has trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from floss_sim.analysis.client_memory import PRECISIONS
from floss_sim.analysis.deployment_settings import deployment_of, read_setting
from floss_sim.analysis.estimate import Estimate
from floss_sim.analysis.estimate import estimate as estimate_of
from floss_sim.cli.console import alternatives, plain_table, print_json, print_text, show_whole
from floss_sim.cli.estimate_table import print_estimate, sweep_table
from floss_sim.cli.method_options import takes_method_options
from floss_sim.cli.shared_options import (
    FetchOption,
    FrameworkOption,
    JsonOption,
    NetworkOption,
    RatioOption,
    ScaleDownOption,
    ScaleUpOption,
    SeedOption,
    check_picture,
    given_settings,
)
from floss_sim.errors import ConfigError
from floss_sim.families import KINDS
from floss_sim.families.packaged import packaged_backbone, packaged_backbones

PICTURE = Path("estimate.png")
HELP = """Estimate bytes, seconds and memory of a federated run, before anything is trained.

No data and no weights are read. A backbone is the name of a packaged one (`--backbones` lists
them), a hub id with --fetch, a model folder or a config.json.

Examples:

  floss-sim estimate --backbone qwen2.5-0.5b --rank 8 --targets q,v --dora --clients 200

  floss-sim estimate --backbone smollm2-135m --method floss --down-density 1/4 --up-density 1/16
--network mobile-mixed

  floss-sim estimate --network lte --scale-up 4 --scale-down 0.5

  floss-sim estimate --backbone gemma-3-270m --network phone-wifi --batch 1 --depth 4

  floss-sim estimate --backbone gemma-3-270m --targets q,k,v,o --sweep rank=4,8,16,32

  floss-sim estimate --backbone my-model/config.json --targets all-linear --depth 4 --json
"""


@takes_method_options
def estimate(
    *,
    backbone: Annotated[
        str, typer.Option(help="Packaged backbone, hub id, model folder or config.json.")
    ] = "smollm2-135m",
    fetch: FetchOption = False,
    kind: Annotated[
        str | None, typer.Option(help=f"{alternatives(KINDS)}; default: the backbone's usual one.")
    ] = None,
    labels: Annotated[int, typer.Option(min=1, help="Classes of a classification.")] = 2,
    rank: Annotated[int, typer.Option(help="LoRA rank.")] = 16,
    targets: Annotated[
        str | None,
        typer.Option(
            help="Roles, module names, all, all-linear, or re:EXPRESSION; default q,v or qkv."
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="LoRA alpha.")] = 16.0,
    rslora: Annotated[bool, typer.Option("--rslora", help="Scale by alpha / sqrt(rank).")] = False,
    dora: Annotated[bool, typer.Option("--dora", help="DoRA: train a magnitude, too.")] = False,
    rank_pattern: Annotated[
        str | None, typer.Option(help="Ranks of some modules, such as mlp.fc1=4,layers.1.*=8.")
    ] = None,
    alpha_pattern: Annotated[
        str | None, typer.Option(help="Alphas of some modules, in the same form.")
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Adapters on the last DEPTH layers only.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Adapters on these layers only, such as 0,1,5.")
    ] = None,
    save: Annotated[
        str | None, typer.Option(help="Modules that train whole, besides a new head.")
    ] = None,
    bias: Annotated[str, typer.Option(help="Biases that train: none, all or lora_only.")] = "none",
    lora_bias: Annotated[bool, typer.Option("--lora-bias", help="B has a bias.")] = False,
    method: Annotated[str, typer.Option(help="As for `floss-sim run`.")] = "floss",
    method_options: dict[str, Any],
    privacy_options: dict[str, Any],
    clients: Annotated[int, typer.Option(min=1, max=10**7, help="Clients of the fleet.")] = 100,
    cohort: Annotated[int, typer.Option(min=1, max=10**5, help="Clients of a round.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, max=10**5, help="Rounds.")] = 100,
    examples: Annotated[
        int, typer.Option(min=1, max=10**9, help="Examples of a client in a round.")
    ] = 100,
    batch: Annotated[int, typer.Option(min=1, max=10**6, help="Examples of a local batch.")] = 16,
    tokens: Annotated[
        int, typer.Option(min=1, max=10**7, help="Tokens of an example, for memory and compute.")
    ] = 128,
    precision: Annotated[
        str, typer.Option(help=f"On the client: {alternatives(PRECISIONS)}.")
    ] = "fp32",
    checkpointing: Annotated[
        bool,
        typer.Option("--checkpointing", help="Gradient checkpointing."),
    ] = False,
    network: NetworkOption = "mobile-mixed",
    upload_ratio: RatioOption = None,
    scale_down: ScaleDownOption = None,
    scale_up: ScaleUpOption = None,
    framework: FrameworkOption = None,
    seed: SeedOption = 0,
    sweep: Annotated[
        str | None, typer.Option(help="OPTION=VALUE,VALUE,...: one row for each value.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help=f"Picture of the sweep; ends in .png.  [default: {PICTURE}]"),
    ] = None,
    backbones: Annotated[
        bool, typer.Option("--backbones", help="List the packaged backbones.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Estimate bytes, seconds and memory of a federated run, before anything is trained."""
    if backbones:
        _list_backbones(json_)
        return
    settings = given_settings(
        backbone=backbone, fetch=fetch, kind=kind, labels=labels, rank=rank, targets=targets,
        alpha=alpha, rslora=rslora, dora=dora, rank_pattern=rank_pattern,
        alpha_pattern=alpha_pattern, lora_bias=lora_bias, depth=depth, layers=layers, save=save,
        bias=bias, method=method, clients=clients, cohort=cohort,
        rounds=rounds, examples=examples, batch=batch, tokens=tokens, precision=precision,
        checkpointing=checkpointing, network=network, upload_ratio=upload_ratio, seed=seed,
        scale_down=scale_down, scale_up=scale_up, framework=framework, **method_options,
        **privacy_options,
    )  # fmt: skip
    if sweep is None:
        if out is not None:
            raise ConfigError("--out draws a sweep; give --sweep OPTION=VALUE,VALUE,...")
        made = estimate_of(deployment_of(settings))
        print_json(made.to_json()) if json_ else print_estimate(made)
        return
    picture = out or PICTURE
    check_picture(picture)
    _show_sweep(*_swept(settings, sweep), picture, json_)


def _swept(settings: Mapping[str, Any], text: str) -> tuple[str, dict[str, Estimate]]:
    """Return the option of a sweep and the estimate of each of its values."""
    option, equals, values = text.partition("=")
    name = option.strip().replace("-", "_")
    texts = [value.strip() for value in values.split(";" if ";" in values else ",")]
    if not equals or not all(texts) or len(set(texts)) < len(texts):
        raise ConfigError(
            f"--sweep {text!r} is not OPTION=VALUE,VALUE,... such as rank=4,8,16 "
            "(values that hold commas are parted by semicolons)"
        )
    if name in ("fetch", "seed"):
        raise ConfigError(f"--sweep {option}: this option has no sweep")
    read = [read_setting(name, value) for value in texts]
    equal = [value for n, value in enumerate(texts) if read[n] in read[:n]]
    if equal:
        raise ConfigError(f"--sweep {option}: {equal[0]} is there twice")
    return option, {value: estimate_of(deployment_of({**settings, name: value})) for value in texts}


def _show_sweep(option: str, made: Mapping[str, Estimate], picture: Path, json_: bool) -> None:
    """Draw a sweep, and print its table or its rows as JSON."""
    from floss_sim.plots.estimates import draw_estimates, estimates_frame
    from floss_sim.plots.figure import save

    save(draw_estimates(estimates_frame(made), option), picture)
    if json_:
        rows = [{"value": value, **one.to_json()} for value, one in made.items()]
        print_json({"sweep": option, "rows": rows, "picture": str(picture)})
        return
    sweep_table(option, made)
    print_text(f"picture: {picture}")


def _list_backbones(json_: bool) -> None:
    found = [packaged_backbone(name) for name in packaged_backbones()]
    if json_:
        print_json(
            [
                {
                    "name": b.name,
                    "hub_id": b.hub_id,
                    "same_sizes": b.same_sizes,
                    "parameters": b.parameters,
                    "kinds": b.kinds,
                }
                for b in found
            ]
        )
        return
    table = plain_table("backbone", "parameters", "hub id", "kinds")
    for b in found:
        table.add_row(b.name, f"{b.parameters:,}", b.hub_id, ", ".join(b.kinds))
    show_whole(table)
