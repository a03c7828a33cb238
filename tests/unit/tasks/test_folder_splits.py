"""Folders: which file is in which split, and folders that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_tasks import draw_images, image_task, text_task

from floss_sim.errors import TaskError
from floss_sim.tasks.folder_splits import find_splits

TABLES, IMAGES = (".csv", ".csv.gz", ".jsonl", ".parquet"), (".png", ".jpg")
WORDS = ("train", "test", "val", "validation", "dev", "eval", "Train", "TEST")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def splits(folder: Path) -> dict[str, list[str]]:
    found = find_splits(folder, TABLES, IMAGES, str(folder))
    return {
        name: [path.relative_to(folder).as_posix() for path in paths]
        for name, paths in found.files.items()
    }


def refusal(folder: Path) -> str:
    with pytest.raises(TaskError) as caught:
        splits(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# images


@pytest.mark.parametrize("word", WORDS)
def test_a_class_called_like_a_split_is_a_class(tmp_path: Path, word: str):
    classes = sorted((word, "z"))
    names = [f"{split}/{name}/{n}.png" for split in ("test", "train") for name in classes
             for n in range(2)]  # fmt: skip
    assert splits(touch(tmp_path / "a", *names)) == {
        split: [name for name in names if name.startswith(split)] for split in ("test", "train")
    }
    flat = sorted(f"{name}/{n}.png" for name in (word, "bus", "car") for n in range(2))
    assert splits(touch(tmp_path / "b", *flat)) == {"train": flat}


@pytest.mark.parametrize("word", WORDS)
def test_an_image_called_like_a_split_is_in_the_split_of_its_folder(tmp_path: Path, word: str):
    names = sorted(
        f"station/{name}.png" for name in (f"freight {word} 1", word, f"{word}-2", f"a.{word}", "3")
    )
    assert splits(touch(tmp_path / "a", *names)) == {"train": names}
    deep = [f"test/{name}" for name in names] + ["train/station/1.png"]
    assert splits(touch(tmp_path / "b", *deep)) == {"test": deep[:-1], "train": deep[-1:]}


@pytest.mark.parametrize("around", ["data", "my train photos", "a/b"])
def test_a_folder_around_all_splits_or_classes_counts_for_nothing(tmp_path: Path, around: str):
    names = [f"{around}/test/cat/1.png", f"{around}/train/cat/1.png"]
    assert splits(touch(tmp_path / "a", *names)) == {"test": names[:1], "train": names[1:]}
    names = [f"{around}/cat/1.png", f"{around}/dog/1.png"]
    assert splits(touch(tmp_path / "b", *names)) == {"train": names}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("1.png", "2.png"), "1.png lies in no class folder; valid: <class>/<image>, or"),
        (("1.png", "cat/2.png"), "1.png lies in no class folder"),
        (("train/1.png", "test/2.png"), "(test, train) are named like splits and hold images"),
        (("train/1.png",), "(train) are named like splits"),
        (("train/cat/1.png", "cat/1.png"), "lie at different depths"),
        (("train/cat/x/1.png", "test/cat/1.png"), "train/cat/x/1.png lies deeper than a class"),
        (("train/cat/x/1.png", "test/dog/x/1.png"), "lies deeper than a class folder"),
        (("metadata.csv", "train/1.png", "test/2.png"), "describes images of several splits"),
        (("train/metadata.csv", "train/1.png", "test/2.png"), "test/2.png lies in no split's"),
        (("notes.txt",), "it holds neither images nor files of .csv"),
        ((), "it holds neither images nor files"),
    ],
)
def test_a_folder_that_allows_two_readings_is_refused(tmp_path: Path, names, says: str):
    assert says in refusal(touch(tmp_path / "d", *names) if names else tmp_path)


def test_what_is_left_out_is_named(tmp_path: Path):
    names = (
        "cat/1.png",
        "dog/2.JPG",
        "cat/.3.png",
        "cat/notes.txt",
        "rows.csv",
        "__MACOSX/cat/1.png",
    )
    found = find_splits(touch(tmp_path, *names), TABLES, IMAGES, "d")
    assert found.files == {"train": (tmp_path / "cat/1.png", tmp_path / "dog/2.JPG")}
    assert {path.name for path in found.left_out} == {".3.png", "notes.txt", "rows.csv", "1.png"}
    assert len(found.left_out) == 4


def test_links_are_followed_once(tmp_path: Path):
    touch(tmp_path / "d", "cat/1.png", "dog/2.png")
    (tmp_path / "d" / "fox").symlink_to(touch(tmp_path / "else", "3.png"))
    (tmp_path / "d" / "cat" / "loop").symlink_to(tmp_path / "d")
    assert splits(tmp_path / "d") == {"train": ["cat/1.png", "dog/2.png", "fox/3.png"]}


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("photos/train/cat/zz.png", "0.png"),
        ("photos/train/kitty", "cat"),
        ("photos/test/cat/zz.png", "../../train/cat/1.png"),
    ],
)
def test_a_file_that_is_reached_twice_is_refused_by_both_names(tmp_path: Path, link, target: str):
    names = [f"photos/{s}/{k}/{n}.png" for s in ("train", "test") for k in ("cat", "dog")
             for n in range(4)]  # fmt: skip
    draw_images(tmp_path, *names)
    (tmp_path / "elsewhere.png").write_bytes((tmp_path / names[0]).read_bytes())
    (tmp_path / "photos/train/dog/link.png").symlink_to(tmp_path / "elsewhere.png")
    assert content_names(image_task(tmp_path, "photos"))[:3] == (7, 2, 8)
    (tmp_path / link).symlink_to(target)
    with pytest.raises(TaskError, match=r"\.png are one file, whose rows would be dealt") as caught:
        _ = image_task(tmp_path, "photos").content
    first = (tmp_path / link).resolve()
    first, second = (first / "0.png", tmp_path / link / "0.png") if first.is_dir() else (
        first, tmp_path / link)  # fmt: skip
    assert f": {first} and {second} are" in str(caught.value)


def test_a_split_that_is_not_used_may_be_a_link(tmp_path: Path):
    draw_images(tmp_path / "photos", *(f"{s}/{k}/{n}.png" for s in ("train", "test")
                                       for k in ("cat", "dog") for n in range(4)))  # fmt: skip
    (tmp_path / "photos/val").symlink_to("test")
    assert content_names(image_task(tmp_path, "photos"))[:3] == (6, 2, 8)


def test_a_table_beside_its_gzip_file_is_refused_by_both_names(tmp_path: Path):
    import gzip

    write_rows(tmp_path / "d" / "a.csv", 20)
    write_rows(tmp_path / "d" / "b.csv", 20)
    (tmp_path / "d" / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "d/a.csv").read_bytes()))
    with pytest.raises(TaskError) as caught:
        _ = text_task(tmp_path, "d").content
    a = tmp_path / "d" / "a.csv"
    assert f"{a} and {a}.gz are one table, plain and packed" in str(caught.value)
    a.unlink()
    assert dict(text_task(tmp_path, "d").content.files.rows) == {"train": 40}


def content_names(task) -> tuple[int, int, int, tuple[str, ...]]:
    found = task.content
    return len(found.train[1]), len(found.validation[1]), len(found.test[1]), found.names


def test_images_of_a_class_called_train_stay_in_their_split(tmp_path: Path):
    names = [f"{split}/{kind}/{n}.png" for split, count in (("train", 6), ("test", 3))
             for kind in ("train", "bus") for n in range(count)]  # fmt: skip
    draw_images(tmp_path / "photos", *names)
    task = image_task(tmp_path, "photos", classes=2)
    assert content_names(task) == (10, 2, 6, ("bus", "train"))
    assert task.content.duplicates.train_in_test == 0
    assert dict(task.content.files.rows) == {"train": 12, "test": 6}


@pytest.mark.parametrize("root", ["photos", "train photos/test/val"])
def test_no_part_of_the_path_to_the_folder_counts(tmp_path: Path, root: str):
    names = [f"{kind}/a {word} {n}.png" for kind in ("train", "bus") for word in ("train", "x")
             for n in range(5)]  # fmt: skip
    draw_images(tmp_path / root, *names)
    task = image_task(tmp_path, root, classes=2, test=4)
    assert content_names(task) == (14, 2, 4, ("bus", "train"))


def test_a_split_is_found_by_its_usual_names(tmp_path: Path):
    draw_images(tmp_path / "photos", *(f"{split}/{kind}/{n}.png" for split in ("Training", "val")
                                       for kind in ("cat", "dog") for n in range(4)))  # fmt: skip
    assert content_names(image_task(tmp_path, "photos", test="validation"))[2] == 8
    assert content_names(image_task(tmp_path, "photos", test="val"))[2] == 8
    with pytest.raises(TaskError, match=r"'test' is not a split.*valid: Training, val"):
        _ = image_task(tmp_path, "photos").content
    with pytest.raises(TaskError, match=r"data\.train 'val' and data\.test 'validation' are one"):
        _ = image_task(tmp_path, "photos", test="validation", data__train="val").content


def test_a_split_that_is_not_used_counts_as_left_out_and_names_its_classes(tmp_path: Path):
    draw_images(tmp_path / "photos", *(f"train/{kind}/{n}.png" for kind in "bc" for n in range(6)))
    draw_images(tmp_path / "photos", "val/a/1.png")
    content = image_task(tmp_path, "photos", test=2).content
    assert content.files.left_out == (str(tmp_path / "photos" / "val/a/1.png"),)
    assert content.names == ("a", "b", "c")


def test_metadata_gives_the_columns_of_its_images(tmp_path: Path):
    draw_images(tmp_path / "photos", *(f"{n}.png" for n in range(12)))
    rows = [f"{n}.png,{n % 2},{n % 3}" for n in reversed(range(12))]
    metadata = tmp_path / "photos" / "metadata.csv"
    metadata.write_text("\n".join(["file_name,label,user", *rows]))
    content = image_task(tmp_path, "photos", test=2, data__group="user").content
    order = np.random.default_rng(0).permutation(12)
    y = np.concatenate([content.train[1], content.validation[1], content.test[1]])
    assert y.tolist() == [(11 - row) % 2 for row in order]
    for broken, says in (
        (rows[1:], "11.png is not in metadata.csv"),
        ([*rows, "12.png,1,1"], "'12.png' is no image of this split"),
        ([*rows, rows[0]], "it names an image twice"),
    ):
        metadata.write_text("\n".join(["file_name,label,user", *broken]))
        with pytest.raises(TaskError, match=says):
            _ = image_task(tmp_path, "photos", test=2).content
    metadata.write_text("\n".join(["name,label,user", *rows]))
    with pytest.raises(TaskError, match="it has no single column file_name"):
        _ = image_task(tmp_path, "photos", test=2).content


# tables


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train.csv", "test.csv", "extra.csv"), "train test extra"),
        (("Train.csv", "Test.csv"), "Train Test"),
        (("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"), "train train"),
        (("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"), "train test"),
        (("posts_train.csv", "posts_test.csv.gz"), "train test"),
        (("train/test.csv", "test/train.csv"), "train test"),
        (("train/a.csv", "dev/b.csv"), "train dev"),
        (("a.csv", "b.csv", "attest.csv"), "train train train"),
        (("2020/a.csv", "2021/a.csv"), "train train"),
    ],
)
def test_tables_belong_to_the_split_of_their_folder_or_name(tmp_path: Path, names, expected: str):
    found = splits(touch(tmp_path, *names))
    assert {name: split for split, paths in found.items() for name in paths} == dict(
        zip(names, expected.split(), strict=True)
    )


@pytest.mark.parametrize(
    "names",
    [
        ("freight train.csv", "bus.csv"),
        ("a_train.csv", "b_test.csv"),
        ("test_results.csv",),
        ("en/train.csv", "fr/train.csv"),
        ("my train/a.csv", "b/a.csv"),
    ],
)
def test_tables_whose_names_only_contain_a_split_are_refused(tmp_path: Path, names):
    assert "may belong to the split" in refusal(touch(tmp_path, *names))


def test_a_split_of_several_formats_is_refused(tmp_path: Path):
    folder = touch(tmp_path / "rows", "a.csv", "b.jsonl")
    folder.joinpath("a.csv").write_text("text,label\nw1,1\n")
    with pytest.raises(TaskError, match=r"several formats: a\.csv and b\.jsonl"):
        _ = text_task(tmp_path, "rows").content


def write_rows(path: Path, count: int, label: str = "a") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"w{n} w2,{label}\n" for n in range(count))
    path.write_text("text,label\n" + rows)


README = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: {train}
  - split: test
    path: {test}
---
"""


def test_a_readme_with_configs_states_the_files(tmp_path: Path):
    write_rows(tmp_path / "d" / "train" / "test.csv", 20)
    write_rows(tmp_path / "d" / "b.csv", 8)
    write_rows(tmp_path / "d" / "c.csv", 8)
    readme = tmp_path / "d" / "README.md"
    readme.write_text(README.format(train="train/*.csv", test="b.csv"))
    content = text_task(tmp_path, "d", test="test", data__config="en").content
    assert dict(content.files.rows) == {"train": 20, "test": 8}
    assert [Path(path).name for path in content.files.left_out] == ["README.md", "c.csv"]
    for train, says in (
        ("b.csv", "README.md names b.csv twice"),
        ("../*.csv", "name files outside the folder"),
        ("https://example.org/a.csv", "name files outside the folder"),
        ("none.csv", "cannot read"),
    ):
        readme.write_text(README.format(train=train, test="b.csv"))
        with pytest.raises(TaskError, match=says):
            _ = text_task(tmp_path, "d", test="test", data__config="en").content
    readme.write_text("---\n: [\n---\n")
    with pytest.raises(TaskError, match="cannot read"):
        _ = text_task(tmp_path, "d").content
    readme.write_text("hello")
    with pytest.raises(TaskError, match=r"no README\.md with configs, so there is no 'en'"):
        _ = text_task(tmp_path, "d", data__config="en").content


def test_train_and_test_of_different_formats_have_one_numbering(tmp_path: Path):
    write_rows(tmp_path / "d" / "train.csv", 20, "1")
    (tmp_path / "d" / "test.jsonl").write_text('{"text": "w1", "label": 2}\n' * 5)
    content = text_task(tmp_path, "d", test="test").content
    assert (set(content.train[1].tolist()), set(content.test[1].tolist())) == ({1}, {2})
    (tmp_path / "d" / "test.jsonl").write_text('{"text": "w1", "label": "b"}\n' * 5)
    assert text_task(tmp_path, "d", test="test").content.names == ("1", "b")
