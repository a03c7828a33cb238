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
# Code, stdout and stderr of a command line for each backbone: a process takes a second to start.
EACH = """
import contextlib, io, json, sys
from floss_sim.cli import main
told, words, names = {}, sys.argv[1:3], sys.argv[3:]
for name in names:
    sys.argv = ["floss-sim", "estimate", *words, "--backbone", name, "--fetch"]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            told[name] = (stop.code, out.getvalue(), err.getvalue())
print(json.dumps(told))
"""
REFUSED = {
    "me/absent": "does not exist on the hub, or is private",
    "me/gated": "is gated on the hub: ask for access",
    "me/bare": "has no config.json on the hub",
    "me/broken": "cannot read",
    "me/list": "cannot read",
}


@pytest.fixture
def hub():
    with made_hub(MODELS) as served:
        yield served


def call(tmp_path, address, *words, program=("-m", "floss_sim", "estimate")):
    settings = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1",
                "FLOSS_SIM_LAYOUTS": str(tmp_path / "layouts")}  # fmt: skip
    hidden = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, *program, "--rank", "2", *words]
    return subprocess.run(
        command, env={**kept, **settings}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    with made_hub(MODELS) as (_, address):
        ran = call(tmp_path_factory.mktemp("refused"), address, *REFUSED, program=("-c", EACH))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


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


@pytest.mark.parametrize(("name", "said"), REFUSED.items())
def test_what_the_hub_does_not_have_is_one_line(refused, name, said):
    code, out, err = refused[name]

    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert f"backbone {name!r}" in err
    assert said in err


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
