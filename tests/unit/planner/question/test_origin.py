"""Paths of an origin: absolute in memory, relative to the plan's folder in its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from floss_sim.network import load_profile
from floss_sim.tasks import load_task
from planner.question.origin import Origin


def test_paths_are_relative_in_the_file_and_absolute_again(tmp_path: Path):
    origin = Origin(
        task=str(tmp_path / "a" / "mine.toml"), network=str(tmp_path / "plans" / "x" / "net.toml"),
        dataset=str(tmp_path / "plans" / "rows.csv"), backbone="owner/name",
    )  # fmt: skip
    folder = tmp_path / "plans" / "x"
    written = origin.relative_to(folder)
    assert written.model_dump(exclude_defaults=True) == {
        "task": "../../a/mine.toml", "network": "./net.toml", "dataset": "../rows.csv",
        "backbone": "owner/name",
    }  # fmt: skip
    assert written.absolute_from(folder) == origin
    moved = written.absolute_from(tmp_path / "other" / "plans" / "x")
    assert moved.task == str(tmp_path / "other" / "a" / "mine.toml")


def test_a_folder_behind_a_link_leads_to_the_same_files(tmp_path: Path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    origin = Origin(task=str(tmp_path / "mine.toml"), network="lte")
    written = origin.relative_to(tmp_path / "link")
    assert written.task == "../../mine.toml"
    assert written.absolute_from(tmp_path / "link") == origin


def test_packaged_names_and_hub_ids_are_no_paths(tmp_path: Path):
    origin = Origin(task="digits", network="lte", dataset="gpt2", changes={"name": "a"})
    assert origin.relative_to(tmp_path) == origin == origin.absolute_from(tmp_path)


@pytest.mark.parametrize("key", ["data.dataset", "backbone.model"])
def test_an_absolute_path_among_the_changes_is_a_reference(key: str):
    task = load_task("digits")
    given = {"data.dataset": "/rows.npz", "backbone.model": str(task.backbone_path)}[key]
    made = Origin.of(
        task, load_profile("lte"), names=("digits", "lte"), changes={key: given, "name": "mine"}
    )
    assert made.changes == {"name": "mine"}
    assert (made.dataset, made.backbone).count(given) == 1
