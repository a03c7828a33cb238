"""Mutated CSV, JSON-lines and Parquet files, and what came of reading each of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from floss_sim.errors import TaskError
from floss_sim.tasks.columns import blank_rows, group_numbers, select_rows
from floss_sim.tasks.dataset_files import Reading, open_splits
from floss_sim.tasks.labels import class_numbers
from floss_sim.tasks.table_cells import CsvForm

FORMATS = ("csv", "jsonl", "parquet")
WANTED = ("text", "label", "user")
_TOKENS = {
    "csv": [b'"', b'""', b",", b";", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"label,",
            b'"\n', b"\xef\xbb\xbf", b"text", b"1" * 30, b"1,5", b"0.5", b"True", b"\xc2\x85"],
    "jsonl": [b"null", b"[]", b"{}", b"[", b"{", b'"', b"\\u", b"\\ud800", b"1e999", b"NaN",
              b"9" * 25, b'{"text":', b',"label":1', b"\n", b"\0", b"\xff", b"true", b"[" * 70,
              b"]", b"-", b"[null]", b"\xef\xbb\xbf", b"1.5", b'"user":null,', b"}{"],
    "parquet": [b"PAR1", b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"huggingface", b"\x15"],
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A broken file: its format, whether it is gzipped, and its bytes."""

    format: str
    suffix: str
    blob: bytes


def rows(count: int, seed: int) -> list[dict]:
    """Return rows of a text, a label and a user, with quotes, ends of lines and other signs."""
    draw = np.random.default_rng(seed)
    words = ["w1", "été", 'a "b"', "c,d", "e\nf", "x;y", "None", "12", "\u4e2d", ""]
    labels = [("calm", "glad", "sad"), (0, 1, 2), (True, False, True)][seed % 3]
    return [
        {
            "text": " ".join([f"t{row}", *(words[n] for n in draw.integers(0, 10, 3))]),
            "label": labels[row % 3],
            "user": f"{row % 5:04}",
            "more": [None, 1.5, {"a": [row]}][row % 3] if seed % 2 else row / 2,
        }
        for row in range(count)
    ]


@cache
def corpus(kind: str) -> tuple[bytes, ...]:
    """Return valid files of a format."""
    return tuple(_file(kind, rows(12, seed), seed) for seed in range(6))


def _file(kind: str, content: list[dict], seed: int) -> bytes:
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(
            text, list(content[0]), delimiter=",;\t"[seed % 3],
            quoting=csv.QUOTE_ALL if seed > 3 else csv.QUOTE_MINIMAL,
            lineterminator=["\r\n", "\n"][seed % 2],
        )  # fmt: skip
        writer.writeheader()
        writer.writerows(content)
        return text.getvalue().encode()
    if kind == "jsonl":
        if seed == 5:
            return json.dumps(content, indent=1).encode()
        return "".join(
            json.dumps(row, ensure_ascii=bool(seed % 2)) + "\n" for row in content
        ).encode()
    plain = [{key: row[key] for key in WANTED} for row in content]
    table = pa.Table.from_pylist(plain)
    if seed == 3:
        table = table.set_column(0, "text", table["text"].cast(pa.string_view()))
    if seed == 4:
        info = {"info": {"features": {"label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    buffer = io.BytesIO()
    pq.write_table(
        table, buffer, compression=["snappy", "none", "zstd", "gzip"][seed % 4],
        use_dictionary=seed % 2 == 0, row_group_size=5, write_page_checksum=seed == 1,
    )  # fmt: skip
    return buffer.getvalue()


def mutants(kind: str, seed: int, begin: int = 0) -> Iterator[Mutant]:
    """Yield broken files without end; number ``n`` is the same whatever ``begin`` is."""
    while True:
        draw = np.random.default_rng([seed, FORMATS.index(kind), begin])
        files = corpus(kind)
        blob = files[draw.integers(len(files))]
        packed = kind != "parquet" and draw.random() < 0.1
        inner = not packed or draw.random() < 0.7
        blob = _mutate(blob, kind, draw) if inner else gzip.compress(blob, 6, mtime=0)
        if packed:
            blob = gzip.compress(blob, 6, mtime=0) if inner else _mutate(blob, kind, draw)
        yield Mutant(kind, f".{kind}.gz" if packed else f".{kind}", blob)
        begin += 1


def _mutate(blob: bytes, kind: str, draw: np.random.Generator) -> bytes:
    changed = bytearray(blob)
    for _ in range(int(draw.choice((1, 1, 2, 4)))):
        at = int(draw.integers(len(changed) + 1))
        if kind == "parquet" and draw.random() < 0.6:  # the footer lies at the end
            at = max(0, len(changed) - int(draw.integers(1, 700)))
        size = int(draw.integers(1, 40))
        action = draw.integers(7)
        if action == 0 and changed:
            changed[min(at, len(changed) - 1)] ^= 1 << int(draw.integers(8))
        elif action == 1:
            changed[at : at + size // 8 + 1] = draw.bytes(size // 8 + 1)
        elif action == 2:
            del changed[at : at + size]
        elif action == 3:
            changed[at:at] = changed[at : at + size]
        elif action in (4, 5):
            tokens = _TOKENS[kind]
            changed[at : at + (action - 4) * size] = tokens[draw.integers(len(tokens))]
        elif draw.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def outcome(mutant: Mutant, folder: Path) -> str:
    """Return ``refused``, ``read``, ``wrong`` or the name of an error that should not occur."""
    path = folder / f"mutant{mutant.suffix}"
    path.write_bytes(mutant.blob)
    reading = Reading(frozenset(WANTED), CsvForm())
    try:
        splits = open_splits(path.name, folder, reading, config=None, revision=None, fetch=False)
        table = select_rows(splits, ["train"], "task")[0]
        blank_rows(table, "text")
        texts = [cell for batch in table.cells("text", np.arange(len(table))) for cell in batch]
        try:
            class_numbers([table], "label", 30)
            group_numbers(table, "user")
        except TaskError as error:
            _one_line(error)
    except TaskError as error:
        _one_line(error)
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    form = splits["train"].form
    expected = _EXPECTED[mutant.format](path, form.delimiter if form else None)
    if expected is None and mutant.format == "parquet":  # damage outside of the data alone
        return (
            "read" if texts in ([row["text"] for row in rows(12, n)] for n in range(6)) else "wrong"
        )
    return "read" if expected is None or texts == expected else "wrong"


def _one_line(error: TaskError) -> None:
    assert "\n" not in str(error)
    assert "task" in str(error) or "mutant" in str(error)


def _unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _csv_texts(path: Path, delimiter: str) -> list[str] | None:
    """Return the texts as pandas reads them, or None where it refuses what we read."""
    import pandas as pd

    try:
        frame = pd.read_csv(
            io.BytesIO(_unpacked(path).removeprefix(b"\xef\xbb\xbf")), sep=delimiter, dtype=str,
            keep_default_na=False, na_values=[], index_col=False,
        )  # fmt: skip
    except Exception:
        return None
    return frame["text"].fillna("").tolist()


def _json_texts(path: Path, _: str | None) -> list[str | None]:
    text = _unpacked(path).removeprefix(b"\xef\xbb\xbf").decode()
    if text.lstrip().startswith("["):
        return [row.get("text") for row in json.loads(text)]
    return [json.loads(line).get("text") for line in text.split("\n") if line.strip()]


def _parquet_texts(path: Path, _: str | None) -> list[str] | None:
    """Return the texts as Arrow reads them, or None where it refuses the statistics."""
    try:
        return pq.ParquetFile(path).read(["text"], use_threads=False)["text"].to_pylist()
    except (OSError, pa.ArrowException):
        return None


_EXPECTED: dict[str, Callable] = {
    "csv": _csv_texts, "jsonl": _json_texts, "parquet": _parquet_texts,
}  # fmt: skip


def outcomes(kind: str, seed: int, begin: int, count: int, folder: Path) -> Iterator[str]:
    """Yield what came of each of ``count`` mutants."""
    for mutant in islice(mutants(kind, seed, begin), count):
        yield outcome(mutant, folder)
