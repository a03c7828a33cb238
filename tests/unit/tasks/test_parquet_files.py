"""Parquet files: plain types, images without metadata, and damaged footers."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_tasks import image_task, text_task

from floss_sim.errors import TaskError
from floss_sim.tasks.parquet_files import read_parquet
from floss_sim.tasks.parquet_footer import plain_footer

ROWS = {
    "text": [f"w{n} w1" for n in range(30)],
    "label": ["ab"[n % 2] for n in range(30)],
    "user": [f"u{n % 5}" for n in range(30)],
}


def refusal(path: Path, *wanted: str) -> str:
    with pytest.raises(TaskError) as caught:
        read_parquet(path, wanted or ("text",))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"cannot read {path}: ")


def saved(path: Path, table: pa.Table, **options) -> Path:
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), "dictionary"])
def test_texts_labels_and_groups_of_any_string_type_are_read_alike(tmp_path: Path, kind):
    plain = pa.table(ROWS)
    columns = [
        column.dictionary_encode() if kind == "dictionary" else column.cast(kind)
        for column in plain.columns
    ]
    saved(tmp_path / "plain.parquet", plain)
    saved(tmp_path / "d.parquet", pa.table(columns, plain.column_names))
    one, other = (
        text_task(tmp_path, name, data__group="user").content
        for name in ("plain.parquet", "d.parquet")
    )
    assert one.digest == other.digest
    assert one.names == other.names == ("a", "b")


def pictures(count: int) -> tuple[np.ndarray, list[bytes]]:
    pixels = np.random.default_rng(3).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    blobs = []
    for array in pixels:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "png")
        blobs.append(buffer.getvalue())
    return pixels, blobs


@pytest.mark.parametrize(
    "form", ["bytes and path", "bytes", "binary", "large", "view", "other order"]
)
def test_encoded_images_need_no_metadata(tmp_path: Path, form: str):
    pixels, blobs = pictures(12)
    cells = {
        "bytes and path": pa.array([{"bytes": b, "path": f"{n}.png"} for n, b in enumerate(blobs)]),
        "bytes": pa.array([{"bytes": b} for b in blobs]),
        "binary": pa.array(blobs),
        "large": pa.array(blobs, pa.large_binary()),
        "view": pa.array(blobs, pa.binary_view()),
        "other order": pa.array(
            [{"path": None, "bytes": b} for b in blobs],
            pa.struct({"path": pa.string(), "bytes": pa.binary()}),
        ),
    }
    saved(
        tmp_path / "d.parquet",
        pa.table({"image": cells[form], "label": [n % 2 for n in range(12)]}),
    )
    content = image_task(tmp_path, "d.parquet", test=2).content
    x = np.concatenate([part[0] for part in (content.train, content.validation, content.test)])
    order = np.random.default_rng(0).permutation(12)
    assert np.array_equal(x, pixels[order].transpose(0, 3, 1, 2))


IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.mark.parametrize(
    ("cell", "kind", "says"),
    [
        ({"bytes": None, "path": None}, IMAGE, "cannot read the image: empty"),
        (None, IMAGE, "cannot read the image: empty"),
        (None, pa.binary(), "cannot read the image: empty"),
        ({"bytes": b"x", "size": 1}, None, "column 'image' holds no images"),
        ("a.png", None, "column 'image' holds no images"),
        (1, None, "column 'image' holds no images"),
    ],
)
def test_cells_that_are_no_images_are_refused(tmp_path: Path, cell, kind, says: str):
    table = pa.table({"image": pa.array([cell] * 12, kind), "label": [n % 2 for n in range(12)]})
    saved(tmp_path / "d.parquet", table)
    with pytest.raises(TaskError, match=says):
        _ = image_task(tmp_path, "d.parquet", test=2).content


def test_a_path_alone_is_read_from_no_folder_that_depends_on_the_command(
    tmp_path: Path, monkeypatch
):
    """The picture lies in the working directory, and beside the Parquet file."""
    picture = tmp_path / "a.png"
    picture.write_bytes(pictures(1)[1][0])
    monkeypatch.chdir(tmp_path)

    def task(path: str):
        cells = pa.array([{"bytes": None, "path": path}] * 12, IMAGE)
        saved(
            tmp_path / "d.parquet", pa.table({"image": cells, "label": [n % 2 for n in range(12)]})
        )
        return image_task(tmp_path, "d.parquet", test=2)

    for path in ("a.png", "./a.png", "~/a.png"):
        with pytest.raises(
            TaskError, match=f"holds no bytes, only the path '{path}'; valid: the b"
        ):
            _ = task(path).content
    assert len(task(str(picture)).content.test[1]) == 2


@pytest.mark.parametrize("key", ["label", "user"])
def test_nan_in_a_label_or_user_is_an_empty_cell(tmp_path: Path, key: str):
    values = [float(n % 2) for n in range(30)]
    values[7] = float("nan")
    texts = [f"w{n} w1" for n in range(30)]
    columns = {"text": texts, "label": [0, 1] * 15, "user": [0.5] * 30} | {key: values}
    saved(tmp_path / "d.parquet", pa.table(columns))
    what = {"label": "label", "user": "group"}[key]
    with pytest.raises(TaskError, match=rf"row 7 \(counted from 0\): no {what} in column '{key}'"):
        _ = text_task(tmp_path, "d.parquet", data__group="user").content


def test_columns_of_one_name_are_refused_where_they_are_asked_for(tmp_path: Path):
    table = pa.table([ROWS["text"], ROWS["label"], ROWS["user"]], ["text", "label", "label"])
    saved(tmp_path / "d.parquet", table)
    found = read_parquet(tmp_path / "d.parquet", ("text", "label"))
    assert found.table.column_names == ["text"]
    assert found.columns == ("text", "label", "label")


@pytest.mark.parametrize("options", [{}, {"write_page_index": True}, {"row_group_size": 4}])
@pytest.mark.parametrize("version", ["1.0", "2.6"])
def test_the_footer_is_copied_but_for_its_statistics(tmp_path: Path, options, version: str):
    table = pa.table({**ROWS, "n": list(range(30)), "s": [{"a": [1.5]}] * 30, "b": [True] * 30})
    path = saved(tmp_path / "d.parquet", table, version=version, **options)
    copy = pq.read_metadata(pa.BufferReader(plain_footer(io.BytesIO(path.read_bytes()))))
    whole = pq.read_metadata(path)
    assert whole.row_group(0).column(0).is_stats_set
    assert not copy.row_group(0).column(0).is_stats_set
    assert not copy.row_group(0).column(0).has_offset_index
    assert copy.schema.equals(whole.schema)
    assert (copy.num_rows, copy.num_row_groups) == (whole.num_rows, whole.num_row_groups)
    assert read_parquet(path, table.column_names).table.equals(table)


def test_a_histogram_of_a_wrong_length_in_the_footer_does_not_end_the_process(tmp_path: Path):
    """Arrow 26 ends the process when such a column's sizes are asked for."""
    path = saved(tmp_path / "d.parquet", pa.table(ROWS), use_dictionary=False)
    blob = bytearray(path.read_bytes())
    footer = len(blob) - 8 - struct.unpack("<I", blob[-8:-4])[0]
    # Size statistics end in a list of the counts of two definition levels, 0 and 30.
    at = blob.index(b"\x19\x26\x00\x3c", footer)
    blob[at : at + 4] = b"\x19\x16\x3c"
    blob[-8:-4] = struct.pack("<I", len(blob) - 8 - footer)
    path.write_bytes(blob)
    assert read_parquet(path, ("text",)).table.to_pydict() == {"text": ROWS["text"]}


def test_a_damaged_footer_is_refused_in_one_line(tmp_path: Path):
    path = saved(tmp_path / "d.parquet", pa.table(ROWS))
    blob = path.read_bytes()
    for broken, says in (
        (b"", "it is too short"),
        (b"PAR1" + b"\0" * 8, "it is no Parquet file"),
        (blob[:-1], "it is no Parquet file"),
        (blob[:-4] + b"PARE", "it is encrypted"),
        (blob[:-8] + b"\xff\xff\xff\x7fPAR1", "its footer states 2147483647 bytes"),
        (blob[:-8] + b"\x09\0\0\0PAR1", "its footer"),
        (b"PAR1" + b"\x1c" * 40 + struct.pack("<I", 40) + b"PAR1", "its footer"),
    ):
        path.write_bytes(broken)
        said = refusal(path)
        assert said.startswith((says, "Couldn't deserialize thrift"))


def test_rows_that_a_file_cannot_hold_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("floss_sim.tasks.parquet_files._FREE_BYTES", 1 << 16)
    path = saved(tmp_path / "d.parquet", pa.table({"n": [7] * 1_000_000}))
    assert path.stat().st_size < 8000
    assert "its footer states 8000" in refusal(path, "n")
    assert "it holds no rows" in refusal(
        saved(tmp_path / "e.parquet", pa.table({"text": pa.array([], pa.string())}))
    )
