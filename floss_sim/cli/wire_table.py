"""``floss-sim wire table``: bytes of each code by density, the floor, and other formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from floss_sim.cli.console import (
    note,
    plain_table,
    print_json,
    print_text,
    show_whole,
)
from floss_sim.cli.profile_sections import print_transport
from floss_sim.cli.shared_options import JsonOption, SeedOption, check_picture, check_value_code
from floss_sim.cli.size_legends import FRAMED_LEGEND, SIZES_LEGEND
from floss_sim.errors import ConfigError, DensityError
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.units import BITS_PER_BYTE
from floss_sim.vectors.density import format_density, parse_density
from floss_sim.vectors.layout import Layout
from floss_sim.wire import VALUE_CODES
from floss_sim.wire.message_contents import Contents
from floss_sim.wire.size_table import ADAPTER, RANK, WIDTH, PeerMeasure, Sizes, layout_of, survey

HELP = """Show the bytes of every code at several densities.

Encodes the top-k of normally distributed values. Their positions are uniform. Real masks compress
better with the codes by tensor and by row, even below the floor (see `floss-sim wire inspect RUN`);
with uniform positions these codes have no advantage. The code by a held mask is left out, because
it needs such a mask. Also shown: the floor, which is the information bound for positions, and the
size of the same entries in other formats, those of torch measured. With --network, also the bytes
of whole messages on that network.

Examples:

  floss-sim wire table --entries 589824

  floss-sim wire table --entries 589824 --values fp16 --out bits.png

  floss-sim wire table --entries 589824 --density 1/16 --values fp32 --values fp16
--network mine.toml

  floss-sim wire table --entries 2359296 --density 1/16 --json
"""
_DENSITIES = ("1/2", "1/4", "1/16", "1/64", "1/256", "1/1024")
_MOST_ENTRIES = 3_000_000  # of the vector; all adapters of ViT-B at rank 16 have 2.7 million
_MOST_ENCODED = 6 * _MOST_ENTRIES  # entries times densities
_MOST_DENSITIES = 50
_LEGEND = (
    "rice: gaps; range: one density; tensors, rows: {cells}; floor: log2 C(n, k) bits, the "
    "information bound for k of n positions, all choices equally likely; see "
    "floss_sim/wire/FORMAT.md"
)


def table(
    entries: Annotated[
        int,
        typer.Option(
            min=1,
            max=_MOST_ENTRIES,
            help=f"Length of the vector; multiples of {ADAPTER} are laid out as LoRA.",
        ),
    ],
    density: Annotated[
        list[str] | None,
        typer.Option(help=f"Fraction kept; repeatable; default {', '.join(_DENSITIES)}."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(help="Value code of the whole messages; repeatable; default fp32."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="Show bytes of messages on this packaged profile or path that ends in .toml."
        ),
    ] = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option(help="Draw the bits per kept entry; ends in .png.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Show the bytes of every code at several densities."""
    if out is not None:
        check_picture(out)
    if seed < 0:
        raise ConfigError(f"seed {seed} must not be negative")
    densities, codes = _densities(density or _DENSITIES), _codes(values or ("fp32",))
    _check_work(entries, len(densities))
    profile = load_profile(network) if network else None
    layout = layout_of(entries)
    sizes = survey(layout, densities, seed, _peers())
    if out is not None:
        from floss_sim.plots.figure import save
        from floss_sim.plots.wire_sizes import draw_formats, formats_frame

        save(draw_formats(formats_frame(sizes, codes), _title(layout)), out)
    if json_:
        print_json(_findings(layout, sizes, codes, seed, out, profile))
        return
    _print(layout, sizes, seed)
    note(_LEGEND.format(cells=_cells_phrase(layout)))
    _print_messages(sizes, codes, profile)
    if out is not None:
        print_text(f"picture: {out}")


def _densities(texts: Iterable[str]) -> list[float]:
    try:
        return list(dict.fromkeys(parse_density(text) for text in texts))
    except DensityError as error:
        raise DensityError(f"--density: {error}") from None


def _check_work(entries: int, densities: int) -> None:
    """Check that a table takes seconds.

    Raises:
        ConfigError: There are too many densities, or too many entries for their number.
    """
    if densities > _MOST_DENSITIES:
        raise ConfigError(f"--density: {densities} densities; valid: at most {_MOST_DENSITIES}")
    if densities * entries > _MOST_ENCODED:
        raise ConfigError(
            f"--density: {densities} densities of {entries:,} entries; valid: at most "
            f"{_MOST_ENCODED:,} entries in all"
        )


def _codes(names: Iterable[str]) -> list[str]:
    for name in names:
        check_value_code("--values", name)
    return list(dict.fromkeys(names))


def _peers() -> PeerMeasure:
    """Return a function that measures torch's formats; it measures nothing without torch."""
    try:
        from floss_sim.training.torch_save_bytes import torch_bytes
    except ImportError:
        return lambda values_N, mask_N: {}
    return torch_bytes


def _title(layout: Layout) -> str:
    values, adapted = f"{layout.entries:,} normal values", len(layout.tensors) // 2
    if not adapted:
        return f"{values} in one tensor"
    matrices = f"{adapted:,} adapted matri{'x' if adapted == 1 else 'ces'}"
    return f"{values} of {matrices}, {WIDTH} wide, rank {RANK}"


def _cells_phrase(layout: Layout) -> str:
    """Return the legend of the codes by tensor and row, or the reason that they are left out."""
    if len(layout.tensors) > 1:
        return "a density for each"
    return "left out, because there is one tensor"


def _findings(
    layout: Layout,
    sizes: Sequence[Sizes],
    codes: Sequence[str],
    seed: int,
    out: Path | None,
    profile: NetworkProfile | None,
) -> dict[str, Any]:
    """Return all sizes as plain values."""
    return {
        "entries": layout.entries,
        "tensors": len(layout.tensors),
        "seed": seed,
        "network": profile.name if profile else None,
        "setup_bytes": profile.transport.setup_bytes if profile else None,
        "densities": [_row(one, codes, profile) for one in sizes],
        "picture": None if out is None else str(out),
    }


def _row(sizes: Sizes, codes: Sequence[str], profile: NetworkProfile | None) -> dict[str, Any]:
    messages = {
        name: {
            "index_code": message.index,
            **_message_sizes(message, profile),
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


def _message_sizes(message: Contents, profile: NetworkProfile | None) -> dict[str, int | None]:
    """Return the bytes of a whole message; message and link bytes are None without a network."""
    transport = profile.transport if profile else None
    return {
        "payload_bytes": message.payload_bytes,
        "framed_bytes": message.nbytes,
        "message_bytes": transport.message_bytes(message.nbytes) if transport else None,
        "link_bytes": transport.wire_bytes(message.nbytes) if transport else None,
    }


def _print(layout: Layout, sizes: Sequence[Sizes], seed: int) -> None:
    print_text(f"{_title(layout)}, seed {seed}")
    table = _density_table("bytes", sizes)
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


def _print_messages(
    sizes: Sequence[Sizes], codes: Sequence[str], profile: NetworkProfile | None
) -> None:
    show_whole(_bits_table(sizes, codes))
    if profile is None:
        note(FRAMED_LEGEND)
        return
    show_whole(_network_table(sizes, codes, profile))
    note(SIZES_LEGEND)
    print_transport(profile)


def _density_table(what: str, sizes: Sequence[Sizes]) -> Table:
    return plain_table(f"{what} at density", *(format_density(one.density) for one in sizes))


def _bits_table(sizes: Sequence[Sizes], codes: Sequence[str]) -> Table:
    table = _density_table("bits per kept entry", sizes)
    for code in codes:
        floors = [one.floor_bytes(code) for one in sizes]
        over = (
            one.messages[code].payload_bytes / floor - 1
            for one, floor in zip(sizes, floors, strict=True)
        )
        bits = (one.bits_per_entry(floor) for one, floor in zip(sizes, floors, strict=True))
        _add(table, f"floor + {code} values", bits, ".2f")
        framed = [one.messages[code].nbytes for one in sizes]
        each = (one.bits_per_entry(size) for one, size in zip(sizes, framed, strict=True))
        _add(table, f"framed, {code}", each, ".2f")
        _add(table, "  in bytes", framed)
        _add(table, "  its payload over the floor", over, ".2%")
        table.add_row("  its index code", *(one.messages[code].index for one in sizes))
    table.add_section()
    for name in sizes[0].peers:
        _add(table, name, (one.bits_per_entry(one.peers[name]) for one in sizes), ",.2f")
    return table


def _network_table(sizes: Sequence[Sizes], codes: Sequence[str], profile: NetworkProfile) -> Table:
    """Return the bytes of whole messages on a network."""
    table = _density_table(f"bytes on {profile.name}", sizes)
    for code in codes:
        table.add_section()
        rows = [_message_sizes(one.messages[code], profile) for one in sizes]
        for name in rows[0]:
            _add(table, f"{name.removesuffix('_bytes')}, {code}", (row[name] or 0 for row in rows))
    return table


def _add(table: Table, name: str, numbers: Iterable[float], text: str = ",.0f") -> None:
    table.add_row(name, *(format(number, text) for number in numbers))
