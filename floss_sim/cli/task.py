"""``floss-sim task``: checks of a task's data, clients and message sizes, and of its step time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from floss_sim.analysis.run_memory import check_memory, run_memory
from floss_sim.cli.console import PlainConsole, command_app, print_json
from floss_sim.cli.progress_log import late_lines
from floss_sim.cli.shared_options import (
    BackboneOption,
    DatasetOption,
    DeviceOption,
    DoraOption,
    FetchOption,
    JsonOption,
    SeedOption,
    SetOption,
    ThreadsOption,
    given_settings,
    parse_settings,
)
from floss_sim.methods import WAYS, dense
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import Task, TaskData, load_task
from floss_sim.training import resolve_device
from floss_sim.training.step_time import step_times
from floss_sim.units import (
    format_bytes,
    format_duration,
    format_operations,
    format_predicted_bytes,
)

HELP = """Load a task and show its data, clients and bytes; time local training steps.

Examples:

  floss-sim task check digits

  floss-sim task check mine.toml --rank 4 --json

  floss-sim task check 20newsgroups --fetch --set data.limit=1000 --clients 20
"""

_ROUNDS = 100  # over which the bytes of a dense round are averaged
_LISTED = 20  # maximum number of classes, or of files, that the table lists
_SIGNS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}

app = command_app("Check tasks.")


@app.command(help=HELP)
def check(
    task: Annotated[str, typer.Argument(help="Packaged task, or a path that ends in .toml.")],
    dataset: DatasetOption = None,
    backbone: BackboneOption = None,
    fetch: FetchOption = False,
    set_: SetOption = None,
    rank: Annotated[int, typer.Option(help="LoRA rank.")] = 16,
    dora: DoraOption = False,
    clients: Annotated[int | None, typer.Option(help="Clients in the fleet.")] = None,
    partition: Annotated[str | None, typer.Option(help="iid, dirichlet or column.")] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Concentration of the dirichlet partition.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    json_: JsonOption = False,
) -> None:
    """Load a task and show its data, clients and bytes; time local training steps."""
    fleet = given_settings(clients=clients, law=partition, alpha=alpha)
    changes = parse_settings(set_) | {f"partition.{key}": value for key, value in fleet.items()}
    changes |= {"lora.dora": True} if dora else {}
    with late_lines("loading the task"):
        loaded = load_task(task, dataset=dataset, backbone=backbone, fetch=fetch, changes=changes)
        config = RunConfig.of(loaded, dense(), rank=rank, seed=seed)
        place = resolve_device(device)
        found = findings(config)  # before the frameworks are loaded, which takes seconds
        check_memory(config, place)
    with late_lines(f"measuring a step of rank {rank} on this machine, with each learner"):
        steps = [time.to_json() for time in step_times(config, place, threads)]
    found |= {"device": place, "step_s": steps[0]["step_s"], "steps": steps}
    if json_:
        print_json(found)
    else:
        PlainConsole().print(_table(found))


def findings(config: RunConfig) -> dict[str, Any]:
    """Return data, clients and sizes of a run's task as plain values; bytes are of dense LoRA."""
    task, content = config.task, config.task.content
    sizes = [len(part) for part in config.clients]
    entries = config.layout.entries
    down, up = (float(config.sizes.messages(way, 0, 1, _ROUNDS)[0].mean()) for way in WAYS)
    return {
        "task": task.name,
        "kind": task.kind,
        "dataset": task.data.dataset,
        "backbone": str(task.backbone_path),
        "family": task.backbone_config.get("model_type"),
        "input_shape": list(content.train[0].shape[1:]),
        "cut_texts": content.cut,
        "inputs": _inputs(config.task),
        "train_examples": len(content.train[1]),
        "validation_examples": len(content.validation[1]),
        "test_examples": len(content.test[1]),
        "split": {"kind": task.data.split, "seed": task.data.split_seed},
        "files": {
            "rows": dict(content.files.rows),
            "csv": {name: asdict(form) for name, form in content.files.csv.items()},
            "left_out": list(content.files.left_out),
        },
        "unused_rows": dict(content.files.unused),
        "duplicates": {"setting": task.data.duplicates, **asdict(content.duplicates)},
        "classes": task.labels,
        "class_examples": _class_examples(content, task.labels),
        "clients": len(sizes),
        "dealt_examples": sum(sizes),
        "partition": config.fleet.law,
        "client_examples": {"min": min(sizes), "median": median(sizes), "max": max(sizes)},
        "rank": config.rank,
        "adapters": config.adapters.describe(),
        "trainable_entries": entries,
        "cohort": config.server.cohort,
        "rounds": _ROUNDS,
        "download_bytes": round(down),
        "upload_bytes": round(up),
        "download_bytes_error": config.sizes.error("down", _ROUNDS),
        "upload_bytes_error": config.sizes.error("up", _ROUNDS),
        "round_bytes": config.server.cohort * (round(down) + round(up)),
        "operations_per_step": config.work.operations.of_step(config.client.batch_size),
        "memory": run_memory(config).to_json(),
    }


def _inputs(task: Task) -> str:
    """Return in words how texts are cut and padded, or how images are normalised."""
    if task.tokenizer_use is not None:
        words = task.tokenizer_use.describe()
    elif task.normalisation is None:
        words = "arrays, read unchanged"
    else:
        words = task.normalisation.describe()
    ignored = "; the adapter in the backbone's folder is not loaded"
    return words + ignored * task.backbone_files.has_adapter


def _class_examples(content: TaskData, classes: int) -> list[dict[str, Any]]:
    """Return number, name and example counts of each class that occurs in any split."""
    counts = [
        np.bincount(part[1], minlength=classes)[:classes]
        for part in (content.train, content.validation, content.test)
    ]
    names = dict(enumerate(content.names))
    return [
        {
            "class": number,
            "label": names.get(number, str(number)),
            **{
                part: int(count[number])
                for part, count in zip(("train", "validation", "test"), counts, strict=True)
            },
        }
        for number in np.flatnonzero(sum(counts)).tolist()
    ]


def _table(found: Mapping[str, Any]) -> Table:
    table = Table(show_header=False)
    examples = found["client_examples"]
    down, up = (
        format_predicted_bytes(found[f"{what}_bytes"], found[f"{what}_bytes_error"])
        for what in ("download", "upload")
    )
    rounds, both = found["rounds"], format_bytes(found["round_bytes"])
    for name, value in (
        ("task", f"{found['task']}, {found['kind']}"),
        ("data set", found["dataset"]),
        ("backbone", f"{found['backbone']} ({found['family']})"),
        ("one example", _example(found)),
        ("inputs", found["inputs"]),
        ("training examples", str(found["train_examples"])),
        ("validation examples", str(found["validation_examples"])),
        ("test examples", str(found["test_examples"])),
        ("split", "{kind}, seed {seed}".format(**found["split"])),
        *_file_rows(found["files"]),
        *(("rows not used", f"{n} of {name}") for name, n in found["unused_rows"].items()),
        ("equal content", _duplicates(found["duplicates"])),
        ("classes", _classes(found)),
        ("clients", f"{found['clients']}, partition {found['partition']}"),
        (
            "examples a client",
            f"{examples['min']} to {examples['max']}, median {examples['median']:g}",
        ),
        ("examples dealt", f"{found['dealt_examples']} of {found['train_examples']}"),
        ("trainable entries", f"{found['trainable_entries']} at {found['adapters']}"),
        ("dense round", f"{down} down and {up} up for each client, mean of {rounds} rounds"),
        ("", f"{both} in total for {found['cohort']} clients"),
        ("operations of a step", format_operations(found["operations_per_step"])),
        ("memory of a client", _memory_text(found["memory"])),
        ("one local step", f"of a client on {found['device']}:\n{_step_lines(found['steps'])}"),
        ("evaluation", f"{format_duration(found['steps'][0]['evaluation_s'])}"),
        ("loading, libraries included", f"{format_duration(found['steps'][0]['loading_s'])}"),
    ):
        table.add_row(name, value)
    return table


def _memory_text(memory: Mapping[str, int]) -> str:
    """Return the estimated peak memory of a client and its parts."""
    return (
        f"about {format_bytes(memory['total'])}: weights {format_bytes(memory['weights'])}, "
        f"trained entries, gradients and momentum {format_bytes(3 * memory['trained'])}, "
        f"activations of a batch {format_bytes(memory['activations'])}"
    )


def _step_lines(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return the seconds of a step with each learner, the fastest and the slowest cohort."""
    return "\n".join(
        f"{format_duration(step['step_s'])} ({format_duration(step['step_low_s'])} to "
        f"{format_duration(step['step_high_s'])}), {step['clients']} clients "
        + ("together" if step["learner"] == "bank" else "in turn")
        for step in steps
    )


def _file_rows(files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield table rows on the signs of CSV files and on the files that were not read."""
    if files["csv"]:
        forms = {
            f"{' and '.join(_SIGNS.get(sign, sign) for sign in form['delimiter'])}; decimal sign "
            f"{form['decimal'] or 'none found, or two'}"
            for form in files["csv"].values()
        }
        yield "CSV cells end at", "\n".join(sorted(forms))
    if left_out := files["left_out"]:
        more = [f"{len(left_out) - _LISTED} more"] if len(left_out) > _LISTED else []
        yield f"{len(left_out)} files not read", "\n".join(left_out[:_LISTED] + more)


def _duplicates(found: Mapping[str, Any]) -> str:
    """Return how many examples have content that is also in another split, or repeated."""
    pairs = (
        ("train_in_validation", "training examples also in validation"),
        ("train_in_test", "training examples also in test"),
        ("validation_in_test", "validation examples also in test"),
        ("repeated_in_train", "training examples repeat another one"),
    )
    said = [f"{found[key]} {words}" for key, words in pairs if found[key]]
    if not said:
        return "none"
    drop = (found["train_in_validation"] or found["train_in_test"]) and (
        "\n--set data.duplicates=drop leaves out training examples that are in another split"
    )
    return "\n".join(said) + (drop or "")


def _example(found: Mapping[str, Any]) -> str:
    shape = " x ".join(str(side) for side in found["input_shape"])
    if found["cut_texts"] is None:
        return f"{shape} (channels x height x width)"
    return f"up to {shape} tokens; {found['cut_texts']:.1%} of the training texts are cut"


def _classes(found: Mapping[str, Any]) -> str:
    """Return the number of classes and a short list of their training example counts."""
    occur = found["class_examples"]
    if not found["classes"]:
        return "none: next-token prediction"
    listed = [f"{c['class']}: {_label_prefix(c['label'], c['class'])}{c['train']}" for c in occur]
    more = [f"{len(occur) - _LISTED} more"] if len(occur) > _LISTED else []
    head = f"{len(occur)} of {found['classes']} classes occur; training examples of each class:"
    return "\n".join([head, ", ".join(listed[:_LISTED] + more)])


def _label_prefix(label: str, number: int) -> str:
    return "" if label == str(number) else f"{label} "
