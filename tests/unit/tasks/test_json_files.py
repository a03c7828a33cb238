"""JSON lines and lists of objects: values as they are, limits, and lines that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from floss_sim.errors import TaskError
from floss_sim.tasks.json_files import MAX_DEPTH, read_json

GOOD = b'{"text": "w1", "label": 1}\n'


def read(tmp_path: Path, blob: bytes, *wanted: str, name: str = "d.jsonl"):
    (tmp_path / name).write_bytes(blob)
    return read_json(tmp_path / name, wanted or ("text", "label"))


def refusal(tmp_path: Path, blob: bytes, name: str = "d.jsonl") -> str:
    with pytest.raises(TaskError) as caught:
        read(tmp_path, blob, name=name)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"cannot read {tmp_path / name}: ")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"null\n", "line 2 is not a JSON object"),  # ends the process in Arrow's parser
        (b"null", "line 2 is not a JSON object"),
        (b"true\n", "line 2 is not a JSON object"),
        (b'"a"\n', "line 2 is not a JSON object"),
        (b"[]\n", "line 2 is not a JSON object"),
        (b"{]\n", "line 2 is not JSON: Expecting property name"),
        (GOOD[:-1] + GOOD, "line 2 is not JSON: Extra data at character 27"),
        (b'{"label": NaN}\n', "line 2 holds NaN, which is not JSON"),
        (b'{"label": -Infinity}\n', "line 2 holds -Infinity, which is not JSON"),
        (b'{"label": ' + b"9" * 5000 + b"}\n", "line 2 holds a number of more than 400 digits"),
        (b'{"more": ' + b"[" * 64 + b"]" * 64 + b"}\n", "line 2 is nested deeper than 64"),
        (b"[" * 100_000, "line 2 is nested deeper than 64"),
        (b'{"' + b"k" * 1001 + b'": 1}\n', "the key 'kkkkkkkkkkkkkkkkkkkk'... is longer"),
        (b'{"text": "\xff"}\n', "line 2 is not UTF-8"),
        (b'{"label": 99999999999999999999}\n', "a number exceeds 64 bits"),
        (b'{"text": "\\ud800"}\n', "a text holds half of a surrogate pair"),
        (json.dumps({f"k{n}": 1 for n in range(10_001)}).encode(), "its rows have more than 10000"),
    ],
)
def test_a_line_that_is_no_row_is_refused_by_its_number(tmp_path: Path, line: bytes, says: str):
    assert refusal(tmp_path, GOOD + line).startswith(says)


@pytest.mark.parametrize(
    "blob", [b"null\n", b"null", b"", b"\n\n", b"[]", b"{}\n", b"[null]", b" "]
)
def test_a_file_without_rows_is_refused(tmp_path: Path, blob: bytes):
    assert refusal(tmp_path, blob)
    assert refusal(tmp_path, blob, "d.json")


def test_brackets_in_texts_are_not_nested(tmp_path: Path):
    row = {"text": "[" * 500 + '"\\' + "{" * 500, "label": 1}
    assert read(tmp_path, json.dumps(row).encode()).table.to_pylist() == [row]
    deep = b'{"text": "a", "more": ' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert read(tmp_path, deep, "text").table.to_pylist() == [{"text": "a"}]


def test_values_keep_their_kind_over_all_rows(tmp_path: Path):
    rows = [{"text": f"2011-01-{n % 28 + 1:02}", "label": n} for n in range(20_001)]
    rows[-1]["label"] = 0.5
    found = read(tmp_path, "\n".join(map(json.dumps, rows)).encode())
    assert [str(kind) for kind in found.table.schema.types] == ["string", "double"]
    assert found.table["text"].to_pylist() == [row["text"] for row in rows]


@pytest.mark.parametrize("other", ["a", True, [1], {"a": 1}])
@pytest.mark.parametrize("at", [1, 20_000])
def test_a_column_of_several_kinds_is_named_with_them(tmp_path: Path, other, at: int):
    rows = [{"text": "w1", "label": 1} for _ in range(20_001)]
    rows[at]["label"] = other
    found = read(tmp_path, "\n".join(map(json.dumps, rows)).encode())
    assert found.table.column_names == ["text"]
    assert set(found.mixed["label"].split(", ")) == {"int", type(other).__name__}


def test_missing_keys_are_nulls_and_blank_lines_no_rows(tmp_path: Path):
    found = read(tmp_path, b'\n{"text": "a"}\n \r\n{"label": 2}\r\n')
    assert found.table.to_pydict() == {"text": ["a", None], "label": [None, 2]}


@pytest.mark.parametrize("twin", ['"label": 2', r'"l\u0061bel": 2'])
@pytest.mark.parametrize("listed", [False, True])
def test_a_key_that_stands_twice_is_no_column(tmp_path: Path, twin: str, listed: bool):
    row = f'{{"text": "\\"label\\" \\"label\\"", "label": 1, {twin}, "in": {{"text": 1}}}}'
    blob = f"[{row}]" if listed else row
    found = read(tmp_path, blob.encode())
    assert found.table.column_names == ["text"]
    assert found.columns.count("label") == 2
    assert found.columns.count("text") == 1


@pytest.mark.parametrize("name", ["d.json", "d.jsonl"])
def test_a_list_of_objects_is_read_like_lines(tmp_path: Path, name: str):
    rows = [{"text": "w1", "label": 1, "in": {"a": [{"b": 1}]}}, {"text": "w2", "label": None}]
    for text in (json.dumps(rows), json.dumps(rows, indent=2), " \n" + json.dumps(rows)):
        found = read(tmp_path, text.encode(), "text", "label", "in", name=name)
        assert [row["text"] for row in found.table.to_pylist()] == ["w1", "w2"]
        assert found.table["in"].to_pylist()[0] == {"a": [{"b": 1}]}
    assert "item 1 (counted from 0) of its list" in refusal(tmp_path, b'[{"text": "a"}, 3]', name)
