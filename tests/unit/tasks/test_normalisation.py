"""Normalisation of images: the task's keys, the folder's file, and where neither is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from floss_sim import RunConfig, dense
from floss_sim.errors import TaskError
from floss_sim.tasks import Task, load_task
from floss_sim.tasks.normalisation import Normalisation, processor_file, read_normalisation

NPZ = 'dataset = "data.npz"'
FOLDER = 'dataset = "photos"\ninput = "image"\nlabel = "label"'
HALF = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "do_normalize": True}


@pytest.fixture
def task_of(write_task):
    """Return a function that writes a task of photos, and files into its backbone's folder."""

    def made(files: dict[str, object], keys: str = "", data: str = FOLDER) -> Task:
        path: Path = write_task(NPZ, data)
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (path.parent / "backbone" / name).write_text(text, encoding="utf-8")
        text = path.read_text(encoding="utf-8").replace("[partition]", f"{keys}\n[partition]")
        path.write_text(text, encoding="utf-8")
        return load_task(str(path))

    return made


def read(content: dict, channels: int = 3) -> Normalisation:
    return read_normalisation(content, channels, "file", "where")


def refusal(content: dict, channels: int = 3) -> str:
    with pytest.raises(TaskError) as caught:
        read(content, channels)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_gives_mean_std_and_scale():
    assert read(HALF) == Normalisation((0.5,) * 3, (0.25,) * 3, None, "file")
    assert read({**HALF, "rescale_factor": 1 / 255}).scale is None
    assert read({**HALF, "rescale_factor": 1 / 127.5}).scale == 1 / 127.5
    assert read({**HALF, "do_rescale": False}).scale == 1.0
    assert read({**HALF, "do_normalize": False}) == Normalisation(source="file")
    assert read({**HALF, "image_mean": 0.1}).mean == (0.1,) * 3


def test_what_a_vit_file_leaves_out_has_the_librarys_default():
    """The library's own class is asked, which needs no picture library to state its defaults."""
    vit = pytest.importorskip("transformers.models.vit.image_processing_vit").ViTImageProcessor
    found = read({"feature_extractor_type": "ViTFeatureExtractor", "size": 224})
    assert found.mean == tuple(vit.image_mean)
    assert found.std == tuple(vit.image_std)
    assert (vit.do_rescale, vit.do_normalize, vit.rescale_factor) == (True, True, 1 / 255)
    assert "the default of 'CLIPImageProcessor' is unknown" in refusal(
        {"image_processor_type": "CLIPImageProcessor"}
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_mean": [0.5]}, "image_mean must hold 3 finite number(s)"),
        ({"image_mean": [0.5, 0.5, "x"]}, "image_mean must hold 3"),
        ({"image_mean": [0.5, 0.5, True]}, "image_mean must hold 3"),
        ({"image_mean": []}, "image_mean must hold 3"),
        ({"image_std": [0.5, 0.5, 0.0]}, "image_std must hold numbers above 0"),
        ({"image_std": float("nan")}, "image_std must hold 3"),
        ({"rescale_factor": "1/255"}, "rescale_factor must hold 1"),
        ({"do_normalize": "no"}, "do_normalize must be true or false"),
        ({"do_rescale": 0}, "do_rescale must be true or false"),
        ({"rescale_offset": True}, "rescale_offset is not supported"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order is not supported"),
    ],
)
def test_files_that_cannot_be_followed_are_refused(changes: dict, says: str):
    assert says in refusal({**HALF, **changes})


def test_the_folders_file_is_used_unless_the_task_has_its_own_numbers(task_of):
    file = {"preprocessor_config.json": HALF}
    used = task_of(file).normalisation
    assert used == Normalisation((0.5,) * 3, (0.25,) * 3, None, "preprocessor_config.json")
    own = task_of(file, "[preprocess]\nmean = [0.1, 0.2, 0.3]\nstd = [1.0, 1.0, 1.0]")
    assert own.normalisation == Normalisation((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    damaged = task_of({"preprocessor_config.json": "{"})
    with pytest.raises(TaskError, match=r"cannot read .*preprocessor_config\.json"):
        _ = damaged.normalisation


def test_a_newer_processor_file_comes_first_as_in_the_library(task_of):
    newer = {"image_processor": {**HALF, "image_mean": [0.1] * 3}}
    both = {"preprocessor_config.json": HALF, "processor_config.json": newer}
    assert task_of(both).normalisation.mean == (0.1,) * 3
    without = {"preprocessor_config.json": HALF, "processor_config.json": {"chat_template": "x"}}
    assert task_of(without).normalisation.mean == (0.5,) * 3


def settings(task: Task) -> dict:
    return RunConfig.of(task, dense(), rank=2).settings()["preprocess"]


def test_only_a_files_numbers_change_the_settings_of_a_run(task_of):
    """A file's normalisation has the fingerprint of the same numbers as keys; none changes none."""
    assert settings(task_of({"preprocessor_config.json": HALF})) == {
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }
    keys = "[preprocess]\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]"
    assert settings(task_of({"preprocessor_config.json": "{"}, keys)) == {
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }
    unscaled = {"preprocessor_config.json": {"do_rescale": False, "do_normalize": False}}
    assert settings(task_of(unscaled)) == {"rescale_factor": 1.0}
    off = {"preprocessor_config.json": {**HALF, "do_normalize": False}}
    assert settings(task_of(off)) == {}


def test_no_file_and_no_keys_change_nothing(task_of):
    assert settings(task_of({})) == {}
    assert task_of({}).normalisation == Normalisation()


def test_arrays_are_read_unchanged_and_mean_and_std_are_refused(task_of, write_task):
    task = task_of({"preprocessor_config.json": HALF}, data=NPZ)
    assert task.normalisation is None
    assert settings(task) == {}
    keys = "[preprocess]\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]"
    with pytest.raises(TaskError, match=r"mean and std have no effect on data\.npz, whose arrays"):
        _ = task_of({}, keys, data=NPZ).content
    chosen = {"preprocess.mean": [0.5], "preprocess.std": [0.5]}
    with pytest.raises(TaskError, match="mean and std have no effect on sklearn-digits"):
        _ = load_task("digits", changes=chosen).content


def test_a_normalisation_can_be_told_and_written():
    used = Normalisation((0.5,) * 3, (0.1, 0.2, 0.3), 2.0, "preprocessor_config.json")
    said = "pixels times 2, mean 0.5, std 0.1 0.2 0.3 (from preprocessor_config.json)"
    assert used.describe() == said
    assert Normalisation().describe() == "pixels 0 to 1, no mean and std (from the task file)"
    for one in (used, Normalisation(), Normalisation((0.1,), (0.2,))):
        channels = len(one.mean or (0,))
        again = read(processor_file(one, {"height": 8, "width": 8}), channels)
        assert (again.mean, again.std, again.scale) == (one.mean, one.std, one.scale)
