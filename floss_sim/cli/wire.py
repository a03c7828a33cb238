"""``floss-sim wire``: sizes of messages, and the contents of one message."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from floss_sim.cli import wire_table
from floss_sim.cli.console import command_app, plain_table, print_json, print_text, show_whole
from floss_sim.cli.profile_sections import print_transport
from floss_sim.cli.shared_options import JsonOption, NetworkOption
from floss_sim.cli.wire_layout import layout_of_message
from floss_sim.errors import ConfigError, PayloadError, RecordError
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.records import RunFolder
from floss_sim.units import BITS_PER_BYTE
from floss_sim.vectors.layout import Layout
from floss_sim.wire.entropy_bound import floor_bits
from floss_sim.wire.message_contents import Contents, MessagePart, contents, parts

HELP = """Show sizes of messages, and the contents of one message.

Examples:

  floss-sim wire table --entries 589824

  floss-sim wire inspect runs/first
"""
INSPECT_HELP = """Show the contents of a message: codes, entries and bytes.

The size is shown at three levels: payload (positions and values), message (with our frame and the
call's RPC framing), and link (with TLS records and TCP/IP headers, loss not included). Framed bytes
are the payload with our frame, as an encoder returns it. The bytes of setting up a connection are
listed separately.

For a run folder, the model of the last evaluated round is shown. If the layout is known, the
message is decoded, and messages of the head alone, the adapter alone, A alone and B alone are
encoded to measure their sizes. A file holds at most 256 MiB, and layouts of more than 10 million
entries are not decoded.

Examples:

  floss-sim wire inspect runs/first

  floss-sim wire inspect runs/first/model-000050.floss

  floss-sim wire inspect runs/first --network mine.toml --json

  floss-sim wire inspect upload.floss --task digits --rank 16
"""
_MOST_BYTES = 256 << 20  # of a message file
_MOST_DECODED = 10_000_000  # entries of a layout; each takes 34 bytes of memory to encode its parts
_POSITIONS = {
    "none": "no positions coded",
    "bitmap": "positions as a bitmap",
    "rice": "positions coded as gaps (rice)",
    "range": "positions coded at one density (range)",
    "tensors": "positions coded by tensor",
    "rows": "positions coded by row",
    "held": "positions coded by the held mask",
}
app = command_app(HELP)
app.command("table", help=wire_table.HELP)(wire_table.table)


@app.command(help=INSPECT_HELP)
def inspect(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A message, or a run folder to show its last model."),
    ],
    task: Annotated[
        str | None, typer.Option(help="Task of the layout; default: the task of the run folder.")
    ] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="LoRA rank; default 16.")] = None,
    network_name: NetworkOption = "paper-200-20",
    json_: JsonOption = False,
) -> None:
    """Show the contents of a message: codes, entries and bytes."""
    profile = load_profile(network_name)
    path = _last_model(file) if file.is_dir() else _checked_model(file)
    blob = _read_message(path)
    try:
        message = contents(blob)
        layout, unknown = layout_of_message(message.digest, path.parent, task, rank)
        unknown = unknown or _condition(message, layout)
        listed = parts(layout, blob) if layout and not unknown else []
    except PayloadError as error:
        raise ConfigError(f"{path}: {error}") from None
    found = _findings(path, message, layout, unknown, listed, profile)
    if json_:
        print_json(found)
    else:
        _print(found, profile)


def _last_model(path: Path) -> Path:
    models = RunFolder.read(path).check().models
    if not models:
        raise RecordError(f"{path} holds no model yet; run more rounds")
    return path / models[max(models)]


def _checked_model(path: Path) -> Path:
    """Return the path of a message; if it is a model of a run folder, after its check."""
    _check_file(path)
    if (path.parent / "run.json").exists():
        folder = RunFolder.read(path.parent)
        for number, name in folder.manifest().models.items():
            if name == path.name:
                folder.model(number)
    return path


def _check_file(path: Path) -> None:
    """Check that a path is a regular file of a message's size, before anything is read.

    Raises:
        ConfigError: There is no such file, it is not a regular one, or it is too long.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path} is not a regular file")
    if found.st_size > _MOST_BYTES:
        raise ConfigError(f"{path} is longer than {_MOST_BYTES >> 20} MiB, the limit of a message")


def _read_message(path: Path) -> bytes:
    """Return the bytes of a message.

    Raises:
        ConfigError: The file cannot be read, is not a regular one, or is too long.
    """
    _check_file(path)
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def _condition(message: Contents, layout: Layout | None) -> str:
    """Return the condition for decoding a message of a layout; empty if it is decoded here."""
    if message.needs:
        return f"only with the mask that both ends hold ({' and '.join(message.needs)})"
    if layout and layout.entries > _MOST_DECODED:
        return f"only elsewhere: layouts of more than {_MOST_DECODED:,} entries are not decoded"
    return ""


def _findings(
    path: Path,
    message: Contents,
    layout: Layout | None,
    unknown: str,
    listed: list[MessagePart],
    profile: NetworkProfile,
) -> dict[str, Any]:
    """Return all printed numbers and names as plain values; unknown ones are None."""
    transport, nbytes = profile.transport, message.nbytes
    universe = layout.entries if layout and "known" not in message.needs else None
    return {
        "file": str(path),
        "format_version": message.version,
        "layout": message.digest.hex(),
        "needs": list(message.needs),
        "not_decoded": unknown or None,
        **_sizes(message, universe),
        "frame_bytes": nbytes - message.payload_bytes,
        "network": profile.name,
        "message_bytes": transport.message_bytes(nbytes),
        "link_bytes": transport.wire_bytes(nbytes),
        "setup_bytes": transport.setup_bytes,
        "parts": [{"part": part.name, **_sizes(part.alone, part.universe)} for part in listed],
    }


def _sizes(message: Contents, universe: int | None) -> dict[str, Any]:
    """Return codes, entries and bytes of a message, and the information bound of its positions."""
    return {
        "index_code": message.index,
        "value_code": message.values,
        "value_kind": message.kind,
        "packed": message.packed,
        "entries": message.entries,
        "universe": universe,
        "density": message.entries / universe if universe else None,
        "index_bytes": message.index_bytes,
        "floor_bits": floor_bits(universe, message.entries) if universe else None,
        "value_bytes": message.value_bytes,
        "payload_bytes": message.payload_bytes,
        "framed_bytes": message.nbytes,
    }


def _print(found: Mapping[str, Any], profile: NetworkProfile) -> None:
    packed = "packed" if found["packed"] else "not packed"
    masks = " and ".join(f"a {name} mask" for name in found["needs"]) or "no mask"
    universe = found["universe"]
    among = f" of {universe:,} (density {found['density']:.4g})" if universe else ""
    print_text(f"{found['file']}: format {found['format_version']}, layout {found['layout']}")
    print_text(
        f"{_POSITIONS[found['index_code']]}, values {found['value_code']} "
        f"({found['value_kind']}, {packed}), needs {masks}"
    )
    print_text(f"{found['entries']:,} entries{among}")
    show_whole(_sizes_table(found))
    if found["parts"]:
        show_whole(_parts_table(found["parts"]))
    else:
        print_text(f"This message can be decoded {found['not_decoded']}.")
    print_transport(profile)


def _sizes_table(found: Mapping[str, Any]) -> Table:
    entries, floor = found["entries"], found["floor_bits"]
    framed = found["framed_bytes"]
    table = plain_table("", "bytes", "bits per entry", "index / floor")

    def add(name: str, nbytes: float, ratio: str = "") -> None:
        each = f"{BITS_PER_BYTE * nbytes / entries:.3f}" if entries else "-"
        table.add_row(name, f"{nbytes:,.0f}", each, ratio)

    if floor is not None:
        add("floor of the positions, log2 C(U, k)", floor / BITS_PER_BYTE)
    add("index section", found["index_bytes"], _ratio(found["index_bytes"], floor))
    add("value section", found["value_bytes"])
    table.add_section()
    add("payload", found["payload_bytes"])
    add("  + our frame", found["frame_bytes"])
    add("framed", framed)
    add("  + RPC framing", found["message_bytes"] - framed)
    add("message", found["message_bytes"])
    add("  + TLS records, TCP/IP headers", found["link_bytes"] - found["message_bytes"])
    add("link", found["link_bytes"])
    return table


def _ratio(index_bytes: int, floor: float | None) -> str:
    return f"{BITS_PER_BYTE * index_bytes / floor:.3f}" if floor else ""


def _parts_table(listed: list[dict[str, Any]]) -> Table:
    """Return the table of the sizes of a message that holds one part alone."""
    table = plain_table(
        "part alone", "entries", "sent", "density", "positions", "index", "index / floor",
        "values", "payload", "framed",
    )  # fmt: skip
    for part in listed:
        sizes = [part[f"{what}_bytes"] for what in ("value", "payload", "framed")]
        table.add_row(
            f"  {part['part']}" if part["part"] in ("A", "B") else part["part"],
            f"{part['universe']:,}",
            f"{part['entries']:,}",
            f"{part['density']:.4g}",
            part["index_code"],
            f"{part['index_bytes']:,}",
            _ratio(part["index_bytes"], part["floor_bits"]),
            *(f"{nbytes:,}" for nbytes in sizes),
        )
    return table
