"""Hub ids with --fetch, against a hub on this machine."""

import json
import os
import subprocess
import sys

import pytest
from made_hub import GATED, made_hub

CONFIG = {"model_type": "qwen2", "hidden_size": 8, "num_hidden_layers": 2,
          "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 12,
          "vocab_size": 20, "auto_map": {"AutoConfig": "code.Config"}}  # fmt: skip
FILES = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": b"weights",
         "code.py": b"raise SystemExit"}  # fmt: skip
MODELS = {
    "me/small": FILES, "me/gated": GATED, "me/bare": {"model.safetensors": b"weights"},
    "me/broken": {"config.json": b"{"}, "me/list": {"config.json": b"[]"},
}  # fmt: skip


@pytest.fixture
def hub():
    with made_hub(MODELS) as served:
        yield served


def call(tmp_path, address, *words):
    settings = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1",
                "FLOSS_SIM_LAYOUTS": str(tmp_path / "layouts")}  # fmt: skip
    hidden = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-m", "floss_sim", "estimate", "--rank", "2", *words]
    return subprocess.run(
        command, env={**kept, **settings}, capture_output=True, text=True, check=False
    )


def test_the_config_alone_is_downloaded_and_kept(tmp_path, hub):
    served, address = hub
    ran = call(tmp_path, address, "--backbone", "me/small", "--fetch", "--json")

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["trained_entries"] == 2 * (2 * (8 + 8) + 2 * (8 + 4))
    files = {path for _, path in served.requests if "/resolve/" in path}
    assert files == {"/me/small/resolve/main/config.json"}
    asked = len(served.requests)
    again = call(tmp_path, address, "--backbone", "me/small", "--json")
    assert again.stdout == ran.stdout
    assert len(served.requests) == asked


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("me/absent", "does not exist on the hub, or is private"),
        ("me/gated", "is gated on the hub: ask for access"),
        ("me/bare", "has no config.json on the hub"),
        ("me/broken", "cannot read"),
        ("me/list", "cannot read"),
    ],
)
def test_what_the_hub_does_not_have_is_one_line(tmp_path, hub, name, said):
    ran = call(tmp_path, hub[1], "--backbone", name, "--fetch")

    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1), ran.stderr
    assert f"backbone {name!r}" in ran.stderr
    assert said in ran.stderr


def test_a_hub_that_does_not_answer_is_one_line(tmp_path):
    with made_hub({}) as (_, address):
        pass
    ran = call(tmp_path, address, "--backbone", "me/small", "--fetch")

    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1), ran.stderr
    assert "could not be fetched from the hub" in ran.stderr


def test_nothing_is_asked_without_fetch(tmp_path, hub):
    served, address = hub
    ran = call(tmp_path, address, "--backbone", "me/small")

    assert ran.returncode == 2
    assert "add --fetch" in ran.stderr
    assert not served.requests
