"""Mutated TOML files, plans, manifests, npz files and images, and what a reader makes of each.

A reader refuses a file in one line, or reads what a second reading finds in it too.
"""

from __future__ import annotations

import io
import json
import random
import struct
import tempfile
import tomllib
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from made_plans import whole_plan
from mutated_manifests import committed_manifest, edit_manifest, make_folder, manifest_outcome
from PIL import Image

from floss_sim import load_profile, load_task
from floss_sim.errors import ConfigError
from floss_sim.network import NetworkProfile
from floss_sim.tasks.arrays import load_npz
from floss_sim.tasks.images import FORMATS, decode_images
from floss_sim.tasks.sections import TaskFile
from planner.plans.document_checks import first_difference
from planner.plans.plan_file import read_plan

KINDS = ("toml", "json", "npz", "image", "manifest")
_ROOT = Path(__file__).parents[2]
_NUMBERS = (0, -1, 1, 2, 10**9, 2**31, 2**53 + 1, 2**63 - 1, 1e308, 0.5, 1e-320)
_TOKENS = {
    "toml": (b"[", b"[[", b"{a={", b"9" * 500, b"0x" + b"f" * 600, b"a." * 300, b"\0", b"\xff",
             b'"""', b"1e999", b"nan", b"inf", b"\\u0000", b"2026-01-01", b"=", b"\n", b"''' ",
             b"[" * 5000),
    "json": (b"[", b"{", b'"', b"9" * 500, b"1e999", b"NaN", b"null", b"\\ud800", b"\\u0000",
             b"\xff", b"[" * 5000, b'{"a":' * 5000, b"-", b"true", b",", b'"\\'),
    "npz": (b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04", b"\xff" * 4, b"\0" * 8, b"\x93NUMPY"),
    "image": (b"\xff" * 4, b"\0" * 8, b"\xff\xd8\xff", b"IDAT", b"IHDR",
              b"%!PS-Adobe-3.0 EPSF-3.0\n"),
}  # fmt: skip
_TOKENS["manifest"] = _TOKENS["json"]


def seeds(kind: str) -> list[bytes]:
    """Return valid files of a kind."""
    if kind == "toml":
        packaged = [*(_ROOT / "network_profiles").glob("*.toml")]
        tasks = [*(_ROOT / "floss_sim" / "tasks").glob("*.toml")]
        return [path.read_bytes() for path in sorted(packaged) + sorted(tasks)]
    if kind == "json":
        default = _ROOT / "experiments" / "default_plan" / "plan.json"
        return [json.dumps(whole_plan().to_json()).encode(), default.read_bytes()]
    if kind == "manifest":
        with tempfile.TemporaryDirectory() as home:
            return [committed_manifest(make_folder(Path(home)))]
    return _archives() if kind == "npz" else _pictures()


def _archives() -> list[bytes]:
    made, draw = [], np.random.default_rng(0)
    for save, dtype in ((np.savez, "f4"), (np.savez_compressed, "u1"), (np.savez, ">i2")):
        file = io.BytesIO()
        x = (draw.random((6, 1, 3, 4)) * 200).astype(dtype)
        save(file, x=x if dtype != "u1" else np.asfortranarray(x), y=np.arange(6))
        made.append(file.getvalue())
    return made


def _pictures() -> list[bytes]:
    made, draw = [], np.random.default_rng(0)
    colour = Image.fromarray(draw.integers(0, 255, (9, 7, 3), dtype=np.uint8))
    pictures = {"PNG": [colour, colour.convert("P"), colour.convert("LA"), colour.convert("1")],
                "JPEG": [colour, colour.convert("L")], "PPM": [colour, colour.convert("L")],
                "TIFF": [colour, colour.convert("L")]}  # fmt: skip
    for form in FORMATS:
        for picture in pictures.get(form, [colour]):
            file = io.BytesIO()
            picture.save(file, form)
            made.append(file.getvalue())
    deflated = io.BytesIO()
    colour.save(deflated, "TIFF", compression="tiff_adobe_deflate")
    return [*made, deflated.getvalue()]


def mutants(kind: str, seed: int, count: int) -> Iterator[bytes]:
    """Yield mutated files of a kind; equal arguments give equal files."""
    draw, valid = random.Random(f"{kind} {seed}"), seeds(kind)
    for _ in range(count):
        blob = draw.choice(valid)
        yield (_FORMED[kind] if draw.random() < 0.5 else _damaged)(blob, kind, draw)


def _damaged(blob: bytes, kind: str, draw: random.Random) -> bytes:
    """Return a file with 1 to 4 edits of its bytes."""
    made = bytearray(blob)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(len(made) + 1)
        end = min(len(made), at + draw.choice((1, 2, 4, 8, 30, 200)))
        match draw.randrange(6):
            case 0:
                made[at:at] = draw.choice(_TOKENS[kind])
            case 1:
                del made[at:end]
            case 2:
                made[at:end] = draw.choice(_TOKENS[kind])
            case 3:
                made[at:end] = draw.randbytes(end - at)
            case 4:
                made[at:at] = made[at:end] * draw.choice((1, 2, 50))
            case _:
                if at < len(made):
                    made[at] ^= 1 << draw.randrange(8)
    return bytes(made[: draw.randrange(len(made) + 1)] if draw.random() < 0.05 else made)


def _formed_toml(blob: bytes, kind: str, draw: random.Random) -> bytes:
    """Return a TOML file in which the value of a line is another one."""
    lines = blob.decode().splitlines()
    at = draw.choice([i for i, line in enumerate(lines) if "=" in line])
    value = draw.choice((*_NUMBERS, "1e999", "nan", '"x"', '"200 Mbit/s"', '"-1 ms"', "[]", "{}",
                         "[[1]]", "true", '"1e308 s"', '"9e99 GB"', '"\\u0000"', "10" * 200,
                         "[" * 40 + "]" * 40, '""'))  # fmt: skip
    lines[at] = f"{lines[at].partition('=')[0]}= {value}"
    if draw.random() < 0.2:
        lines.insert(at, lines[draw.randrange(len(lines))])
    return "\n".join(lines).encode()


def _formed_json(blob: bytes, kind: str, draw: random.Random) -> bytes:
    """Return a plan in which a value is another one or missing."""
    content = json.loads(blob)
    for _ in range(draw.choice((1, 1, 2))):
        place: Any = content
        while True:
            key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not (isinstance(place[key], dict | list) and place[key]) or draw.random() < 0.1:
                break
            place = place[key]
        old = place[key]
        if draw.random() < 0.1:
            del place[key]
        elif isinstance(old, int | float) and draw.random() < 0.6:
            place[key] = draw.choice((old + 1, old - 1, old * 2, old / 2, -old, old * 1.001))
        else:
            place[key] = draw.choice((*_NUMBERS, None, True, "", "x", [], {}, [[]], "a\nb", 10**30))
    return json.dumps(content).encode()


def _formed_npz(blob: bytes, kind: str, draw: random.Random) -> bytes:
    """Return a zip that is sound but whose arrays, or sizes in its directory, are not."""
    with zipfile.ZipFile(io.BytesIO(blob)) as old:
        arrays = {name: old.read(name) for name in old.namelist()}
    name = draw.choice(sorted(arrays))
    arrays[name] = _edited_array(arrays[name], draw)
    file, pack = io.BytesIO(), draw.choice((0, 8, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(file, "w", pack) as new:
        for one, content in arrays.items():
            new.writestr(one, content)
    made = bytearray(file.getvalue())
    if draw.random() < 0.4:  # sizes, method or flags of a member in the directory
        entry = made.index(b"PK\x01\x02")
        at, width = draw.choice(((entry + 20, 4), (entry + 24, 4), (entry + 10, 2), (entry + 8, 2)))
        made[at : at + width] = draw.choice((draw.randbytes(width), b"\xff" * width, bytes(width)))
    return bytes(made)


def _edited_array(blob: bytes, draw: random.Random) -> bytes:
    """Return an array whose header says something else, at its right length."""
    text, values = blob[10 : 10 + int.from_bytes(blob[8:10], "little")].decode(), blob[128:]
    swaps = (
        ("6", str(draw.choice((0, 1, 7, 10**9, 10**19, 2**62, -1)))), ("<", ">"), ("(", "(" * 300),
        ("'<f4'", "'|O'"), ("'<f4'", "'<f8'"), ("'<f4'", "'V999999999999'"), ("'<f4'", "'<c8'"),
        ("False", "True"), ("descr", "desc"), ("'<i8'", "[('a', '<i8')]"), (")", ")" + " " * 20000),
        ("}", ""), ("'<i8'", "'<M8[s]'"), (",", ", 1,"),
    )  # fmt: skip
    changed = text.replace(*draw.choice(swaps)).encode()
    length = draw.choice((len(changed), len(changed), len(changed), 2**16 - 1))
    if draw.random() < 0.2:
        return (
            b"\x93NUMPY\x02\x00"
            + struct.pack("<I", draw.choice((length, 2**32 - 1)))
            + changed
            + values
        )
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", min(length, 2**16 - 1))
    packed = changed + values
    return head + (packed if draw.random() < 0.9 else bytes(1 << 22))


def _formed_image(blob: bytes, kind: str, draw: random.Random) -> bytes:
    """Return a PNG with another header and right checksum, a damaged picture, or another format."""
    choice = draw.randrange(4)
    if choice == 0:
        size = [draw.choice((0, 1, 9, 20_000, 2**31 - 1, 60_000)) for _ in range(2)]
        head = struct.pack(">II", *size) + bytes(
            (draw.choice((1, 2, 8, 16)), draw.choice((0, 2, 3, 4, 6)), 0, 0, 0)
        )
        chunks = [(b"IHDR", head)]
        if draw.random() < 0.3:
            chunks.append((b"zTXt", b"k\0\0" + zlib.compress(bytes(8 << 20))))
        chunks += [
            (b"IDAT", zlib.compress(bytes(draw.choice((10, 1000, 1 << 20))))),
            (b"IEND", b""),
        ]
        return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, chunks))
    if choice == 1:
        heads = (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.7\n", b"8BPS",
                 b"\xc5\xd0\xd3\xc6", b"\x53\x80\xf6\x34", b"SIMPLE  =")  # fmt: skip
        return draw.choice(heads) + blob
    return _damaged(blob, kind, draw)


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    name, content = chunk
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def _formed_manifest(blob: bytes, kind: str, draw: random.Random) -> bytes:
    """Return a manifest with other values, sealed again or not."""
    return edit_manifest(blob, draw, lambda whole: _damaged(whole, kind, draw))


_FORMED: dict[str, Callable[[bytes, str, random.Random], bytes]] = {
    "toml": _formed_toml, "json": _formed_json, "npz": _formed_npz, "image": _formed_image,
    "manifest": _formed_manifest,
}  # fmt: skip


def outcome(kind: str, blob: bytes, folder: Path) -> tuple[str, str]:
    """Return (refused, right, wrong or crashed) and a message for a file of a kind."""
    if kind == "manifest":
        run = folder / "run"
        return manifest_outcome(blob, run if run.exists() else make_folder(folder))
    path = folder / f"x.{kind}"
    path.write_bytes(blob)
    try:
        problem = _READ[kind](path)
    except ConfigError as error:
        said = str(error)
        is_line = "\n" not in said and len(said) < 1500
        return ("refused", said) if is_line else ("wrong", f"no short line: {said[:200]!r}")
    except Exception as error:
        return "crashed", f"{type(error).__name__}: {error}"[:300]
    return ("wrong", problem) if problem else ("right", "")


def _read_toml(path: Path) -> str:
    text = path.read_bytes().decode("utf-8", "replace")
    is_task = "[backbone]" in text
    read = load_task(str(path)) if is_task else load_profile(str(path))
    told = (TaskFile if is_task else NetworkProfile).model_validate(
        tomllib.loads(path.read_text(encoding="utf-8")), context={"folder": path.parent}
    )
    return "" if read.model_dump() == told.model_dump() else "read as something else"


def _read_json(path: Path) -> str:
    plan = read_plan(path)
    place = first_difference(json.loads(path.read_bytes()), json.loads(json.dumps(plan.to_json())))
    cap, best = plan.request["max_rounds"], plan.recommendation
    if best.rounds > cap or best.rounds not in [number for number, _, _ in best.curve]:
        return "rounds that contradict the plan"
    return f"{place} is read as something else" if place else ""


def _read_npz(path: Path) -> str:
    x, y = load_npz(path)
    with np.load(path, allow_pickle=False) as arrays:
        same = np.array_equal(arrays["x"].astype(np.float32), x) and np.array_equal(arrays["y"], y)
    return "" if same else "other values than numpy's"


def _read_image(path: Path) -> str:
    cell = {"bytes": None, "path": str(path)}
    pixels = decode_images(lambda: [("x", cell)], 3, 8, "x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(path)
    with image:
        if image.format not in (*FORMATS, "MPO"):
            return f"the format {image.format} was opened"
    return "" if pixels.shape == (1, 3, 8, 8) or max(pixels.shape) <= 8 else f"shape {pixels.shape}"


_READ = {"toml": _read_toml, "json": _read_json, "npz": _read_npz, "image": _read_image}
