"""Equal content in two splits: counted, and left out of training where the task says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_tasks import draw_images, image_task, text_task

from floss_sim.errors import ConfigError, TaskError
from floss_sim.methods import dense
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import load_task
from floss_sim.tasks.duplicates import DuplicateCounts


def rows(path: Path, texts: list[str]) -> None:
    lines = (json.dumps({"text": t, "label": n % 2, "user": n % 3}) for n, t in enumerate(texts))
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines))


def test_texts_of_test_rows_are_counted_and_dropped_from_training(tmp_path: Path):
    texts = [f"w{n}" for n in range(30)]
    rows(tmp_path / "d" / "train.jsonl", [*texts, *texts[:4]])
    rows(tmp_path / "d" / "test.jsonl", ["w35", "w3", "w4", "w3 "])
    whole = text_task(tmp_path, "d", test="test", data__group="user").content
    held_out = {int(ids[0]) - 1 for ids in whole.validation[0]} | {3, 4}
    own = [int(ids[0]) - 1 for ids in whole.train[0]]
    kept = [n for n in own if n not in held_out]
    assert whole.duplicates.train_in_test == sum(n in (3, 4) for n in own)
    dropped = text_task(
        tmp_path, "d", test="test", data__group="user", data__duplicates="drop"
    ).content
    assert [int(ids[0]) - 1 for ids in dropped.train[0]] == kept
    assert dropped.duplicates.train_in_test == dropped.duplicates.train_in_validation == 0
    assert np.array_equal(dropped.test[0], whole.test[0])
    assert np.array_equal(dropped.validation[0], whole.validation[0])
    groups = dropped.groups
    assert groups is not None
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))
    assert len(groups) == len(kept)


def test_texts_that_differ_only_after_the_cut_or_in_unknown_words_are_different(tmp_path: Path):
    rows(tmp_path / "d" / "train.jsonl", [f"x{n} " + "w1 " * 9 for n in range(30)])
    rows(tmp_path / "d" / "test.jsonl", [f"y{n} " + "w1 " * 9 for n in range(5)])
    content = text_task(tmp_path, "d", test="test").content
    assert len({tuple(ids) for ids in content.train[0].tolist()}) == 1
    assert content.duplicates == DuplicateCounts(0, 0, 0)


def test_equal_pixels_are_equal_content_whatever_the_file(tmp_path: Path):
    draw_images(tmp_path / "photos", *(f"{s}/{k}/{n}.png" for s in ("train", "test")
                                       for k in ("cat", "dog") for n in range(6)))  # fmt: skip
    from PIL import Image

    picture = Image.open(tmp_path / "photos" / "test" / "cat" / "0.png")
    picture.save(tmp_path / "photos" / "train" / "dog" / "copy.bmp")
    content = image_task(tmp_path, "photos").content
    found = content.duplicates
    assert found.train_in_test + found.validation_in_test == 1
    dropped = image_task(tmp_path, "photos", data__duplicates="drop").content
    assert len(dropped.train[1]) == len(content.train[1]) - found.train_in_test


def test_training_examples_that_repeat_another_one_are_counted(tmp_path: Path):
    rows(tmp_path / "d" / "train.jsonl", [*(f"w{n}" for n in range(30)), "w5", "w5", "w6"])
    rows(tmp_path / "d" / "test.jsonl", ["w35"])
    content = text_task(tmp_path, "d", test="test").content
    own = [int(ids[0]) for ids in content.train[0]]
    assert content.duplicates.repeated_in_train == len(own) - len(set(own)) > 0


def test_training_examples_that_are_all_elsewhere_leave_nothing(tmp_path: Path):
    rows(tmp_path / "d" / "train.jsonl", ["w1"] * 20)
    rows(tmp_path / "d" / "test.jsonl", ["w1"] * 4)
    assert text_task(tmp_path, "d", test="test").content.duplicates.train_in_test == 16
    with pytest.raises(TaskError, match="leaves no training example"):
        _ = text_task(tmp_path, "d", test="test", data__duplicates="drop").content


def test_the_key_leaves_digests_and_settings_as_they_are():
    plain = load_task("digits")
    stated = load_task("digits", changes={"data.duplicates": "keep"})
    assert plain.content.digest == stated.content.digest
    one, other = (RunConfig.of(task, dense()).settings() for task in (plain, stated))
    assert one == other
    assert "duplicates" not in json.dumps(one)
    with pytest.raises(TaskError, match=r"data\.duplicates"):
        load_task("digits", changes={"data.duplicates": "remove"})


# partitions without a meaning


def test_classes_are_not_dealt_where_there_are_none(tmp_path: Path):
    rows(tmp_path / "d.jsonl", [f"w{n} w1" for n in range(30)])
    with pytest.raises(
        TaskError, match=r"partition\.law: dirichlet deals by classes, and the task"
    ):
        text_task(tmp_path, "d.jsonl", kind="next-token", partition__law="dirichlet")
    task = text_task(tmp_path, "d.jsonl", kind="next-token")
    config = RunConfig(task, dense(), 1, 0, task.partition, task.client, task.server)
    for law in ("iid", "column"):
        assert config.with_(fleet={"law": law}).fleet.law == law
    with pytest.raises(ConfigError, match="dirichlet deals by classes"):
        config.with_(fleet={"law": "dirichlet"})
    assert text_task(tmp_path, "d.jsonl", partition__law="dirichlet").labels == 3


def test_a_run_of_digits_may_change_to_classes_and_one_of_arrays_has_no_columns(write_task):
    config = RunConfig.of(load_task("digits"), dense())
    assert config.with_(fleet={"law": "dirichlet"}).fleet.law == "dirichlet"
    for key in ("group", "split_column"):
        task = load_task(str(write_task("test = 5", f'test = 5\n{key} = "user"', folder=key)))
        with pytest.raises(TaskError, match=f"has no columns, so data.{key} names none"):
            _ = task.content
    with pytest.raises(ConfigError):
        config.with_(fleet={"law": "sorted"})
