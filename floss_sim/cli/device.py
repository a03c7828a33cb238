"""``floss-sim device``: classes of client devices, listed and shown; the speed of this machine."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from floss_sim.cli.console import command_app, note, plain_table, print_json, print_text, show_whole
from floss_sim.cli.progress_log import late_lines
from floss_sim.cli.shared_options import DeviceOption, JsonOption, check_outputs
from floss_sim.errors import ConfigError, ProfileError
from floss_sim.files import write_atomically
from floss_sim.network.devices.device_class import DeviceClass, load_device, packaged_devices
from floss_sim.network.devices.fit import Measurement, SpeedFit, device_text, fit_speed
from floss_sim.training.device import check_precision, resolve_device
from floss_sim.units import (
    duration_texts,
    format_duration,
    format_operation_rate,
    format_operations,
)

LIST_HELP = """List the packaged device classes.

Examples:

  floss-sim device list

  floss-sim device list --json
"""
SHOW_HELP = """Show a device class: its rates, their source, and the measured steps.

Examples:

  floss-sim device show snapdragon-778g

  floss-sim device show mine.toml --json
"""
MEASURE_HELP = """Measure local steps on this machine and write its device class.

Some small models with random weights train: forward pass, backward pass, SGD. The seconds of a step
are fitted as a fixed time, and operations over a rate; the error of the fit is printed. It takes
half a minute on a CPU. Name the file in a network profile: compute = { device = "mine.toml" }.

Examples:

  floss-sim device measure --out mine.toml

  floss-sim device measure --out mine.toml --threads 4 --precision fp32,bf16 --force --json
"""
_TRAINED = ("fp32", "bf16")  # precisions that can be measured
_LARGE_ERROR = 0.3  # relative, from which on a note says that the law fits badly
app = command_app("Devices of clients.")


@app.command("list", help=LIST_HELP)
def list_(json_: JsonOption = False) -> None:
    """List the packaged device classes."""
    devices = [load_device(name) for name in packaged_devices()]
    if json_:
        print_json([device.to_json() for device in devices])
        return
    table = plain_table("device", "rates", "a step", "date", "source")
    for device in devices:
        table.add_row(
            device.name, _rates_text(device), format_duration(device.step), device.date,
            device.source,
        )  # fmt: skip
    show_whole(table)


@app.command(help=SHOW_HELP)
def show(
    device: Annotated[str, typer.Argument(help="Packaged class, or a path that ends in .toml.")],
    json_: JsonOption = False,
) -> None:
    """Show a device class: its rates, their source, and the measured steps."""
    loaded = load_device(device)
    if json_:
        print_json(loaded.to_json())
        return
    error = "" if loaded.error is None else f", error of the fit up to {100 * loaded.error:.0f} %"
    print_text(
        f"{loaded.name}, {loaded.date}: {_rates_text(loaded)} in training, and "
        f"{format_duration(loaded.step)} a step{error}\n{loaded.measured}\nsource: {loaded.source}"
    )
    _show_steps(loaded)


@app.command(help=MEASURE_HELP)
def measure(
    out: Annotated[Path, typer.Option(help="File of the device class; ends in .toml.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the class; default: the file's name.")
    ] = None,
    device: DeviceOption = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=os.cpu_count() or 1, help="Torch threads; default: all cores."),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, bf16, or fp32,bf16.")] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    json_: JsonOption = False,
) -> None:
    """Measure local steps on this machine and write its device class."""
    place, precisions = resolve_device(device), _read_precisions(precision)
    for each in precisions:
        check_precision(each, place)
    if out.suffix != ".toml":
        raise ProfileError(f"device class {str(out)!r} must end in .toml")
    if out.exists() and not force:
        raise ProfileError(f"{out} would be overwritten; add --force to allow it")
    check_outputs(out)
    used = threads or os.cpu_count() or 1
    with late_lines("measuring local steps on this machine"):
        fit, peak = _measured(name or out.stem, place, used, precisions)
    text = device_text(
        fit,
        source="floss-sim device measure",
        date=date.today().isoformat(),
        measured=_method_text(fit, place, used),
    )
    made = _checked(text, out)
    write_atomically(out, text)
    share = fit.speed.operations_per_s(precisions[0]) / peak
    if json_:
        print_json(
            {**made.to_json(), "file": str(out), "median_error": fit.median_error,
             "peak_operations_per_s": peak, "share_of_peak": share}
        )  # fmt: skip
        return
    _show_steps(made)
    print_text(
        f"{out}: {_rates_text(made)} in training, and {format_duration(made.step)} a step; error "
        f"of the fit {100 * fit.median_error:.0f} % in the median, up to "
        f"{100 * fit.largest_error:.0f} %"
    )
    note(
        f"Products of large matrices reach {format_operation_rate(peak)} here; training reaches "
        f"{100 * share:.0f} % of that."
    )
    if fit.largest_error > _LARGE_ERROR:
        note("The law fits badly, or other processes took part of the time; measure again.")


def _measured(
    name: str, device: str, threads: int, precisions: Sequence[str]
) -> tuple[SpeedFit, float]:
    """Return the fitted speed of this machine, and its peak rate."""
    from floss_sim.training.device_steps import CASES, peak_rate, timed_steps

    steps = [
        Measurement(
            one.case.name, one.case.tokens, one.case.batch, one.precision, one.operations,
            one.seconds,
        )
        for one in timed_steps(device, threads, precisions, CASES)
    ]  # fmt: skip
    return fit_speed(name, steps), peak_rate(device, threads, precisions[0])


def _checked(text: str, out: Path) -> DeviceClass:
    """Return the device class of a text, so that nothing is written that does not load."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / out.name
        path.write_text(text, encoding="utf-8")
        return load_device(str(path))


def _read_precisions(text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(","))
    wrong = [part for part in found if part not in _TRAINED]
    if wrong or len(set(found)) < len(found):
        raise ConfigError(f"precision {text!r}; valid: {', '.join(_TRAINED)}, or both")
    return found


def _method_text(fit: SpeedFit, device: str, threads: int) -> str:
    small, large = (pick(step.operations for step in fit.steps) for pick in (min, max))
    cores = f"{threads} thread{'s' * (threads > 1)} of {_processor()}"
    where = cores if device == "cpu" else device
    return (
        f"{len(fit.steps)} local steps of small BERT and Llama models, LoRA of rank 8 on q and v, "
        f"{format_operations(small)} to {format_operations(large)}, on {where}; the fastest of 5"
    )


def _processor() -> str:
    """Return the processor's name, such as the kernel of Linux gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _rates_text(device: DeviceClass) -> str:
    return ", ".join(
        f"{format_operation_rate(rate)} {precision}" for precision, rate in device.speed.rates
    )


def _show_steps(device: DeviceClass) -> None:
    """Print the measured steps of a class with what its figures say of them."""
    table = plain_table("step", "tokens", "batch", "operations", "measured", "by the class")
    said: list[Any] = [
        device.speed.seconds(1, step.operations, step.precision) for step in device.steps
    ]
    columns = duration_texts([step.seconds for step in device.steps]), duration_texts(said)
    for step, seconds, by_class in zip(device.steps, *columns, strict=True):
        operations = format_operations(step.operations)
        name = f"{step.model}, {step.precision}"
        table.add_row(name, str(step.tokens), str(step.batch), operations, seconds, by_class)
    show_whole(table)
