"""What the commands say of a backbone's folder, and what they refuse before anything is created."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import commands
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import floss_sim.cli
import floss_sim.tasks

DIGITS = Path(floss_sim.tasks.__file__).parent
CHANGES = {
    '"sklearn-digits"': '"photos"\ninput = "image"\nlabel = "label"',
    "classes = 10": "classes = 2",
    "validation = 350": "validation = 2",
    "test = 350": "test = 2",
    "clients = 50": "clients = 2",
    "dirichlet": "iid",
    "cohort = 5": "cohort = 2",
}


def call(monkeypatch, capfd, *words: str, command: str = "floss-sim") -> tuple[int, str, str]:
    return commands.call(monkeypatch, capfd, command, *words)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write pictures and the digits task on them, with its own copy of the backbone."""
    draw = np.random.default_rng(0)
    for number in range(24):
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    shutil.copytree(DIGITS / "digits_backbone", tmp_path / "digits_backbone")
    text = (DIGITS / "digits.toml").read_text(encoding="utf-8")
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    return tmp_path


def test_check_says_how_pictures_are_normalised(monkeypatch, capfd, photos: Path):
    check = ("task", "check", str(photos / "mine.toml"), "--rank", "2", "--json")
    plain = json.loads(call(monkeypatch, capfd, *check)[1])
    assert plain["inputs"] == "pixels 0 to 1, no mean and std (from the task file)"
    backbone = photos / "digits_backbone"
    stated = {"image_mean": [0.25], "image_std": [0.5]}
    (backbone / "preprocessor_config.json").write_text(json.dumps(stated), encoding="utf-8")
    (backbone / "adapter_config.json").write_text("{}", encoding="utf-8")
    used = json.loads(call(monkeypatch, capfd, *check)[1])
    assert used["inputs"] == (
        "pixels 0 to 1, mean 0.25, std 0.5 (from preprocessor_config.json); the adapter in the "
        "backbone's folder is not loaded"
    )
    own = ("--set", "preprocess.mean=[0.1]", "--set", "preprocess.std=[0.2]")
    said = json.loads(call(monkeypatch, capfd, *check, *own)[1])["inputs"]
    assert said.startswith("pixels 0 to 1, mean 0.1, std 0.2 (from the task file)")


def test_a_files_normalisation_is_another_run(monkeypatch, capfd, photos: Path):
    """A run folder from before, when the file was overlooked, is not continued."""
    monkeypatch.chdir(photos)
    run = ("run", "--task", "mine.toml", "--rank", "2", "--rounds", "1", "--out", "out", "--json")
    assert call(monkeypatch, capfd, *run)[0] == 0
    stated = {"image_mean": [0.25], "image_std": [0.5]}
    path = photos / "digits_backbone" / "preprocessor_config.json"
    path.write_text(json.dumps(stated), encoding="utf-8")
    code, _, err = call(monkeypatch, capfd, *run)
    assert code == 2
    assert "another run" in err
    path.unlink()
    assert call(monkeypatch, capfd, *run)[0] == 0


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda blob: blob[:-1], "model.safetensors"),
        (lambda blob: blob.replace(b"vit.layernorm.bias", b"vit.layernorm.bios"), "missing tensor"),
    ],
)
def test_damaged_weights_are_refused_before_anything_is_created(
    monkeypatch, capfd, photos: Path, damage, says: str
):
    monkeypatch.chdir(photos)
    weights = photos / "digits_backbone" / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    before = {*photos.rglob("*")}
    plan = (
        "--task", "mine.toml", "--budget", "1-dense-rounds", "--ranks", "2", "--down-densities",
        "1", "--up-densities", "1", "--reference-rank", "2", "--max-rounds", "1", "--workers", "1",
        "--effort", "1",
    )  # fmt: skip
    for command, arguments in (
        ("floss-sim", ("run", "--task", "mine.toml", "--rank", "2", "--rounds", "1")),
        ("floss-plan", plan),
    ):
        code, out, err = call(monkeypatch, capfd, *arguments, command=command)
        assert (code, out) == (2, "")
        assert says in err
        assert err.count("\n") == 1
    assert {path for path in photos.rglob("*") if path.is_file()} <= before


def nan_weights(backbone: Path) -> None:
    tensors = load_file(backbone / "model.safetensors")
    first = min(tensors)
    tensors[first] = np.full_like(tensors[first], np.nan)
    save_file(tensors, backbone / "model.safetensors", {"format": "pt"})


def wrong_dropout(backbone: Path) -> None:
    config = json.loads((backbone / "config.json").read_text(encoding="utf-8"))
    text = json.dumps({**config, "hidden_dropout_prob": 2})
    (backbone / "config.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("damage", [nan_weights, wrong_dropout])
def test_what_is_refused_while_a_run_begins_leaves_nothing(
    monkeypatch, capfd, photos: Path, damage
):
    monkeypatch.chdir(photos)
    damage(photos / "digits_backbone")
    before = {*photos.rglob("*")}
    plan = (
        "--task", "mine.toml", "--budget", "2-dense-rounds", "--ranks", "1,2", "--down-densities",
        "1", "--up-densities", "1", "--reference-rank", "2", "--max-rounds", "2", "--workers", "2",
        "--effort", "1", "--store", "deep/store", "--out", "plans/one",
    )  # fmt: skip
    for command, arguments in (
        ("floss-sim", ("run", "--task", "mine.toml", "--rank", "2", "--out", "deep/run")),
        ("floss-plan", plan),
    ):
        code, out, err = call(monkeypatch, capfd, *arguments, command=command)
        assert (code, out) == (2, "")
        assert "cannot load backbone" in err
        assert {*photos.rglob("*")} == before, command
