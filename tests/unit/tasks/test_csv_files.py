"""CSV files: cells as they are written, signs that are found, and rows that do not fit."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from small_tasks import text_task

from floss_sim.errors import TaskError
from floss_sim.tasks.csv_files import read_csv
from floss_sim.tasks.table_cells import CsvForm


def cells(path: Path, *wanted: str, form: CsvForm | None = None) -> dict[str, list[str]]:
    return read_csv(path, wanted, form or CsvForm()).table.to_pydict()


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def refusal(path: Path, *wanted: str) -> str:
    with pytest.raises(TaskError) as caught:
        read_csv(path, wanted or ("text",), CsvForm())
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"cannot read {path}: ")


def content_refusal(task) -> str:
    with pytest.raises(TaskError) as caught:
        _ = task.content
    assert "\n" not in str(caught.value)
    return str(caught.value)


# cells


def test_every_cell_is_the_text_that_stands_there(tmp_path: Path):
    kinds = [
        "0042",
        "42",
        "True",
        "TRUE",
        "None",
        "NA",
        "nan",
        "",
        " x ",
        "1e3",
        "1.0",
        "2011-01-02",
    ]
    path = write(tmp_path / "d.csv", "text,n", *(f"{kind},{n}" for n, kind in enumerate(kinds)))
    assert cells(path, "text")["text"] == kinds


def test_quotes_line_ends_and_signs_in_quotes_belong_to_cells(tmp_path: Path):
    path = tmp_path / "d.csv"
    path.write_bytes(b'text,n\r\n"a,b",1\r\n"say ""x""",2\r"two\r\nlines",3\n\n  \nplain "q",4')
    assert cells(path, "text")["text"] == ["a,b", 'say "x"', "two\r\nlines", 'plain "q"']


def test_signs_that_other_line_splitters_take_for_ends_are_text(tmp_path: Path):
    text = "a\x0bb\x0c\x1c\x1d\x1e\x85\u2028\u2029c"
    assert cells(write(tmp_path / "d.csv", "text,n", f"{text},1"), "text")["text"] == [text]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"\xef\xbb\xbftext,n\nw1,1\n")
    assert cells(path, "text") == {"text": ["w1"]}


def test_a_cell_longer_than_the_parsers_limit_is_read_and_the_limit_stays(tmp_path: Path):
    import csv

    before = csv.field_size_limit()
    long = "w" * (before + 10)
    assert cells(write(tmp_path / "d.csv", "text,n", f"{long},1"), "text")["text"] == [long]
    assert csv.field_size_limit() == before


def test_missing_last_cells_are_empty(tmp_path: Path):
    assert cells(write(tmp_path / "d.csv", "text,label", "w1"), "label") == {"label": [""]}


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (b"", "it holds no rows"),
        (b"text,n\n", "it holds no rows"),
        (b"text,n\na,1\nb,2,3\n", "line 3 has 3 cells, more than the header's 2"),
        (b'text,n\n"a\nb",1\nb,2,3\n', "line 4 has 3 cells, more than the header's 2"),
        (b'text,n\na,1\n"b,2\nc,3\n', "line 3: a quotation is opened there and never closed"),
        (b"text,n\na,1\n\xff,2\n", "line 3 is not UTF-8"),
        ("text,n\na,1\n".encode("utf-16"), "line 1 is not UTF-8"),
        (b",".join(b"c%d" % n for n in range(10_001)) + b"\n1", "its header has 10001 columns"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_its_line(tmp_path: Path, blob: bytes, says: str):
    (tmp_path / "d.csv").write_bytes(blob)
    assert refusal(tmp_path / "d.csv").startswith(says)


def test_a_gzipped_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("floss_sim.tasks.unpacked_bytes._FREE_BYTES", 1 << 16)
    path = tmp_path / "d.csv.gz"
    path.write_bytes(gzip.compress(b"text,n\n" + b"w1,1\n" * 100_000))
    assert "unpacks to more than 200 times its size" in refusal(path)
    path.write_bytes(gzip.compress(b"text,n\n" + b"w1,1\n" * 10))
    assert len(cells(path, "text")["text"]) == 10
    path.write_bytes(gzip.compress(b"text,n\nw1,1\n")[:-9])
    assert refusal(path)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("floss_sim.tasks.unpacked_bytes.MAX_LINE_BYTES", 100)
    assert "line 2 is longer than 100 bytes" in refusal(
        write(tmp_path / "d.csv", "text,n", "w" * 200)
    )


# signs


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_gives_the_columns_asked_for(tmp_path: Path, sign: str):
    path = write(tmp_path / "d.csv", sign.join(("id", "text", "label")), sign.join("1ab"))
    found = read_csv(path, ("text", "label"), CsvForm())
    assert found.table.to_pydict() == {"text": ["a"], "label": ["b"]}
    assert found.form == CsvForm(sign, "")


def test_a_stated_delimiter_is_used_and_a_header_of_other_names_shows_its_columns(tmp_path: Path):
    path = write(tmp_path / "d.csv", "a:b", "1:2")
    assert cells(path, "b", form=CsvForm(":")) == {"b": ["2"]}
    assert read_csv(write(tmp_path / "e.csv", "a;b", "1;2"), ("text",), CsvForm()).columns == (
        "a",
        "b",
    )


@pytest.mark.parametrize(
    ("rows", "sign"),
    [
        (("a;1,5", "b;2"), ","),
        (("a;1.5", "b;2"), "."),
        (("a;1", "b;2"), ""),
        (("a;1.5", "b;2,5"), ""),
        (("a;1,5x", "b;1.5.2012"), ""),
    ],
)
def test_the_decimal_sign_is_that_of_the_numbers(tmp_path: Path, rows, sign: str):
    path = write(tmp_path / "d.csv", "text;n", *rows)
    assert read_csv(path, ("text",), CsvForm()).form == CsvForm(";", sign)
    stated = read_csv(path, ("text",), CsvForm(";", ".")).form
    assert stated == CsvForm(";", ".", decimal_stated=True)


@pytest.mark.parametrize("sign", ["", "ab", '"', "\n"])
def test_a_delimiter_is_one_character(tmp_path: Path, sign: str):
    with pytest.raises(TaskError, match=r"data\.delimiter: must be one character"):
        text_task(tmp_path, "d.csv", data__delimiter=sign)


# labels and groups of CSV files


def table(path: Path, labels: list[str], users: list[str] | None = None) -> None:
    users = users or ["u"] * len(labels)
    lines = (f"w{n % 40} w1,{a},{b}" for n, (a, b) in enumerate(zip(labels, users, strict=True)))
    write(path, "text,label,user", *lines)


def classes(task) -> tuple[tuple[str, ...], set[int]]:
    content = task.content
    parts = (content.train, content.validation, content.test)
    return content.names, {int(y) for part in parts for y in part[1]}


def test_labels_do_not_change_their_kind_after_many_rows(tmp_path: Path):
    """Readers that guess a type for every 10,000 rows make True and true two classes."""
    labels = [["True", "False", "Unknown"][n % 3] for n in range(10_000)]
    table(tmp_path / "d.csv", labels + ["True", "False"] * 1000)
    assert classes(text_task(tmp_path, "d.csv")) == (("False", "True", "Unknown"), {0, 1, 2})


def test_a_user_stays_one_client_after_many_rows(tmp_path: Path):
    users = [["0042", "guest"][n % 2] for n in range(10_000)] + ["0042"] * 50
    table(tmp_path / "d.csv", ["1"] * len(users), users)
    task = text_task(tmp_path, "d.csv", kind="next-token", data__group="user")
    assert set(task.content.groups.tolist()) == {0, 1}


def test_users_of_several_spellings_of_a_number_are_several(tmp_path: Path):
    table(tmp_path / "d.csv", ["1"] * 40, [["42", "042", "42.0", " 42"][n % 4] for n in range(40)])
    task = text_task(tmp_path, "d.csv", kind="next-token", data__group="user")
    assert len(set(task.content.groups.tolist())) == 4


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (["0", "1", "11"], (), {0, 1, 11}),
        (["00", "+1", " 2"], (), {0, 1, 2}),
        (["True", "FALSE", "true"], (), {0, 1}),
        (["1", "2", "x"], ("1", "2", "x"), {0, 1, 2}),
        (["10", "9", "x"], ("10", "9", "x"), {0, 1, 2}),
        (["0.5", "1", "high"], ("0.5", "1", "high"), {0, 1, 2}),
    ],
)
def test_labels_are_numbers_if_all_of_them_are(tmp_path: Path, labels, names, numbers):
    table(tmp_path / "d.csv", [labels[n % 3] for n in range(30)])
    assert classes(text_task(tmp_path, "d.csv", classes=12)) == (names, numbers)


@pytest.mark.parametrize("label", ["0.5", "0,5", "1e3", "1.0", "9" * 19, "9" * 5000])
def test_numbers_that_are_not_whole_are_no_labels(tmp_path: Path, label: str):
    table(tmp_path / "d.csv", ["1"] * 17 + [f'"{label}"'] + ["1"] * 12)
    said = content_refusal(text_task(tmp_path, "d.csv"))
    assert "split 'train', row 17 (counted from 0): label '" in said
    assert "is not a whole number of 64 bits" in said


def test_a_stated_decimal_sign_makes_the_other_one_a_name(tmp_path: Path):
    table(tmp_path / "d.csv", [["1.5", "2.0"][n % 2] for n in range(30)])
    assert classes(text_task(tmp_path, "d.csv", data__decimal=","))[0] == ("1.5", "2.0")
    assert "is not a whole number" in content_refusal(
        text_task(tmp_path, "d.csv", data__decimal=".")
    )


def test_files_of_one_split_may_have_different_signs_and_all_are_known(tmp_path: Path):
    (tmp_path / "d").mkdir()
    write(tmp_path / "d" / "a.csv", "text,label,x", *(f"w{n} w1,{n % 3},1.5" for n in range(15)))
    write(tmp_path / "d" / "b.csv", "text;label;x", *(f"w{n} w1;{n % 3};1" for n in range(15)))
    content = text_task(tmp_path, "d").content
    assert dict(content.files.rows) == {"train": 30}
    assert dict(content.files.csv) == {"train": CsvForm(",;", ".")}
    write(tmp_path / "d" / "b.csv", "text;label;x", *(f"w{n} w1;{n % 3};1,5" for n in range(15)))
    assert dict(text_task(tmp_path, "d").content.files.csv) == {"train": CsvForm(",;", "")}


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
@pytest.mark.parametrize("key", ["label", "user"])
def test_an_empty_label_or_user_is_refused_by_its_row(tmp_path, name: str, blank: str, key: str):
    import json

    values = [{"text": f"w{n} w1", "label": "a", "user": "u"} for n in range(30)]
    values[7][key] = blank
    lines = [json.dumps(row) for row in values]
    if name == "d.csv":
        lines = ["text,label,user", *(",".join(row.values()) for row in values)]
    write(tmp_path / name, *lines)
    said = content_refusal(text_task(tmp_path, name, data__group="user"))
    what = {"label": "label", "user": "group"}[key]
    assert f"split 'train', row 7 (counted from 0): no {what} in column '{key}'" in said


@pytest.mark.parametrize("key", ["data.input", "data.label", "data.group", "data.split_column"])
def test_a_column_that_stands_twice_is_refused_where_it_is_asked_for(tmp_path: Path, key: str):
    write(tmp_path / "d.csv", "text,label,other,other", *(f"w{n} w1,1,2,3" for n in range(30)))
    assert len(text_task(tmp_path, "d.csv").content.train[1]) == 22
    changes = {key.replace(".", "__"): "other"}
    if key == "data.split_column":
        changes["data__test"] = "2"
    said = content_refusal(text_task(tmp_path, "d.csv", **changes))
    assert f"{key} is 'other', but 2 columns have this name" in said


def test_names_of_columns_are_shown_in_one_line(tmp_path: Path):
    write(tmp_path / "d.csv", 'text,"la\nbel"', *(f"w{n} w1,1" for n in range(30)))
    said = content_refusal(text_task(tmp_path, "d.csv"))
    assert r"no such column; columns: text, 'la\nbel'" in said
    names = ",".join(f"c{n}" for n in range(99))
    write(tmp_path / "d.csv", f"text,{names}", *(f"w{n} w1" for n in range(30)))
    assert content_refusal(text_task(tmp_path, "d.csv")).endswith("c48 and 50 more")
