"""Files of a backbone's folder: which are loaded, counted and hashed, and which are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from floss_sim.errors import TaskError
from floss_sim.tasks.backbone_files import BackboneFiles

CONFIG = {"model_type": "vit", "hidden_size": 8}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config and one weight file."""
    write(tmp_path, "config.json", CONFIG)
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A folder with a config, two weight files and their index."""
    write(tmp_path, "config.json", CONFIG)
    for name, tensor in zip(SHARDS, "ab", strict=True):
        save_file({tensor: np.zeros(3, np.float32)}, tmp_path / name)
    write(tmp_path, INDEX, {"weight_map": dict(zip("ab", SHARDS, strict=True))})
    return tmp_path


def write(folder: Path, name: str, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")


def files(folder: Path) -> BackboneFiles:
    return BackboneFiles(str(folder), folder, False, "task 'x'")


def refusal(folder: Path, what: str) -> str:
    with pytest.raises(TaskError, match="task 'x'") as caught:
        getattr(files(folder), what)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_single_file_is_loaded_and_counted_once_whatever_lies_beside_it(folder: Path):
    size = (folder / "model.safetensors").stat().st_size
    for stray in ("other.safetensors", "adapter_model.safetensors", SHARDS[0], INDEX):
        (folder / stray).write_bytes(b"{}" * 100)
    assert files(folder).weight_files == (folder / "model.safetensors",)
    assert files(folder).weights_nbytes() == size
    assert [*files(folder).tensors] == ["a"]


def test_shards_are_those_of_the_index(sharded: Path):
    size = sum((sharded / name).stat().st_size for name in SHARDS)
    (sharded / "model-00003-of-00003.safetensors").write_bytes(b"stray")
    assert files(sharded).weight_files == tuple(sharded / name for name in SHARDS)
    assert files(sharded).weights_nbytes() == size
    assert {*files(sharded).tensors} == {"a", "b"}


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ("{", "cannot read"),
        ({}, "holds no weight_map"),
        ({"weight_map": {}}, "holds no weight_map"),
        ({"weight_map": ["a"]}, "holds no weight_map"),
        ({"weight_map": {"a": SHARDS[0], "b": "gone.safetensors"}}, "names 'gone.safetensors', wh"),
        ({"weight_map": {"a": "../up.safetensors"}}, "valid: a .safetensors file of the folder"),
        ({"weight_map": {"a": "/up.safetensors"}}, "valid: a .safetensors file of the folder"),
        ({"weight_map": {"a": "pytorch_model.bin"}}, "valid: a .safetensors file of the folder"),
        ({"weight_map": {"a": 7}}, "valid: a .safetensors file of the folder"),
        ({"weight_map": {"b": SHARDS[0], "a": SHARDS[1]}}, "names tensor 'b', which model-00001"),
        ({"weight_map": {"a": SHARDS[0], "c": SHARDS[1]}}, "names tensor 'c', which model-00002"),
    ],
)
def test_an_index_that_is_not_that_of_the_shards_is_refused(sharded: Path, index, says: str):
    write(sharded, INDEX, index)
    assert says in refusal(sharded, "tensors")


def test_a_tensor_in_two_shards_is_refused(sharded: Path):
    save_file({"a": np.ones(3, np.float32), "b": np.ones(1)}, sharded / SHARDS[1])
    assert "tensor 'a' is in model-00001-of-00002.safetensors and in " in refusal(
        sharded, "tensors"
    )


def test_a_folder_without_weights_is_refused(folder: Path):
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    assert "neither model.safetensors nor model.safetensors.index.json" in refusal(
        folder, "weight_files"
    )


def test_a_damaged_weight_file_is_one_line(folder: Path):
    for blob in (b"", b"\xff" * 64, (folder / "model.safetensors").read_bytes()[:-1]):
        (folder / "model.safetensors").write_bytes(blob)
        assert "cannot read" in refusal(folder, "tensors")


def test_an_adapter_in_the_folder_is_neither_hashed_nor_overlooked(folder: Path):
    one = files(folder)
    assert not one.has_adapter
    (folder / "adapter_model.safetensors").write_bytes(b"adapter")
    write(folder, "adapter_config.json", {})
    assert files(folder).has_adapter
    assert files(folder).digest == one.digest


def test_runs_that_trained_on_a_pickled_adapter_are_not_found_again(folder: Path):
    """Earlier versions loaded it, under the digest of the folder without it."""
    one = files(folder).digest
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    assert files(folder).digest == one
    write(folder, "adapter_config.json", {})
    assert files(folder).digest != one


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("chunk_size_feed_forward", 3, "valid: null, 0"),
        ("chunk_size_feed_forward", True, "valid: null, 0"),
        ("quantization_config", {"quant_method": "gptq"}, "valid: null"),
        ("transformers_weights", "adapter_model.bin", "valid: null"),
        ("_attn_implementation", "someone/kernel", "valid: null, eager, sdpa"),
    ],
)
def test_a_config_that_changes_how_weights_are_read_is_refused(folder: Path, key, value, says):
    write(folder, "config.json", {**CONFIG, key: value})
    said = refusal(folder, "config")
    assert f"sets {key} to " in said
    assert said.endswith(says)
    for harmless in (None, *([0] if "chunk" in key else [])):
        write(folder, "config.json", {**CONFIG, key: harmless})
        assert files(folder).config[key] == harmless


@pytest.mark.parametrize("text", ['{"a": ' * 100_000, "[" * 100_000, "{" + " " * (32 << 20)])
def test_a_config_that_is_too_deep_or_too_large_is_refused(folder: Path, text: str):
    write(folder, "config.json", text)
    assert "cannot read backbone" in refusal(folder, "config")
