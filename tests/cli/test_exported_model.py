"""Exported models, loaded in a fresh process by the lines of their cards, without this package."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from cards import card_lines
from own_tasks import write_own_task
from tiny_models import TEXTS

import floss_sim.tasks
from floss_sim import RunConfig, dense, load_task, method_from_name
from floss_sim.records import RunFolder
from floss_sim.tasks.text import open_tokenizer, tokenise
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.units import format_bytes
from floss_sim.wire import decode

Logits = Callable[[Path, str], tuple[np.ndarray, dict[str, str]]]
BACKBONE = Path(floss_sim.tasks.__file__).parent / "digits_backbone"
# The package and its test helpers are not importable in the fresh process. Programs share no names.
SERVE = """
import json, os, sys
sys.path = [p for p in sys.path if 'floss' not in p]
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    folder, program = json.loads(line)
    os.chdir(folder)
    exec(program, {"__name__": "__main__"})
    print("done", file=answers, flush=True)
"""
OF_TEXTS = """
inputs = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
logits = model(**inputs).logits
"""
OF_IMAGES = "logits = model(pixel_values=torch.from_numpy(np.load('images.npy'))).logits\n"


@pytest.fixture(scope="module")
def fresh_logits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logits]:
    """Return a function: logits and class names that the lines of a card and further code give.

    The cards of all tests run in one fresh process: its libraries take seconds to import.
    """
    said = tmp_path_factory.mktemp("fresh") / "stderr"
    with said.open("w") as errors, subprocess.Popen(
        [sys.executable, "-I", "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=errors, text=True, env={"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"},
    ) as process:  # fmt: skip

        def logits(folder: Path, code: str) -> tuple[np.ndarray, dict[str, str]]:
            lines = card_lines(folder)
            assert len(lines) <= 6
            ends = (
                "np.save('logits.npy', logits.detach().numpy())\n"
                "open('names', 'w').write(str(model.config.id2label))"
            )
            program = "\n".join(["import numpy as np, torch", *lines, code, ends])
            process.stdin.write(json.dumps([str(folder), program]) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n", said.read_text()
            names = re.findall(r"(\d+): '([^']*)'", (folder / "names").read_text())
            return np.load(folder / "logits.npy"), dict(names)

        yield logits


def recorded_logits(config: RunConfig, folder: Path, x: np.ndarray) -> np.ndarray:
    """Return the logits of the last recorded model of a run folder."""
    run = RunFolder.read(folder)
    offsets, _ = decode(config.layout, run.model(run.manifest().rounds))
    flat = build_flat_model(config, torch.device("cpu"))
    flat.load(flat.base + offsets)
    with torch.no_grad():
        return flat.outputs(torch.from_numpy(x), torch.zeros(len(x)))[0].numpy()


def files_with(folder: Path, text: str) -> list[str]:
    """Return the names of files in a folder whose content contains a text."""
    contents = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert contents
    unpacked = {k: gzip.decompress(v) if k.endswith(".gz") else v for k, v in contents.items()}
    return [name for name, content in unpacked.items() if text.encode() in content]


def check_modes(folder: Path) -> None:
    """Check that all files of a folder have the permissions of the umask."""
    probe = folder.parent / "probe"
    probe.touch()
    assert {path.stat().st_mode for path in folder.rglob("*") if path.is_file()} == {
        probe.stat().st_mode
    }


def run(monkeypatch, capfd, out: Path, *words: str) -> dict:
    code, said, err = commands.call(
        monkeypatch, capfd, "floss-sim", "run", "--out", str(out), "--json", *words
    )
    assert code == 0, err
    assert files_with(out, str(out.parent)) == []
    check_modes(out)
    return json.loads(said)


def test_a_run_of_texts(fresh_logits: Logits, monkeypatch, capfd, tmp_path: Path):
    path = write_own_task(tmp_path, "bert", TEXTS, ["q", "v"])
    out = tmp_path / "run"
    network = tmp_path / "net.toml"
    rates = tmp_path / "rates.csv"
    rates.write_text("seconds,kbit/s\n0,900\n1,700\n", encoding="utf-8")
    traced = commands.OWN.replace('down = "200 Mbit/s"', f'down_trace = {{ file = "{rates}" }}')
    network.write_text(traced, encoding="utf-8")
    words = ["--task", str(path), "--rank", "2", "--rounds", "2", "--network", str(network)]
    made = run(monkeypatch, capfd, out, *words)
    assert (out / "network.json.gz").is_file()
    rows = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(row)["text"] for row in rows]
    ids = tokenise([texts], open_tokenizer(tmp_path / "backbone", 10)).ids
    expected = recorded_logits(RunConfig.of(load_task(str(path)), dense(), rank=2), out, ids)
    shutil.move(tmp_path / "backbone", out)
    found, names = fresh_logits(out / "adapter", f"texts = {texts!r}\n{OF_TEXTS}")
    assert found == pytest.approx(expected, abs=1e-6)
    assert names == {"0": "a", "1": "b"}
    card = (out / "adapter" / "README.md").read_text(encoding="utf-8")
    low, mean, high = (f"{made['test'][key]:.3f}" for key in ("low", "mean", "high"))
    assert f"| test accuracy (90 % interval) | {mean} ({low} to {high}; " in card
    assert "on 6 examples, 1 seed) |" in card
    assert "| data | rows.jsonl: 36 training, 6 validation, 6 test examples |" in card
    assert f"| bytes | {format_bytes(made['down_bytes'] + made['up_bytes'])}: " in card


@pytest.mark.parametrize(("method", "name"), [("dense", "adapter"), ("bitfit", "model")])
def test_a_run_of_images(
    fresh_logits: Logits, monkeypatch, capfd, tmp_path: Path, method: str, name: str
):
    out, ranks = tmp_path / "run", ["--rank", "2"] * (method == "dense")
    run(monkeypatch, capfd, out, *ranks, "--method", method, "--rounds", "1")
    config = RunConfig.of(load_task("digits"), method_from_name(method), rank=2)
    card = (out / name / "README.md").read_text(encoding="utf-8")
    assert ("(floss_sim/tasks/digits_backbone of floss-sim)" in card) == (name == "adapter")
    images = config.task.content.test[0]
    np.save(out / name / "images.npy", images)
    shutil.copytree(BACKBONE, out / "digits_backbone")
    found, names = fresh_logits(out / name, OF_IMAGES)
    assert found == pytest.approx(recorded_logits(config, out, images), abs=1e-6)
    assert names == {str(n): str(n) for n in range(10)}
