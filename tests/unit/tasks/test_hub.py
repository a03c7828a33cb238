"""References: local paths, hub ids in the local cache, and what may be downloaded when told."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import datasets
import httpx2
import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants, errors

from floss_sim.errors import TaskError
from floss_sim.tasks import Task, hub, load_task
from floss_sim.tasks.dataset_files import Reading, open_splits
from floss_sim.tasks.table_cells import CsvForm

SNAPSHOT = "a" * 40


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point both libraries to an empty cache, and refuse every look-up of a host."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")

    def refuse(*_arguments, **_options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return cache


def hub_task(write_task, *, fetch: bool = False) -> Task:
    path = write_task('model = "backbone"', 'model = "someone/vit"')
    return load_task(str(path), dataset="someone/pictures", fetch=fetch)


def refusal(task: Task, what: str) -> str:
    with pytest.raises(TaskError) as caught:
        getattr(task, what)
    assert "\n" not in str(caught.value)
    assert "--dataset (data.dataset) and --backbone (backbone.model)" in str(caught.value)
    return str(caught.value)


def http_error(kind: type[errors.HfHubHTTPError], status: int) -> errors.HfHubHTTPError:
    request = httpx2.Request("GET", "https://hub.invalid/api")
    return kind("Client error.\nMore.", response=httpx2.Response(status, request=request))


# what a reference is


@pytest.mark.parametrize("reference", ["gpt2", "someone/vit", "some.one/vit-b_16"])
def test_a_name_that_is_no_path_is_a_hub_id(tmp_path: Path, reference: str):
    assert hub.locate(reference, tmp_path) is None
    (tmp_path / reference).mkdir(parents=True)
    assert hub.locate(reference, tmp_path) == tmp_path / reference


@pytest.mark.parametrize(
    "reference", ["./vit", "../vit", "/vit", "a/b/c", "rows.csv", "data/rows.jsonl.gz", "a b"]
)
def test_what_looks_like_a_path_is_one(tmp_path: Path, reference: str):
    assert hub.locate(reference, tmp_path) == tmp_path / reference


def test_references_of_the_command_line_start_at_the_working_directory(write_task, monkeypatch):
    home = write_task().parent
    monkeypatch.chdir(home.parent)
    other = write_task('model = "backbone"', 'model = "none"', folder="other")
    task = load_task(str(other), dataset="task/data.npz", backbone="task/backbone")
    assert task.backbone_path == home / "backbone"
    assert Path(task.data.dataset) == home / "data.npz"
    assert len(task.content.train[1]) == 45
    assert load_task(str(other), dataset="sklearn-digits").data.dataset == "sklearn-digits"


def test_other_keys_can_be_changed_too(write_task):
    changes = {"partition.clients": 3, "preprocess.image_size": 4, "name": "changed"}
    task = load_task(str(write_task()), changes=changes)
    assert (task.partition.clients, task.preprocess.image_size, task.name) == (3, 4, "changed")
    for changes in ({"partition.clients": 0}, {"partition.size": 3}, {"name.x": 1}, {"x.y": 1}):
        with pytest.raises(TaskError, match=r"tiny\.toml: "):
            load_task(str(write_task()), changes=changes)


# not told to fetch


@pytest.mark.parametrize("what", ["backbone_path", "backbone_config", "backbone_hash", "content"])
def test_without_a_cache_one_line_says_what_to_do(write_task, what: str, capfd):
    said = refusal(hub_task(write_task), what)
    assert "is neither a local path nor in the hub's local cache" in said
    assert said.endswith("or add --fetch")
    assert capfd.readouterr() == ("", "")


def test_a_cached_backbone_is_used_without_asking_the_network(write_task, hub_cache: Path):
    root = hub_cache / "hub" / "models--someone--vit"
    snapshot = root / "snapshots" / SNAPSHOT
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(SNAPSHOT)
    shutil.copytree(write_task().parent / "backbone", snapshot)
    task = hub_task(write_task)
    assert task.backbone_path == snapshot
    assert task.backbone_config["hidden_size"] == 8


def test_a_cached_data_set_is_used_without_asking_the_network(tmp_path: Path, hub_cache: Path):
    """The library's own cache, built from a local file and given the hub id's names."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"x": number}) + "\n" for number in range(5)))
    cached = hub_cache / "datasets"
    datasets.disable_progress_bars()
    datasets.load_dataset("json", data_files=str(rows), cache_dir=str(cached))
    (built,) = cached.glob("json/*/*/*/dataset_info.json")
    place = cached / "someone___pictures" / "default" / "0.0.0" / "abc"
    place.parent.mkdir(parents=True)
    built.parent.rename(place)
    info = json.loads((place / "dataset_info.json").read_text())
    info |= {"dataset_name": "pictures", "config_name": "default"}
    (place / "dataset_info.json").write_text(json.dumps(info))
    (place / "json-train.arrow").rename(place / "pictures-train.arrow")
    splits = open_splits(
        "someone/pictures", tmp_path, Reading(frozenset(), CsvForm()),
        config=None, revision=None, fetch=False,
    )  # fmt: skip
    assert np.array_equal(splits["train"].table["x"], range(5))


def test_looking_into_the_caches_leaves_the_libraries_as_they_were(write_task):
    def state():
        return (
            datasets.config.HF_HUB_OFFLINE,
            datasets.are_progress_bars_disabled(),
            datasets.logging.get_verbosity(),
            huggingface_hub.utils.are_progress_bars_disabled(),
            huggingface_hub.utils.logging.get_verbosity(),
        )

    before = state()
    for what in ("backbone_path", "content"):
        refusal(hub_task(write_task), what)
    assert state() == before


# told to fetch


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (http_error(errors.GatedRepoError, 403), "is gated on the hub: ask for access"),
        (http_error(errors.RepositoryNotFoundError, 404), "does not exist on the hub"),
        (http_error(errors.RevisionNotFoundError, 404), "has no such revision"),
        (http_error(errors.HfHubHTTPError, 500), "could not be fetched from the hub (Client error"),
        (errors.LocalEntryNotFoundError("No network.\nx"), "could not be fetched from the hub"),
        (ConnectionError("No route."), "could not be fetched from the hub (No route.)"),
    ],
)
def test_a_backbone_that_cannot_be_fetched_is_one_line(write_task, monkeypatch, error, says):
    def fail(*_arguments, **options):
        assert options["local_files_only"] is False
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    said = refusal(hub_task(write_task, fetch=True), "backbone_path")
    assert f"backbone 'someone/vit' {says}" in said
    assert "--fetch" not in said


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (datasets.exceptions.DatasetNotFoundError("Dataset 'x' is a gated dataset on the Hub."),
         "is gated on the hub"),
        (datasets.exceptions.DatasetNotFoundError("Dataset 'x' doesn't exist on the Hub."),
         "does not exist on the hub"),
        (ConnectionError("Couldn't reach 'x'"), "could not be fetched from the hub"),
        (ValueError("BuilderConfig 'y' not found.\nAvailable: z"), "BuilderConfig 'y' not found"),
    ],
)  # fmt: skip
def test_a_data_set_that_cannot_be_fetched_is_one_line(write_task, monkeypatch, error, says):
    def fail(*_arguments, **_options):
        assert datasets.config.HF_HUB_OFFLINE is False
        raise error

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset_builder", fail)
    said = refusal(hub_task(write_task, fetch=True), "content")
    assert "data set 'someone/pictures' " in said
    assert says in said


def test_only_the_files_that_a_backbone_needs_are_fetched(write_task, monkeypatch, tmp_path):
    seen = {}

    def download(reference, **options):
        seen.update(options, reference=reference)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert hub_task(write_task, fetch=True).backbone_path == tmp_path
    assert seen["reference"] == "someone/vit"
    assert "config.json" in seen["allow_patterns"]
    assert "tokenizer_config.json" in seen["allow_patterns"]
    assert "adapter_*" in seen["ignore_patterns"]
    assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in seen["allow_patterns"])


# what ships


@pytest.mark.parametrize("name", ["cifar10", "20newsgroups", "reddit"])
def test_the_packaged_tasks_state_the_published_settings(name: str):
    task = load_task(name)
    assert (task.lora.alpha, task.lora.dropout, task.server.cohort) == (16, 0.1, 5)
    assert (task.client.momentum, task.client.batch_size, task.client.epochs) == (0.9, 16, 1)
    assert task.server.optimizer == "fedadam"
    assert "add --fetch" in refusal(task, "backbone_path")
    assert "add --fetch" in refusal(task, "content")


# names without a place of this machine


def test_a_task_names_its_backbone_and_its_data_without_their_places(write_task, tmp_path: Path):
    remote = hub_task(write_task)
    assert (remote.hub_id, remote.backbone_name, remote.data_name) == (
        "someone/vit", "someone/vit", "someone/pictures",
    )  # fmt: skip
    local = load_task("digits", dataset=str(tmp_path / "rows" / ".." / "rows.csv"))
    assert (local.hub_id, local.backbone_name) == (None, "digits_backbone")
    assert local.data_name == "rows.csv"
    copied = load_task("digits", changes={"backbone.hub_id": "someone/vit"})
    assert (copied.hub_id, copied.backbone_name) == ("someone/vit", "someone/vit")
    assert copied.data_name == "sklearn-digits"


@pytest.mark.parametrize("given", ["/home/me/vit", "a/b/c", "", "two words"])
def test_a_hub_id_has_the_form_of_one(given: str):
    with pytest.raises(TaskError, match=r"backbone\.hub_id: must be a hub id such as 'owner/name'"):
        load_task("digits", changes={"backbone.hub_id": given})
