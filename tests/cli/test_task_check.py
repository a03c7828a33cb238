"""``floss-sim task check`` and what the guide shows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import commands
import numpy as np
import pytest
from PIL import Image

import floss_sim.cli
import floss_sim.tasks
from floss_sim.cli.task import _file_rows
from floss_sim.tasks import load_task
from floss_sim.wire import predict_nbytes

TASKS = Path(floss_sim.tasks.__file__).parent
GUIDE = (TASKS / "GUIDE.md").read_text(encoding="utf-8")
EXAMPLE, TEXTS = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)


def call(monkeypatch, capfd, *words: str, command: str = "floss-sim") -> tuple[int, str, str]:
    return commands.call(monkeypatch, capfd, command, *words)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """Write the guide's example to disk, with pictures that a tiny ViT can take."""
    draw = np.random.default_rng(0)
    for number in range(60):
        split, label = ("test", "train")[number > 10], ("cat", "dog")[number % 2]
        path = tmp_path / "photos" / split / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    shutil.copytree(TASKS / "digits_backbone", tmp_path / "backbone")
    path = tmp_path / "mine.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


def test_the_guides_example_is_a_task(example: Path):
    task = load_task(str(example))
    content = task.content
    assert [len(y) for _, y in (content.train, content.validation, content.test)] == [39, 10, 11]
    assert content.train[0].shape == (39, 1, 8, 8)
    assert set(content.train[1].tolist()) == {0, 1}


def test_the_guides_keys_for_texts_are_keys(example: Path):
    data, fleet = TEXTS.split("# in [partition]\n")
    keys = {"data.label": None, "data.classes": None, "preprocess": {"max_length": 128}}
    import tomllib

    keys |= {f"data.{key}": value for key, value in tomllib.loads(data).items()}
    keys |= {f"partition.{key}": value for key, value in tomllib.loads(fleet).items()}
    task = load_task(str(example), changes={"kind": "next-token", **keys})
    assert (task.data.group, task.partition.law, task.labels) == ("user", "column", 0)


def test_check_says_what_it_found_as_json(monkeypatch, capfd):
    code, out, err = call(monkeypatch, capfd, "task", "check", "digits", "--json", "--rank", "4")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["train_examples"], found["validation_examples"]) == (1097, 350)
    assert (found["test_examples"], found["classes"], found["clients"]) == (350, 10, 50)
    assert [c["label"] for c in found["class_examples"]] == [str(digit) for digit in range(10)]
    assert sum(c["train"] for c in found["class_examples"]) == found["dealt_examples"] == 1097
    assert found["cut_texts"] is None
    assert found["client_examples"] == {"min": 21, "median": 22, "max": 22}
    assert found["trainable_entries"] == 4 * 4 * 2 * 2 * 64 + 10 * 64 + 10
    simple = predict_nbytes(found["trainable_entries"], found["trainable_entries"])
    for way in ("download", "upload"):  # real values differ from normal ones by some percent
        assert found[f"{way}_bytes"] == pytest.approx(simple, rel=0.05)
        assert 0 < found[f"{way}_bytes_error"] < 0.05
    assert found["round_bytes"] == 5 * (found["download_bytes"] + found["upload_bytes"])
    assert [step["learner"] for step in found["steps"]] == ["bank", "sequential"]
    assert all(0 < s["step_low_s"] <= s["step_s"] <= s["step_high_s"] < 10 for s in found["steps"])
    assert found["step_s"] == found["steps"][0]["step_s"]


def test_check_counts_what_the_options_change(monkeypatch, capfd):
    options = ("--clients", "10", "--partition", "iid", "--set", "data.limit=100", "--set")
    code, out, _ = call(
        monkeypatch, capfd, "task", "check", "digits", "--json", *options, "server.cohort=3"
    )
    found = json.loads(out)
    assert (code, found["clients"], found["partition"], found["cohort"]) == (0, 10, "iid", 3)
    assert found["client_examples"] == {"min": 10, "median": 10, "max": 10}


def test_check_prints_a_table(monkeypatch, capfd):
    code, out, err = call(monkeypatch, capfd, "task", "check", "digits")
    assert (code, err) == (0, "")
    for said in (
        "training examples",
        "1097",
        "trainable entries",
        "dense round",
        "one local step",
    ):
        assert said in out
    assert re.search(r"\d kB ± \d+ % down and [\d.]+ kB ± \d+ %", out)


def test_check_names_files_that_are_not_read_and_content_of_two_splits(
    monkeypatch, capfd, example: Path
):
    photos = example.parent / "photos"
    (photos / "train" / "cat" / "notes.txt").write_text("mine")
    (photos / "val" / "cat").mkdir(parents=True)
    shutil.copy(photos / "test" / "cat" / "0.png", photos / "val" / "cat")
    for name in ("a.png", "b.png"):
        shutil.copy(photos / "test" / "cat" / "0.png", photos / "train" / "dog" / name)
    code, out, _ = call(monkeypatch, capfd, "task", "check", str(example), "--json")
    found = json.loads(out)
    assert code == 0
    assert found["files"] == {
        "rows": {"train": 51, "test": 11},
        "csv": {},
        "left_out": [
            str(photos / "train" / "cat" / "notes.txt"), str(photos / "val" / "cat" / "0.png"),
        ],
    }  # fmt: skip
    twice = found["duplicates"]
    assert twice["setting"] == "keep"
    assert twice["train_in_test"] + twice["validation_in_test"] == 2
    said = " ".join(
        call(monkeypatch, capfd, "task", "check", str(example))[1].replace("│", " ").split()
    )
    assert "2 files not read" in said
    assert f"{twice['train_in_test']} training examples also in test" in said
    drop = ("--set", "data.duplicates=drop")
    found = json.loads(call(monkeypatch, capfd, "task", "check", str(example), "--json", *drop)[1])
    assert found["duplicates"]["setting"] == "drop"
    assert found["duplicates"]["train_in_test"] == 0


def test_check_counts_the_rows_of_splits_that_are_not_used(monkeypatch, capfd, example: Path):
    pictures = sorted((example.parent / "photos").rglob("*.png"), key=lambda path: int(path.stem))
    (example.parent / "flat").mkdir()
    lines = ["file_name;label;part"]
    for n, path in enumerate(pictures):
        shutil.copy(path, example.parent / "flat")
        lines.append(f"{path.name};{n % 2};{('train', 'train', 'test', 'val')[n % 4]}")
    (example.parent / "flat" / "metadata.csv").write_text("\n".join(lines))
    words = ("task", "check", str(example), "--dataset", str(example.parent / "flat"))
    words += ("--set", "data.split_column=part", "--set", "data.label=label")
    code, out, err = call(monkeypatch, capfd, *words)
    assert (code, err) == (0, "")
    said = " ".join(out.replace("│", " ").split())
    assert "CSV cells end at semicolon; decimal sign none found" in said
    assert "rows not used 15 of val" in said
    assert json.loads(call(monkeypatch, capfd, *words, "--json")[1])["unused_rows"] == {"val": 15}


def test_check_names_every_delimiter_of_a_split():
    form = {"delimiter": ",;\t", "decimal": ".", "decimal_stated": False}
    shown = dict(_file_rows({"csv": {"train": form}, "left_out": []}))
    assert shown == {"CSV cells end at": "comma and semicolon and tab; decimal sign ."}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("task", "check", "digits", "--set", "data.duplicates=no"), "data.duplicates: "),
        (("task", "check", "digits", "--set", "data.delimiter=xy"), "must be one character"),
        (("task", "check", "digits", "--set", "data.decimal=;"), "data.decimal: "),
        (("task", "check", "reddit", "--partition", "dirichlet"), "dirichlet deals by classes"),
        (("task", "check", "mnist"), "unknown task 'mnist'"),
        (("task", "check", "cifar10", "--backbone", "none/backbone/x"), "none/backbone/x"),
        (("task", "check", "cifar10"), "--backbone (backbone.model), or add --fetch"),
        (("task", "check", "digits", "--dataset", "rows.csv"), "rows.csv: no such file"),
        (("task", "check", "digits", "--clients", "5000"), "a client without data"),
        (("task", "check", "digits", "--partition", "column"), "data.group"),
        (("task", "check", "digits", "--set", "data.limit"), "is not SECTION.KEY=VALUE"),
        (("task", "check", "digits", "--set", "data.size=3"), "data.size: unknown key"),
        (("task", "check", "digits", "--set", "data.limit=many"), "data.limit: "),
        (("task", "check", "digits", "--rank", "65"), "valid: 1 to 64"),
        (("task", "check", "digits", "--set", "preprocess.image_size=10000000"), "backbone's 8"),
        (("run", "--task", "reddit"), "add --fetch"),
        (("run", "--dataset", "none.npz"), "none.npz"),
    ],
)
def test_bad_tasks_are_one_line(monkeypatch, capfd, tmp_path, arguments, says: str):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(monkeypatch, capfd, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--task", "20newsgroups"), "add --fetch"),
        (("--backbone", "./none"), "none"),
        (("--clients", "5000"), "a client without data"),
        (("--partition", "sorted"), "valid: iid, dirichlet, column"),
        (("--alpha", "0"), "partition.alpha"),
    ],
)
def test_a_plan_refuses_them_too(monkeypatch, capfd, tmp_path, arguments, says: str):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(monkeypatch, capfd, *arguments, command="floss-plan")
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_plan_is_made_for_the_fleet_that_was_asked_for(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    small = ("--ranks", "1", "--down-densities", "1", "--up-densities", "1", "--effort", "1")
    fleet = ("--clients", "6", "--partition", "iid", "--set", "data.limit=60", "--workers", "1")
    code, out, _ = call(
        monkeypatch, capfd, "--no-report",
        "--budget", "1-dense-rounds", *small, *fleet, "--reference-rank", "1",
        "--max-rounds", "1", "--json", command="floss-plan",
    )  # fmt: skip
    assert code == 0
    fleet = json.loads(out)["request"]["fleet"]
    assert (fleet["clients"], fleet["law"]) == (6, "iid")
