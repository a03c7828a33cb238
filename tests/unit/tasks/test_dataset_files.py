"""Data through the library of data sets: small local files of every kind, read and refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from floss_sim.errors import TaskError
from floss_sim.tasks import TaskData, load_task

TASK = """\
name = "texts"
kind = "text-classification"
[data]
dataset = "rows.jsonl"
input = "words"
label = "mood"
classes = 3
validation = 6
test = 4
[backbone]
model = "backbone"
[preprocess]
max_length = 5
[partition]
clients = 4
law = "iid"
[lora]
targets = ["all"]
alpha = 16
[client]
learning_rate = 0.05
momentum = 0.9
batch_size = 16
epochs = 2
[server]
optimizer = "fedadam"
learning_rate = 5e-3
cohort = 4
"""
WORDS = [f"w{number}" for number in range(40)]
CONFIG = {"model_type": "gpt2", "n_positions": 8, "vocab_size": len(WORDS) + 4}
Rows = list[dict[str, Any]]
Write = Callable[..., TaskData]


def rows(count: int = 40) -> Rows:
    """Return texts of 2, 3 or 4 words whose first word tells which row it is."""
    return [
        {
            "words": " ".join([f"w{row}", *["w0"] * (1 + row % 3)]),
            "mood": row % 3,
            "who": f"user {row % 8}",
        }
        for row in range(count)
    ]


def make_tokenizer(template: bool = False) -> Tokenizer:
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3}
    vocabulary |= {word: 4 + number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    return tokenizer


def save(path: Path, content: Rows) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(content[0]))
            writer.writeheader()
            writer.writerows(content)
    elif path.suffix == ".json":
        path.write_text(json.dumps(content), encoding="utf-8")
    else:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in content)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a task's folder and returns the path of its TOML file."""

    def made(
        *changes: tuple[str, str],
        content: Rows | None = None,
        name: str = "rows.jsonl",
        config: dict[str, Any] | None = None,
        template: bool = False,
    ) -> str:
        (tmp_path / "backbone").mkdir(exist_ok=True)
        (tmp_path / "backbone" / "config.json").write_text(json.dumps(config or CONFIG))
        make_tokenizer(template).save(str(tmp_path / "backbone" / "tokenizer.json"))
        save(tmp_path / name, rows() if content is None else content)
        text = TASK.replace("rows.jsonl", name)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "texts.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return made


def refusal(path: str) -> str:
    with pytest.raises(TaskError) as caught:
        _ = load_task(path).content
    assert "\n" not in str(caught.value)
    return str(caught.value)


def row_numbers(x: np.ndarray, first: int = 0) -> list[int]:
    """Return which rows of ``rows()`` token ids came from."""
    return [int(ids[first]) - 4 for ids in x]


# formats


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.csv", "rows.parquet"]
)
def test_every_format_gives_the_same_tokens_labels_and_split(write, name: str):
    content = load_task(write(name=name)).content
    parts = (content.train, content.validation, content.test)
    assert [len(y) for _, y in parts] == [30, 6, 4]
    order = np.random.default_rng(0).permutation(40)
    assert [row for x, _ in parts for row in row_numbers(x)] == order.tolist()
    for x, y in parts:
        assert (x.dtype, x.shape[1], y.dtype) == (np.int32, 4, np.int64)
        for ids, label, row in zip(x, y, row_numbers(x), strict=True):
            length = 2 + row % 3
            assert label == row % 3
            assert ids[1:length].tolist() == [4] * (length - 1)
            assert ids[length:].tolist() == [-1] * (4 - length)
    assert content.groups is None


def test_a_folder_of_files_is_a_data_set_with_its_own_splits(write, tmp_path: Path):
    path = write(('dataset = "rows.jsonl"', 'dataset = "folder"'), ("test = 4", 'test = "test"'))
    (tmp_path / "folder").mkdir()
    save(tmp_path / "folder" / "train.jsonl", rows(30))
    save(tmp_path / "folder" / "test.jsonl", rows(40)[30:])
    content = load_task(path).content
    assert row_numbers(content.test[0]) == list(range(30, 40))
    assert len(content.train[1]) == 24


def test_reading_leaves_nothing_in_the_cache_and_says_nothing(write, monkeypatch, tmp_path, capfd):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "cache" / "d")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    path = write(name="rows.jsonl.gz")
    before = sorted(tmp_path.rglob("*"))
    assert len(load_task(path).content.train[1]) == 30
    assert [p for p in sorted(tmp_path.rglob("*")) if p not in before] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "blob", "says"),
    [
        ("none.csv", None, "no such file"),
        ("none/none/none", None, "no such file"),
        ("data.pkl", b"\x80\x04.", "unknown format; valid: .npz, .csv, .csv.gz, .json"),
        ("rows.parquet.gz", b"\x1f\x8b", "unknown format"),
        ("bad.parquet", b"PAR1", "cannot read"),
        ("bad.jsonl", b"{]\n", "cannot read"),
        ("bad.jsonl.gz", b"nothing zipped", "cannot read"),
        ("empty.csv", b"", "cannot read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_its_name(
    write, tmp_path, capfd, name, blob, says
):
    path = write(('"rows.jsonl"', f'"{name}"'))
    if blob is not None:
        (tmp_path / name).write_bytes(blob)
    assert says in refusal(path)
    assert name in refusal(path)
    assert capfd.readouterr() == ("", "")


def test_header_and_rows_of_a_csv_may_end_in_a_comma_alike(write, tmp_path: Path):
    path = write(name="rows.csv")
    plain = load_task(path).content
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    (tmp_path / "rows.csv").write_text("".join(f"{line},\n" for line in lines))
    assert load_task(path).content.digest == plain.digest


@pytest.mark.parametrize(
    ("rows_", "says"),
    [
        ("w1 w0,1,\nw2 w0,2,\n", "line 2 has 3 cells, more than the header's 2"),
        ("w1, w0,1\nw2, w0,2\n", "line 2 has 3 cells, more than the header's 2"),
        ("w1, w0,1\nw2 w0,2\n", "line 2 has 3 cells, more than the header's 2"),
        ("w1 w0,1\nw2, w0,2\n", "line 3 has 3 cells, more than the header's 2"),
        ("", "holds no rows"),
    ],
)
def test_a_csv_whose_rows_do_not_fit_its_header_is_refused(write, tmp_path, capfd, rows_, says):
    (tmp_path / "wide.csv").write_text("words,mood\n" + rows_)
    said = refusal(write(('"rows.jsonl"', '"wide.csv"')))
    assert said == f"cannot read {tmp_path / 'wide.csv'}: {said.split(': ', 1)[1]}"
    assert says in said
    (tmp_path / "folder").mkdir()
    save(tmp_path / "folder" / "train.csv", rows(30))
    (tmp_path / "folder" / "test.csv").write_text("words,mood\n" + rows_)
    said = refusal(write(('"rows.jsonl"', '"folder"'), ("test = 4", 'test = "test"')))
    assert said.startswith(f"cannot read {tmp_path / 'folder' / 'test.csv'}: ")
    assert says in said
    assert capfd.readouterr() == ("", "")


def test_the_words_none_and_na_are_texts_in_a_folder_too(write, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    save(tmp_path / "folder" / "train.csv", [{**row, "words": "NA"} for row in rows(30)])
    assert len(load_task(write(('"rows.jsonl"', '"folder"'))).content.train[1]) == 20


def test_files_of_different_columns_are_refused_with_those_columns(write, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    save(tmp_path / "folder" / "train-0.csv", rows(30))
    save(tmp_path / "folder" / "train-1.csv", [{"text": "w1", "mood": 1, "who": "a"}])
    said = refusal(write(('"rows.jsonl"', '"folder"')))
    assert "its files have different columns; missing in some files: text, words" in said
    (tmp_path / "folder" / "train-1.csv").rename(tmp_path / "folder" / "test.csv")
    said = refusal(write(('"rows.jsonl"', '"folder"'), ("test = 4", 'test = "test"')))
    assert "split 'test': data.input is 'words', but there is no such column" in said
    assert "columns: text, mood, who" in said
    splits = 'test = "user 1"\nsplit_column = "who"'
    said = refusal(write(('"rows.jsonl"', '"folder"'), ("test = 4", splits)))
    assert "splits have different columns; missing in some: text, words" in said


# columns


@pytest.mark.parametrize("old", ['input = "words"', 'label = "mood"'])
def test_a_missing_column_is_refused_with_those_that_exist(write, old: str):
    key = f"data.{old.split()[0]}"
    said = refusal(write((old, old.replace(' = "', ' = "no '))))
    assert f"{key} is 'no " in said
    assert "columns: words, mood, who" in said
    assert f"{key} is missing; columns: words, mood, who" in refusal(write((old, "")))


def test_strings_are_classes_in_sorted_order(write):
    content = [{**row, "mood": ["sad", "glad", "calm"][row["mood"]]} for row in rows()]
    x, y = load_task(write(content=content)).content.train
    assert y.tolist() == [[2, 1, 0][row % 3] for row in row_numbers(x)]


def test_more_strings_than_classes_are_refused(write):
    content = [{**row, "mood": f"mood {row['mood']}"} for row in rows()]
    assert (
        "holds 3 different labels ('mood 0', 'mood 1', 'mood 2'); data.classes is 2"
    ) in refusal(write(("classes = 3", "classes = 2"), content=content))
    content = [{**row, "mood": f"m{number:02}"} for number, row in enumerate(rows())]
    assert "40 different labels ('m00', 'm01', " in refusal(write(content=content))
    assert "'m09' and 30 more); data.classes is 3" in refusal(write(content=content))


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        (3, "split 'train', row 17 (counted from 0): label 3 is outside 0 to 2 (data.classes)"),
        (-1, "row 17 (counted from 0): label -1 is outside 0 to 2 (data.classes)"),
        (None, "split 'train', row 17 (counted from 0): no label in column 'mood'"),
        (0.5, "column 'mood' holds double; labels are whole numbers or strings"),
    ],
)
def test_a_bad_label_is_refused_by_its_row(write, mood, says: str):
    content = rows()
    content[17]["mood"] = mood
    assert says in refusal(write(content=content))


@pytest.mark.parametrize("blank", ["", " \t"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_blank_label_is_no_class(write, name: str, blank: str):
    content = [{**row, "mood": ["sad", "glad"][row["mood"] % 2]} for row in rows()]
    content[17]["mood"] = blank
    said = refusal(write(name=name, content=content))
    assert "split 'train', row 17 (counted from 0): no label in column 'mood'" in said


def test_an_unsigned_label_is_shown_as_it_is(write, tmp_path: Path):
    path = write(name="rows.parquet")
    table = pa.Table.from_pylist(rows())
    moods = pa.array([2**64 - 1] * len(table), pa.uint64())
    pq.write_table(table.set_column(1, "mood", moods), tmp_path / "rows.parquet")
    assert f"label {2**64 - 1} is outside 0 to 2" in refusal(path)


def test_the_names_of_the_classes_are_known_by_number(write):
    content = [{**row, "mood": ["sad", "glad", "calm"][row["mood"]]} for row in rows()]
    assert load_task(write(content=content)).content.names == ("calm", "glad", "sad")
    assert load_task(write()).content.names == ()


def test_groups_number_the_training_examples_by_a_column(write):
    task = load_task(write(('label = "mood"', 'label = "mood"\ngroup = "who"')))
    groups = task.content.groups
    assert groups is not None and groups.dtype == np.int64
    owners = [row % 8 for row in row_numbers(task.content.train[0])]
    assert len(set(zip(groups.tolist(), owners, strict=True))) == len(set(owners))
    assert sorted(set(groups.tolist())) == list(range(len(set(owners))))


def test_groups_are_part_of_the_digest(write):
    plain = load_task(write()).content.digest
    assert load_task(write(("classes", 'group = "who"\nclasses'))).content.digest != plain


def test_a_row_of_nobody_is_refused(write):
    content = rows()
    content[5]["who"] = None
    said = refusal(write(("classes", 'group = "who"\nclasses'), content=content))
    assert "split 'train', row 5 (counted from 0): no group in column 'who'" in said
    content = [{**row, "who": {"name": row["who"]}} for row in rows()]
    said = refusal(write(("classes", 'group = "who"\nclasses'), content=content))
    assert "column 'who' (data.group) holds struct<name: string>, which cannot name groups" in said


# the split


STRATIFIED = ("validation = 6", 'validation = 6\nsplit = "stratified"')


def test_texts_are_stratified_by_their_classes_and_their_order(write):
    """36 texts of three classes in turn; a sixth of each class is two texts."""
    task = load_task(write(STRATIFIED, ("test = 4", "test = 6"), content=rows(36)))
    found = task.content
    parts = (found.train, found.validation, found.test)
    assert [np.bincount(y).tolist() for _, y in parts] == [[8] * 3, [2] * 3, [2] * 3]
    numbers = [row_numbers(x) for x, _ in parts]
    assert sorted(row for part in numbers for row in part) == list(range(36))
    assert [sum(row < 18 for row in part) for part in numbers] == [12, 3, 3]


def test_the_classes_of_a_stratified_split_are_those_of_the_texts_that_are_not_empty(write):
    content = rows(36)
    for row in range(0, 36, 3):
        content[row]["words"] = ""
    drop = ("test = 4", "test = 4\ndrop_empty = true")
    found = load_task(write(STRATIFIED, drop, content=content)).content
    parts = (found.train, found.validation, found.test)
    assert [np.bincount(y).tolist() for _, y in parts] == [[0, 7, 7], [0, 3, 3], [0, 2, 2]]


def test_texts_without_classes_are_stratified_by_their_order(write):
    changes = [
        ("text-classification", "next-token"),
        ('label = "mood"\n', ""),
        ("classes = 3\n", ""),
        ("test = 4", "test = 6"),
    ]
    found = load_task(write(STRATIFIED, *changes, content=rows(36))).content
    assert np.diff(np.sort(row_numbers(found.test[0]))).tolist() == [6] * 5


def test_beside_a_named_test_split_validation_alone_is_stratified(write):
    content = [{**row, "part": "fit"} for row in rows(36)]
    content += [{**row, "part": "held"} for row in rows(4)]
    changes = [("classes = 3", 'classes = 3\nsplit_column = "part"\ntrain = "fit"')]
    changes.append(("test = 4", 'test = "held"'))
    found = load_task(write(STRATIFIED, *changes, content=content)).content
    assert np.bincount(found.validation[1]).tolist() == [2, 2, 2]
    assert row_numbers(found.test[0]) == [0, 1, 2, 3]


def test_a_column_divides_into_splits(write):
    content = [{**row, "part": "held out" if i % 4 == 0 else "fit"} for i, row in enumerate(rows())]
    change = ("test = 4", 'test = "held out"\ntrain = "fit"\nsplit_column = "part"')
    found = load_task(write(change, content=content)).content
    assert row_numbers(found.test[0]) == list(range(0, 40, 4))
    assert found.test[1].tolist() == [row % 3 for row in range(0, 40, 4)]
    fit = row_numbers(found.train[0]) + row_numbers(found.validation[0])
    assert sorted(fit) == [row for row in range(40) if row % 4]
    assert len(found.validation[1]) == 6


def test_rows_of_another_usual_split_are_counted(write):
    names = ["train", "test", "val", "val"]
    content = [{**row, "part": names[i % 4]} for i, row in enumerate(rows())]
    change = ("test = 4", 'test = "test"\nsplit_column = "part"\ntrain = "train"')
    found = load_task(write(change, ("validation = 6", "validation = 2"), content=content)).content
    assert [len(y) for _, y in (found.train, found.validation, found.test)] == [8, 2, 10]
    assert dict(found.files.unused) == {"val": 20}
    assert dict(load_task(write()).content.files.unused) == {}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            "other",
            "row 9 (counted from 0): 'other' in column 'part' (data.split_column) is no split",
        ),
        ("Fit", "row 9 (counted from 0): 'Fit' in column 'part' (data.split_column) is no split"),
        ("", "row 9 (counted from 0): no split in column 'part'"),
        (" ", "row 9 (counted from 0): no split in column 'part'"),
        (None, "row 9 (counted from 0): no split in column 'part'"),
    ],
)
def test_a_row_of_no_split_is_refused(write, value, says: str):
    content = [{**row, "part": "held" if i % 4 == 0 else "fit"} for i, row in enumerate(rows())]
    content[9]["part"] = value
    change = ("test = 4", 'test = "held"\ntrain = "fit"\nsplit_column = "part"')
    said = refusal(write(change, content=content))
    assert says in said
    assert value != "other" or said.endswith("valid: fit, held")


def test_a_column_of_objects_divides_nothing(write):
    content = [{**row, "part": {"is": "fit"}} for row in rows()]
    change = ("test = 4", 'test = "held out"\nsplit_column = "part"')
    said = refusal(write(change, content=content))
    assert "column 'part' (data.split_column) holds struct<is: string>" in said


def test_rows_are_counted_within_the_rows_of_their_split(write):
    content = [{**row, "part": "held" if i % 4 == 0 else "fit"} for i, row in enumerate(rows())]
    content[8]["mood"] = 7
    change = ("test = 4", 'test = "held"\ntrain = "fit"\nsplit_column = "part"')
    said = refusal(write(change, content=content))
    assert "rows of part 'held', row 2 (counted from 0): label 7 is outside" in said


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ('test = "test"', "'test' is not a split"),
        ('test = "test"', "valid: train"),
        ('test = "test"\nsplit_column = "part"', "data.split_column is 'part'"),
        (
            'test = "x"\ntrain = "user 1"\nsplit_column = "who"',
            "'x' is not a value of column 'who'",
        ),
        ('test = "train"', "is also the training split"),
        (
            "test = 34",
            "40 examples are too few: 6 for validation and 34 for test leave none to train on",
        ),
    ],
)
def test_a_split_that_does_not_exist_is_refused_with_those_that_do(write, new: str, says: str):
    path = write(("test = 4", new))
    with pytest.raises(TaskError) as caught:
        _ = load_task(path).content
    assert says in str(caught.value)


def test_a_limit_keeps_the_first_training_examples_of_the_permutation(write):
    whole = load_task(write()).content
    small = load_task(write(("test = 4", "test = 4\nlimit = 7"))).content
    assert np.array_equal(small.train[0], whole.train[0][:7])
    assert np.array_equal(small.train[1], whole.train[1][:7])
    assert np.array_equal(small.validation[0], whole.validation[0])


def test_a_limit_keeps_whole_groups_with_enough_examples(write):
    group = ("classes", 'group = "who"\nclasses')
    whole = load_task(write(group)).content
    least = int(np.median(np.bincount(whole.groups)))
    small = load_task(
        write(group, ("test = 4", "test = 4\nlimit = 12"), ("law", f"min_examples = {least}\nlaw"))
    ).content
    sizes = np.bincount(small.groups)
    assert least <= sizes.min()
    assert sizes.sum() <= 12
    owners = {row % 8 for row in row_numbers(small.train[0])}
    of_owners = [row for row in row_numbers(whole.train[0]) if row % 8 in owners]
    assert row_numbers(small.train[0]) == of_owners
    assert "is too small for a whole group" in refusal(
        write(group, ("test = 4", "test = 4\nlimit = 1"))
    )


# texts


@pytest.mark.parametrize("empty", ["", "  \t\n ", None])
def test_an_empty_text_is_refused_by_its_row_unless_dropped(write, empty):
    content = rows()
    content[23]["words"] = empty
    said = refusal(write(content=content))
    assert "split 'train', row 23 (counted from 0): the text is empty" in said
    assert "data.drop_empty = true" in said
    found = load_task(write(("test = 4", "test = 4\ndrop_empty = true"), content=content)).content
    parts = (found.train, found.validation, found.test)
    assert [len(y) for _, y in parts] == [29, 6, 4]
    kept = [row for x, _ in parts for row in row_numbers(x)]
    assert sorted(kept) == [row for row in range(40) if row != 23]
    assert all((y == np.array(row_numbers(x)) % 3).all() for x, y in parts)


def test_the_words_none_and_na_in_a_csv_are_texts(write):
    content = rows()
    content[3]["words"], content[4]["words"] = "None", "NA"
    assert len(load_task(write(name="rows.csv", content=content)).content.train[1]) == 30


def test_special_tokens_are_the_templates_and_texts_are_cut_at_the_length(write):
    x, _ = load_task(write(template=True)).content.train
    for ids, row in zip(x, row_numbers(x, first=1), strict=True):
        words = [4 + row, *[4] * (1 + row % 3)][:3]
        assert ids[: len(words) + 2].tolist() == [1, *words, 2]


def test_the_share_of_training_texts_that_are_cut_is_known(write):
    content = load_task(write(("max_length = 5", "max_length = 3"))).content
    long = [row for row in row_numbers(content.train[0]) if row % 3 == 2]  # of four words
    assert content.cut == len(long) / 30
    assert load_task(write()).content.cut == 0


def test_a_split_without_any_text_is_refused(write):
    content = [{**row, "words": ""} for row in rows()]
    content = [{**row, "part": "fit"} for row in rows()] + [
        {**row, "part": "held"} for row in content
    ]
    changes = 'test = "held"\ntrain = "fit"\nsplit_column = "part"\ndrop_empty = true'
    said = refusal(write(("test = 4", changes), content=content))
    assert "rows of part 'held': every text is empty or too short" in said


def test_next_token_prediction_has_no_labels_and_needs_two_tokens(write):
    change = ('"text-classification"', '"next-token"'), ("classes = 3", "")
    task = load_task(write(*change))
    assert task.labels == 0
    assert task.content.train[1].tolist() == [0] * 30
    content = rows()
    content[11]["words"] = "w11"
    said = refusal(write(*change, content=content))
    assert "row 11 (counted from 0): the text is empty or has fewer than two tokens" in said
    dropped = ("test = 4", "test = 4\ndrop_empty = true")
    kept = load_task(write(*change, dropped, content=content)).content
    parts = (kept.train, kept.validation, kept.test)
    assert sum(len(y) for _, y in parts) == 39
    assert all(len(x) == len(y) for x, y in parts)


def test_a_text_of_special_tokens_alone_is_empty(write, tmp_path: Path):
    """A tokenizer that strips what it does not know leaves nothing of ``???``."""
    content = rows()
    content[8]["words"] = "???"
    path = write(content=content, template=True)
    tokenizer = make_tokenizer(template=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Split("?", "removed")
    tokenizer.save(str(tmp_path / "backbone" / "tokenizer.json"))
    assert "row 8 (counted from 0): the text is empty" in refusal(path)


def test_a_text_task_needs_a_tokenizer_that_fits_its_backbone(write, tmp_path: Path):
    long = write(("max_length = 5", "max_length = 9"))
    assert "max_length 9 exceeds the backbone's 8 positions" in refusal(long)
    huge = write(("max_length = 5", "max_length = 100000000000"))
    assert "max_length 100000000000 exceeds the backbone's 8 positions" in refusal(huge)
    other = write(config={**CONFIG, "vocab_size": 20})
    assert "is outside the backbone's 20 tokens" in refusal(other)
    path = write()
    (tmp_path / "backbone" / "tokenizer.json").write_text("{}")
    assert "tokenizer.json" in refusal(path)
    (tmp_path / "backbone" / "tokenizer.json").unlink()
    assert "has no tokenizer.json, which a text task needs" in refusal(path)


def test_no_more_is_held_than_the_longest_text_needs(write):
    endless = {"model_type": "llama", "vocab_size": CONFIG["vocab_size"]}
    path = write(("max_length = 5", "max_length = 100000000000"), config=endless)
    assert load_task(path).content.train[0].shape == (30, 4)


def test_the_tokenizer_is_part_of_the_backbones_hash(write, tmp_path: Path):
    path = write()
    (tmp_path / "backbone" / "model.safetensors").write_bytes(b"weights")
    one = load_task(path).backbone_hash
    write(template=True)
    assert load_task(path).backbone_hash != one


def test_sharded_weights_are_all_part_of_the_backbones_hash(write, tmp_path: Path):
    path = write()
    for number in (1, 2):
        (tmp_path / "backbone" / f"model-0000{number}-of-00002.safetensors").write_bytes(b"w")
    one = load_task(path).backbone_hash
    (tmp_path / "backbone" / "model-00002-of-00002.safetensors").write_bytes(b"v")
    assert load_task(path).backbone_hash != one


def test_a_column_of_numbers_is_no_text(write):
    assert "column 'mood' holds int64, not texts" in refusal(
        write(('input = "words"', 'input = "mood"'))
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("max_length = 5", ""), "preprocess.max_length: missing for text-classification"),
        (("classes = 3", ""), "data.classes: missing for text-classification"),
    ],
)
def test_what_a_text_task_needs_is_asked_for_at_once(write, change, says: str):
    with pytest.raises(TaskError, match=says):
        load_task(write(change))


# images


def image_task(
    tmp_path: Path, write: Callable[..., str], *changes: tuple[str, str], **config: Any
) -> str:
    return write(
        ('"text-classification"', '"image-classification"'),
        ('"rows.jsonl"', '"photos"'),
        ('input = "words"', 'input = "image"'),
        ('label = "mood"', 'label = "label"'),
        ("classes = 3", "classes = 2"),
        ("validation = 6", "validation = 2"),
        ("test = 4", 'test = "test"'),
        *changes,
        config={"model_type": "vit", **config},
    )


def draw(folder: Path, shapes: Sequence[tuple[int, int]], mode: str = "RGB") -> dict[str, Any]:
    """Write one picture of random pixels a shape into folders of two classes, for two splits."""
    draws, pixels = np.random.default_rng(1), {}
    for split in ("train", "test"):
        for number, (width, height) in enumerate(shapes):
            path = folder / split / ("cat", "dog")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            channels = (3,) if mode == "RGB" else ()
            array = draws.integers(0, 256, (height, width, *channels), dtype=np.uint8)
            Image.fromarray(array).save(path)
            pixels[split, number] = array
    return pixels


def test_an_image_folder_gives_uint8_images_of_their_own_size(write, tmp_path: Path):
    pixels = draw(tmp_path / "photos", [(5, 4)] * 6)
    content = load_task(image_task(tmp_path, write)).content
    x, y = content.test
    assert (x.dtype, x.shape, y.tolist()) == (np.uint8, (6, 3, 4, 5), [0, 0, 0, 1, 1, 1])
    expected = [pixels["test", number].transpose(2, 0, 1) for number in (0, 2, 4, 1, 3, 5)]
    assert np.array_equal(x, np.stack(expected))
    assert len(content.train[1]) == 4


def test_images_of_several_sizes_need_a_size(write, tmp_path: Path):
    draw(tmp_path / "photos", [(5, 4), (6, 4)] * 3)
    said = refusal(image_task(tmp_path, write))
    assert "images differ in size, from 5x4 to 6x4; set preprocess.image_size" in said
    sized = image_task(tmp_path, write, ("max_length = 5", "image_size = 3"), image_size=3)
    assert load_task(sized).content.train[0].shape == (4, 3, 3, 3)


def test_images_larger_than_the_size_are_held_at_that_size(write, tmp_path: Path):
    draw(tmp_path / "photos", [(8, 8)] * 6)
    sized = image_task(tmp_path, write, ("max_length = 5", "image_size = 4"), image_size=4)
    assert load_task(sized).content.train[0].shape == (4, 3, 4, 4)
    larger = image_task(tmp_path, write, ("max_length = 5", "image_size = 16"), image_size=16)
    assert load_task(larger).content.train[0].shape == (4, 3, 8, 8)


def test_grey_images_follow_the_backbones_channels(write, tmp_path: Path):
    pixels = draw(tmp_path / "photos", [(4, 4)] * 6, mode="L")
    path = image_task(tmp_path, write)
    assert load_task(path).content.test[0].shape == (6, 3, 4, 4)
    config = {"model_type": "vit", "num_channels": 1}
    (tmp_path / "backbone" / "config.json").write_text(json.dumps(config))
    x, _ = load_task(path).content.test
    assert np.array_equal(x[0, 0], pixels["test", 0])


def test_a_parquet_file_of_encoded_images_is_read(write, tmp_path: Path):
    pixels = np.random.default_rng(2).integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    cells = []
    for array in pixels:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "png")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    table = {"image": cells, "label": [number % 2 for number in range(12)]}
    datasets.Dataset.from_dict(table, features).to_parquet(tmp_path / "photos.parquet")
    path = image_task(
        tmp_path, write, ('"photos"', '"photos.parquet"'), ('test = "test"', "test = 2")
    )
    content = load_task(path).content
    x = np.concatenate([part[0] for part in (content.train, content.validation, content.test)])
    order = np.random.default_rng(0).permutation(12)
    assert np.array_equal(x, pixels[order].transpose(0, 3, 1, 2))


def test_a_broken_image_is_refused_by_its_path(write, tmp_path: Path):
    draw(tmp_path / "photos", [(4, 4)] * 6)
    broken = tmp_path / "photos" / "test" / "dog" / "1.png"
    whole = broken.read_bytes()
    for blob, reason in (
        (b"", "empty or of unknown format"),
        (b"no picture", "empty or of unknown format"),
        (whole[:60], ""),
    ):
        broken.write_bytes(blob)
        said = refusal(image_task(tmp_path, write))
        assert f"split 'test', {broken}: cannot read the image: {reason}" in said
        assert "BytesIO" not in said


def test_a_broken_image_without_a_path_is_refused_by_its_row(write, tmp_path: Path):
    import datasets

    cells = [{"bytes": b"no picture", "path": None}] * 12
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    table = {"image": cells, "label": [number % 2 for number in range(12)]}
    datasets.Dataset.from_dict(table, features).to_parquet(tmp_path / "photos.parquet")
    changes = ('"photos"', '"photos.parquet"'), ('test = "test"', "test = 2")
    said = refusal(image_task(tmp_path, write, *changes))
    first = np.random.default_rng(0).permutation(12)[0]
    assert f"split 'train', row {first} (counted from 0): cannot read the image" in said


def test_grey_of_sixteen_bits_is_scaled_to_eight(write, tmp_path: Path):
    draw(tmp_path / "photos", [(4, 4)] * 6, mode="L")
    values = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4369  # 0 to 65535
    Image.fromarray(values).save(tmp_path / "photos" / "test" / "cat" / "0.png")
    x, _ = load_task(image_task(tmp_path, write)).content.test
    assert x[0].tolist() == [(np.arange(16).reshape(4, 4) * 17).tolist()] * 3


@pytest.mark.parametrize(("kind", "mode"), [(np.int32, "I"), (np.float32, "F")])
def test_images_of_unknown_white_are_refused(write, tmp_path: Path, kind: type, mode: str):
    draw(tmp_path / "photos", [(4, 4)] * 6)
    path = tmp_path / "photos" / "test" / "cat" / "0.tiff"
    Image.fromarray(np.ones((4, 4), kind)).save(path)
    said = refusal(image_task(tmp_path, write))
    assert f"{path}: the image holds 32 bits a pixel (mode {mode})" in said
    assert "valid: 8 or 16 bits" in said


def test_alpha_is_dropped_of_colours_and_palettes_alike(write, tmp_path: Path):
    draw(tmp_path / "photos", [(4, 4)] * 6)
    colours = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    colours.save(tmp_path / "photos" / "test" / "cat" / "0.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "photos" / "test" / "cat" / "2.png", transparency=b"\x80\x00")
    x, _ = load_task(image_task(tmp_path, write)).content.test
    for image in x[:2]:
        assert image[:, 0, 0].tolist() == [10, 20, 30]


def test_more_class_folders_than_classes_are_named(write, tmp_path: Path):
    draw(tmp_path / "photos", [(4, 4)] * 6)
    for split in ("train", "test"):
        folder = tmp_path / "photos" / split
        (folder / "fox").mkdir()
        Image.new("RGB", (4, 4)).save(folder / "fox" / "9.png")
    said = refusal(image_task(tmp_path, write))
    assert "3 different labels ('cat', 'dog', 'fox'); data.classes is 2" in said
    three = image_task(tmp_path, write, ("classes = 2", "classes = 3"))
    assert load_task(three).content.names == ("cat", "dog", "fox")


@pytest.mark.parametrize(
    ("new", "config", "says"),
    [
        ("image_size = 10000000", {}, "image_size 10000000 differs from the backbone's 224"),
        ("image_size = 9", {"image_size": 8}, "image_size 9 differs from the backbone's 8"),
        (
            "image_size = 8",
            {"image_size": [8, 16]},
            "image_size 8 differs from the backbone's 8 x 16",
        ),
        ("mean = [0.5]\nstd = [0.5]", {}, "hold 1 number(s) each, where the backbone reads 3"),
        (
            "mean = [0.5, 0.5, 0.5]\nstd = [1, 1, 1]",
            {"num_channels": 1},
            "reads 1 channel(s); valid: one number for each channel",
        ),
    ],
)
def test_what_the_backbone_cannot_read_is_refused_by_its_config(
    write, tmp_path: Path, new: str, config: dict[str, Any], says: str
):
    draw(tmp_path / "photos", [(4, 4)] * 6)
    assert says in refusal(image_task(tmp_path, write, ("max_length = 5", new), **config))


def test_a_column_of_texts_is_no_images(write, tmp_path: Path):
    path = write(('"text-classification"', '"image-classification"'), config={"model_type": "vit"})
    assert "column 'words' holds no images" in refusal(path)
