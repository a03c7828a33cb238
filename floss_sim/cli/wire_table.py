"""``floss-sim wire table``: bytes of every code over densities, the floor and peers' formats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from floss_sim.cli.common import JsonOption, SeedOption, check_picture, plain_table, show_whole
from floss_sim.errors import ConfigError, DensityError
from floss_sim.layout import Layout
from floss_sim.sparsity import format_density, parse_density
from floss_sim.units import BITS_PER_BYTE
from floss_sim.wire import VALUE_CODES
from floss_sim.wire.survey import RANK, WIDTH, Peers, Sizes, layout_of, survey

HELP = """Really encode the largest of some normal values in every code; say the bytes of each.

Positions are uniform, as in no real message: codes by tensor and row can only lose here, and go
below the floor where real masks allow it (see `floss-sim wire inspect RUN`). The code by a held
mask needs one and is left out. Beside them stand the floor of the positions and what other formats
take for the same entries, torch's measured too.

Examples:

  floss-sim wire table --entries 589824

  floss-sim wire table --entries 589824 --values fp16 --out bits.png

  floss-sim wire table --entries 10000000 --density 1/16 --json
"""
_DENSITIES = ("1/2", "1/4", "1/16", "1/64", "1/256", "1/1024")
_MOST_ENTRIES = 1 << 28  # a gigabyte of values


def table(
    entries: Annotated[int, typer.Option(min=1, max=_MOST_ENTRIES, help="Length of the vector.")],
    density: Annotated[
        list[str] | None,
        typer.Option(help=f"Fraction kept; repeatable; default {', '.join(_DENSITIES)}."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(help="Value code of the whole messages; repeatable; default fp32."),
    ] = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option(help="Draw the bits per kept entry; ends in .png.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Really encode the largest of some normal values in every code; say the bytes of each."""
    if out is not None:
        check_picture(out)
    if seed < 0:
        raise ConfigError(f"seed {seed} must not be negative")
    densities, codes = _densities(density or _DENSITIES), _codes(values or ("fp32",))
    layout = layout_of(entries)
    sizes = survey(layout, densities, seed, _peers())
    if out is not None:
        from floss_sim.plots import draw_formats, formats_frame, save

        save(draw_formats(formats_frame(sizes, codes), _title(layout)), out)
    if json_:
        print(json.dumps(_found(layout, sizes, codes, seed, out), indent=2))
    else:
        _print(layout, sizes, codes, seed, out)


def _densities(texts: Iterable[str]) -> list[float]:
    try:
        return list(dict.fromkeys(parse_density(text) for text in texts))
    except DensityError as error:
        raise DensityError(f"--density: {error}") from None


def _codes(names: Iterable[str]) -> list[str]:
    for name in names:
        if name not in VALUE_CODES:
            raise ConfigError(f"--values {name!r} is unknown; valid: {', '.join(VALUE_CODES)}")
    return list(dict.fromkeys(names))


def _peers() -> Peers:
    """Return what measures torch's formats; nothing is measured where there is no torch."""
    try:
        from floss_sim.training.peers import torch_bytes
    except ImportError:
        return lambda values_N, mask_N: {}
    return torch_bytes


def _title(layout: Layout) -> str:
    tensors = len(layout.tensors)
    if tensors == 1:
        return f"{layout.entries:,} normal values in one tensor"
    return (
        f"{layout.entries:,} normal values as LoRA of rank {RANK} on {tensors // 2} layers "
        f"of width {WIDTH}"
    )


def _found(
    layout: Layout, sizes: Sequence[Sizes], codes: Sequence[str], seed: int, out: Path | None
) -> dict[str, Any]:
    """Return all sizes as plain values."""
    return {
        "entries": layout.entries,
        "tensors": len(layout.tensors),
        "seed": seed,
        "densities": [_row(one, codes) for one in sizes],
        "picture": None if out is None else str(out),
    }


def _row(sizes: Sizes, codes: Sequence[str]) -> dict[str, Any]:
    messages = {
        name: {
            "index_code": message.index,
            "payload_bytes": message.payload_bytes,
            "framed_bytes": message.nbytes,
            "floor_bytes": sizes.floor_bytes(name),
        }
        for name, message in sizes.messages.items()
    }
    bits = {name: sizes.bits_per_entry(size) for name, size in sizes.formats(codes).items()}
    return {
        "density": sizes.density,
        "entries": sizes.kept,
        "floor_bits": sizes.floor_bits,
        "index_bytes": dict(sizes.index_bytes),
        "value_bytes": {name: one.value_bytes for name, one in sizes.messages.items()},
        "messages": messages,
        "other_bytes": dict(sizes.peers),
        "bits_per_entry": bits,
    }


def _print(
    layout: Layout, sizes: Sequence[Sizes], codes: Sequence[str], seed: int, out: Path | None
) -> None:
    names = [format_density(one.density) for one in sizes]
    table = plain_table("bytes at density", *names, title=f"{_title(layout)}, seed {seed}")
    _add(table, "entries kept", (one.kept for one in sizes))
    table.add_section()
    _add(table, "floor of positions", (one.floor_bits / BITS_PER_BYTE for one in sizes))
    for code in sizes[0].index_bytes:
        _add(table, f"  {code}", (one.index_bytes[code] for one in sizes))
    table.add_section()
    for code, value_code in VALUE_CODES.items():
        bytes_ = (one.messages[code].value_bytes for one in sizes)
        _add(table, f"{code} values, {value_code.kind}", bytes_)
    show_whole(table)
    show_whole(_messages_table(names, sizes, codes))
    print("Payloads are positions and values; messages have a frame of 28 bytes around them.")
    if out is not None:
        print(f"picture: {out}")


def _messages_table(names: Sequence[str], sizes: Sequence[Sizes], codes: Sequence[str]) -> Table:
    table = plain_table("bits per kept entry at density", *names)
    for code in codes:
        floors = [one.floor_bytes(code) for one in sizes]
        over = (
            one.messages[code].payload_bytes / floor - 1
            for one, floor in zip(sizes, floors, strict=True)
        )
        bits = (one.bits_per_entry(floor) for one, floor in zip(sizes, floors, strict=True))
        _add(table, f"floor + {code} values", bits, ".2f")
        whole = (one.bits_per_entry(one.messages[code].nbytes) for one in sizes)
        _add(table, f"message, {code}", whole, ".2f")
        _add(table, "  its payload over the floor", over, ".2%")
        table.add_row("  its index code", *(one.messages[code].index for one in sizes))
    table.add_section()
    for name in sizes[0].peers:
        _add(table, name, (one.bits_per_entry(one.peers[name]) for one in sizes), ",.2f")
    return table


def _add(table: Table, name: str, numbers: Iterable[float], text: str = ",.0f") -> None:
    table.add_row(name, *(format(number, text) for number in numbers))
