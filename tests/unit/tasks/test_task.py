from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from floss_sim.errors import ConfigError, TaskError
from floss_sim.tasks import Task, load_task, packaged_tasks


def tiny(x=None, y=None) -> dict[str, np.ndarray]:
    return {
        "x": np.arange(240.0).reshape(60, 1, 2, 2) if x is None else x,
        "y": np.arange(60) % 3 if y is None else y,
    }


def refusal(name_or_path: str | Path) -> str:
    with pytest.raises(TaskError) as caught:
        load_task(str(name_or_path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def content_refusal(path: Path) -> str:
    task = load_task(str(path))
    with pytest.raises(TaskError) as caught:
        _ = task.content
    assert "\n" not in str(caught.value)
    return str(caught.value)


# digits


def test_digits_ships_with_the_package():
    assert "digits" in packaged_tasks()


def test_digits_states_the_published_settings():
    task = load_task("digits")
    assert (task.lora.alpha, task.lora.dropout, task.lora.targets) == (16, 0, ("q", "v"))
    assert (task.client.momentum, task.client.batch_size, task.client.epochs) == (0.9, 16, 1)
    assert (task.server.optimizer, task.server.cohort) == ("fedadam", 5)


def test_digits_are_the_1797_images_scaled_to_one_and_split_1097_350_350():
    from sklearn.datasets import load_digits

    content = load_task("digits").content
    parts = (content.train, content.validation, content.test)
    assert [len(y) for _, y in parts] == [1097, 350, 350]
    assert all(x.shape[1:] == (1, 8, 8) and x.dtype == np.float32 for x, _ in parts)
    images, labels = load_digits(return_X_y=True)
    expected = sorted((*row, label) for row, label in zip(images, labels, strict=True))
    found = sorted(
        (*(16 * image).ravel(), label) for x, y in parts for image, label in zip(x, y, strict=True)
    )
    assert np.array_equal(expected, found)


def test_the_random_split_of_digits_tests_the_last_350_of_the_pinned_shuffle():
    """The backbone was chosen with these rows unseen."""
    from sklearn.datasets import load_digits

    order = np.random.default_rng(0).permutation(1797)
    random = load_task("digits", changes={"data.split": "random", "data.split_seed": 0})
    assert np.array_equal(random.content.test[1], load_digits().target[order[-350:]])


def test_validation_and_test_of_digits_have_the_same_number_of_each_class():
    content = load_task("digits").content
    expected = [35, 35, 35, 36, 35, 35, 35, 35, 34, 35]
    assert np.bincount(content.validation[1]).tolist() == expected
    assert np.bincount(content.test[1]).tolist() == expected


def test_the_config_of_the_digits_backbone_is_a_vit_for_8_by_8_images():
    config = load_task("digits").backbone_config
    assert (config["model_type"], config["image_size"], config["num_channels"]) == ("vit", 8, 1)
    assert len(load_task("digits").backbone_hash) == 64


# task files


def test_an_unknown_name_is_refused_with_the_valid_ones():
    assert "unknown task 'letters'; valid: 20newsgroups, cifar10, digits, reddit" in refusal(
        "letters"
    )
    assert "or a path that ends in .toml" in refusal("letters")


def test_a_task_error_is_a_config_error():
    assert issubclass(TaskError, ConfigError)


def test_a_task_file_is_read_by_its_path(write_task):
    task = load_task(str(write_task()))
    assert task.name == "tiny"
    assert task.partition.clients == 9
    assert task.partition.alpha == 1.0
    assert task.lora.dropout == 0.0
    assert task.lora.targets == ("q", "v")


def test_relative_paths_start_at_the_task_file(write_task, monkeypatch, tmp_path: Path):
    path = write_task()
    monkeypatch.chdir(tmp_path)
    task = load_task(str(path.relative_to(tmp_path)))
    assert len(task.content.train[1]) == 45
    assert task.backbone_config["hidden_size"] == 8


def test_a_loaded_task_cannot_be_changed(write_task):
    task = load_task(str(write_task()))
    with pytest.raises(ValueError, match="frozen"):
        task.name = "other"
    with pytest.raises(ValueError, match="frozen"):
        task.client.epochs = 3


def test_a_missing_file_is_refused(tmp_path: Path):
    assert "cannot read" in refusal(tmp_path / "none.toml")
    assert "No such file" in refusal(tmp_path / "none.toml")


def test_a_folder_is_no_task_file(tmp_path: Path):
    (tmp_path / "folder.toml").mkdir()
    assert "cannot read" in refusal(tmp_path / "folder.toml")


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2", b"[data", b"\x00"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    assert f"{path} is not TOML" in refusal(path)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('name = "tiny"\n', "name"),
        ('kind = "image-classification"\n', "kind"),
        ('dataset = "data.npz"\n', "data.dataset"),
        ("classes = 3\n", "data.classes"),
        ("test = 5\n", "data.test"),
        ('[backbone]\nmodel = "backbone"\n', "backbone"),
        ("clients = 9\n", "partition.clients"),
        ('law = "iid"\n', "partition.law"),
        ("alpha = 16\n", "lora.alpha"),
        ("momentum = 0.9\n", "client.momentum"),
        ('optimizer = "fedadam"\n', "server.optimizer"),
        ("cohort = 4\n", "server.cohort"),
    ],
)
def test_a_missing_key_is_refused_by_its_name(write_task, line: str, key: str):
    path = write_task(line, "")
    assert refusal(path).startswith(f"{path}: {key}: ")
    assert re.search("missing.*; valid: ", refusal(path))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "tiny"', 'name = "tiny"\ncolour = 1', "colour"),
        ("epochs = 2", "epochs = 2\nepoch = 3", "client.epoch"),
        ("[server]", "[servers]\nx = 1\n[server]", "servers"),
    ],
)
def test_an_unknown_key_is_refused_by_its_name(write_task, old: str, new: str, key: str):
    path = write_task(old, new)
    assert refusal(path).startswith(f"{path}: {key}: unknown key; valid: ")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "tiny"', "name = 3", "name"),
        ('"image-classification"', '"text"', "kind"),
        ("classes = 3", "classes = 1", "data.classes"),
        ("validation = 10", "validation = 0", "data.validation"),
        ("validation = 10", "validation = -1", "data.validation"),
        ("test = 5", "test = 2.5", "data.test"),
        ("clients = 9", "clients = 0", "partition.clients"),
        ("clients = 9", 'clients = "many"', "partition.clients"),
        ('law = "iid"', 'law = "shards"', "partition.law"),
        ('dataset = "data.npz"', 'dataset = ""', "data.dataset"),
        ("test = 5", "test = true", "data.test"),
        ("test = 5", 'test = ""', "data.test"),
        ("test = 5", "test = 5\nlimit = 0", "data.limit"),
        ("test = 5", "test = 5\ndrop_empty = 3", "data.drop_empty"),
        ('model = "backbone"', 'model = ""', "backbone.model"),
        ("[lora]", "[preprocess]\nimage_size = 0\n[lora]", "preprocess.image_size"),
        ("[lora]", "[preprocess]\nmax_length = 1\n[lora]", "preprocess.max_length"),
        ("[lora]", "[preprocess]\nmean = [0.5]\n[lora]", "preprocess"),
        ("[lora]", "[preprocess]\nmean = [0.5]\nstd = [0.0]\n[lora]", "preprocess.std.0"),
        ("clients = 9", "clients = 9\nmin_examples = 0", "partition.min_examples"),
        ("epochs = 2", 'epochs = 2\nprecision = "fp8"', "client.precision"),
        ('law = "iid"', 'law = "iid"\nalpha = 0.0', "partition.alpha"),
        ('law = "iid"', 'law = "iid"\nalpha = inf', "partition.alpha"),
        ('law = "iid"', 'law = "iid"\nalpha = nan', "partition.alpha"),
        ('targets = ["q", "v"]', "targets = []", "lora.targets"),
        ("alpha = 16", "alpha = -16", "lora.alpha"),
        ("alpha = 16", "alpha = 16\ndropout = 1.0", "lora.dropout"),
        ("learning_rate = 0.05", "learning_rate = 0", "client.learning_rate"),
        ("learning_rate = 0.05", "learning_rate = nan", "client.learning_rate"),
        ("momentum = 0.9", "momentum = 1.0", "client.momentum"),
        ("momentum = 0.9", "momentum = -0.1", "client.momentum"),
        ("batch_size = 16", "batch_size = 0", "client.batch_size"),
        ("epochs = 2", "epochs = 0", "client.epochs"),
        ('"fedadam"', '"adam"', "server.optimizer"),
        ("cohort = 4", "cohort = 0", "server.cohort"),
        ('[backbone]\nmodel = "backbone"', "[[backbone]]\nx = 1", "backbone"),
    ],
)
def test_an_invalid_value_is_refused_by_the_name_of_its_key(
    write_task, old: str, new: str, key: str
):
    path = write_task(old, new)
    assert refusal(path).startswith(f"{path}: {key}: ")


# data


def test_the_split_is_a_fixed_shuffle_of_training_validation_and_test(write_task):
    content = load_task(str(write_task())).content
    parts = (content.train, content.validation, content.test)
    assert [len(y) for _, y in parts] == [45, 10, 5]
    rows = [int(x[0, 0, 0]) // 4 for x in np.concatenate([x for x, _ in parts])]
    assert sorted(rows) == list(range(60))
    assert rows != list(range(60))
    labels = np.concatenate([y for _, y in parts])
    assert labels.tolist() == [row % 3 for row in rows]


def test_more_validation_rows_or_fewer_clients_keep_the_last_rows_for_the_test(write_task):
    one = load_task(str(write_task())).content
    other = load_task(str(write_task("validation = 10", "validation = 20", folder="b"))).content
    assert np.array_equal(one.test[0], other.test[0])
    more = load_task(str(write_task("clients = 9", "clients = 5", folder="c"))).content
    assert np.array_equal(one.train[0], more.train[0])


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8, np.uint8, ">f4", ">i8"])
def test_numbers_of_any_kind_become_float32_and_int64(write_task, kind):
    x = (np.arange(240) % 100).reshape(60, 1, 2, 2).astype(kind)
    task = load_task(str(write_task(arrays=tiny(x, (np.arange(60) % 3).astype(np.uint8)))))
    assert task.content.train[0].dtype == np.float32
    assert task.content.train[1].dtype == np.int64
    plain = tiny(x.astype(np.float32))
    other = load_task(str(write_task(arrays=plain, folder="b")))
    assert task.content.digest == other.content.digest


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros(60)},
        {"y": np.zeros(60, int)},
        {"X": np.zeros(60), "y": np.zeros(60, int)},
        {},
    ],
)
def test_a_file_without_x_and_y_is_refused(write_task, arrays):
    assert "expected arrays named x and y" in content_refusal(write_task(arrays=arrays))


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (None, np.zeros((60, 1), int), "one integer class for each"),
        (None, np.zeros(59, int), "one integer class for each"),
        (None, np.zeros(60), "one integer class for each"),
        (None, np.zeros(60, bool), "one integer class for each"),
        (np.float64(1), None, "valid: numbers of shape (examples, channels, height, width)"),
        (np.zeros((59, 4)), None, "valid: numbers of shape (examples, channels, height, width)"),
        (np.full((60, 1, 2, 2), np.nan), None, "finite"),
        (np.full((60, 1, 2, 2), -np.inf), None, "finite"),
        (np.full((60, 1, 2, 2), 1e39), None, "finite"),
        (
            np.full((60, 1, 2, 2), "a"),
            None,
            "valid: numbers of shape (examples, channels, height, width)",
        ),
        (
            np.zeros((60, 1, 2, 2), complex),
            None,
            "valid: numbers of shape (examples, channels, height, width)",
        ),
        (
            np.zeros((60, 4)),
            None,
            "x has shape (60, 4) and type float64; valid: numbers of shape (examples, channels, ",
        ),
        (np.zeros((60, 2, 2)), None, "valid: numbers of shape (examples, channels, height, width)"),
        (None, np.full(60, 3), "row 0 (counted from 0): label 3 is outside 0 to 2"),
        (None, np.arange(60) % 3 - 1, "label -1 is outside 0 to 2"),
        (None, np.full(60, 2**64 - 1, np.uint64), f"label {2**64 - 1} is outside 0 to 2"),
        (np.zeros((0, 1, 2, 2)), np.zeros(0, int), "0 examples are too few"),
        (
            np.zeros((15, 1, 2, 2)),
            np.zeros(15, int),
            "15 examples are too few: 10 for validation and 5 for test leave none to train on",
        ),
    ],
)
def test_arrays_that_are_no_examples_are_refused(write_task, x, y, said: str):
    assert said in content_refusal(write_task(arrays=tiny(x, y)))


def test_one_example_beside_the_held_out_ones_is_enough(write_task):
    task = load_task(str(write_task(arrays=tiny(np.zeros((16, 1, 2, 2)), np.zeros(16, int)))))
    assert len(task.content.train[1]) == 1


def test_pickled_objects_are_never_loaded(write_task):
    x = np.array([{"a": 1}] * 60, dtype=object)
    said = content_refusal(write_task(arrays=tiny(x)))
    assert "type object; valid: numbers of shape" in said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("test = 5", 'test = "held out"'),
        ('"image-classification"', '"next-token"\npreprocess = {max_length = 4}'),
    ],
)
def test_arrays_are_images_without_named_splits(write_task, old: str, new: str):
    assert "data.npz holds images without named splits" in content_refusal(write_task(old, new))


def test_a_limit_keeps_so_many_training_examples_and_the_rest_of_the_split(write_task):
    whole = load_task(str(write_task())).content
    small = load_task(str(write_task("test = 5", "test = 5\nlimit = 7", folder="b"))).content
    assert np.array_equal(small.train[0], whole.train[0][:7])
    assert np.array_equal(small.validation[0], whole.validation[0])
    assert np.array_equal(small.test[0], whole.test[0])


def test_a_missing_data_file_is_refused_by_its_name(write_task):
    assert "none.npz" in content_refusal(write_task("data.npz", "none.npz"))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", "npy"])
def test_a_file_that_is_no_npz_is_refused(write_task, content: bytes | str):
    path = write_task()
    if content == "npy":
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(60))
        content = buffer.getvalue()
    (path.parent / "data.npz").write_bytes(content)
    assert "cannot read" in content_refusal(path)


def test_a_damaged_npz_is_refused_or_reads_whole(write_task):
    """Every byte of a compressed file is changed in turn; nothing but TaskError comes out."""
    path = write_task()
    task = load_task(str(path))
    data = path.parent / "data.npz"
    np.savez_compressed(data, x=np.zeros((60, 4)), y=np.arange(60) % 3)
    blob = data.read_bytes()
    refused = 0
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 0x55
        data.write_bytes(changed)
        try:
            fresh(task).content  # noqa: B018
        except TaskError:
            refused += 1
    assert refused > len(blob) / 2


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_npz_is_refused(write_task, share: float):
    path = write_task()
    data = path.parent / "data.npz"
    blob = data.read_bytes()
    data.write_bytes(blob[: int(share * len(blob))])
    assert "cannot read" in content_refusal(path)


def test_a_member_of_the_archive_that_is_no_array_is_refused(write_task):
    path = write_task()
    with zipfile.ZipFile(path.parent / "data.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
        archive.writestr("y.npy", b"")
    content_refusal(path)


def fresh(task: Task) -> Task:
    """Return the task without what it has read."""
    return Task.of(task, task._folder)


def test_the_data_are_read_once(write_task):
    path = write_task()
    task = load_task(str(path))
    first = task.content
    (path.parent / "data.npz").unlink()
    assert task.content is first


def changed_x() -> dict[str, np.ndarray]:
    arrays = tiny()
    arrays["x"][17, 0, 1, 1] += 1
    return arrays


def changed_y() -> dict[str, np.ndarray]:
    arrays = tiny()
    arrays["y"][[0, 1]] = arrays["y"][[1, 0]]
    return arrays


@pytest.mark.parametrize(
    ("old", "new", "arrays"),
    [
        ("", "", changed_x()),
        ("", "", changed_y()),
        ("", "", tiny(np.arange(240.0).reshape(60, 1, 1, 4))),
        ("validation = 10", "validation = 11", tiny()),
        ("test = 5", "test = 6", tiny()),
    ],
)
def test_the_digest_of_the_data_sees_values_labels_shapes_and_the_split(
    write_task, old: str, new: str, arrays
):
    one = load_task(str(write_task())).content.digest
    other = load_task(str(write_task(old, new, arrays=arrays, folder="b"))).content.digest
    assert one != other


# backbone


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"vit"', "null"])
def test_a_backbone_config_that_is_no_json_object_is_refused(write_task, text: str):
    path = write_task()
    (path.parent / "backbone" / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(TaskError, match=r"config\.json"):
        _ = load_task(str(path)).backbone_config


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_backbone_without_one_of_its_files_is_refused(write_task, name: str):
    path = write_task()
    (path.parent / "backbone" / name).unlink()
    with pytest.raises(TaskError, match=f"tiny.*{name}"):
        _ = load_task(str(path)).backbone_hash


def test_the_hash_of_the_backbone_sees_its_config_and_its_weights(write_task):
    def backbone_hash(folder: str, **changes) -> str:
        return load_task(str(write_task(folder=folder, **changes))).backbone_hash

    one = backbone_hash("a")
    assert backbone_hash("b") == one
    assert backbone_hash("c", weights=b"Weights") != one
    assert backbone_hash("d", config={"model_type": "vit", "hidden_size": 16}) != one


def test_one_target_needs_no_list(write_task):
    path = write_task('targets = ["q", "v"]', 'targets = "all"')
    assert load_task(str(path)).lora.targets == ("all",)
