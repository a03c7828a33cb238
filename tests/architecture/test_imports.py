"""What an import may load, seen from a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import commands
import pytest

DATA = ("datasets", "tokenizers", "huggingface_hub", "PIL")
HEAVY = ("torch", "transformers", "peft", "pandas", "matplotlib", "scipy", "sklearn", *DATA)


@pytest.mark.parametrize(
    "code",
    [
        "from floss_sim import *",
        "from planner import *",
        "import planner.planning, planner.report.plan_text",
        "import planner.search.race",
        "import sys, planner.cli as c; sys.argv = ['floss-plan', '--help']; c.main()",
        "import sys, floss_sim.cli as c; sys.argv = ['floss-sim', 'run', '--help']; c.main()",
        "import sys, floss_sim.cli as c; sys.argv = ['floss-sim', 'profiles', 'list']; c.main()",
        "import sys, floss_sim.cli as c; sys.argv = ['floss-sim', 'replay', '--help']; c.main()",
        "import floss_sim.analysis.comparison",
        "import floss_sim.analysis.what_if, floss_sim.analysis.crossover",
        "import floss_sim.cli.wire",
    ],
)
def test_nothing_heavy_is_loaded(code: str):
    check = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('HEAVY', [m for m in {HEAVY} if m in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", check + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout


def test_a_run_on_a_cpu_does_not_enter_the_rooms_of_a_gpu(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from floss_sim import *\n"
        "from planner.execution.curve_store import CurveStore\n"
        "config = RunConfig.of(load_task('digits'), floss(1 / 4, 1 / 16), rank=1)\n"
        "other = RunConfig.of(load_task('digits'), floss(1 / 4, 1 / 16), rank=2)\n"
        f"store = CurveStore(Path({str(tmp_path)!r}), 'cpu')\n"
        "assert store.extend_all([(config, 1), (other, 1)]) == [1, 1]\n"
        "run(config, load_profile('lte'), open_learner(config, 'cpu'), rounds=1)\n"
        "print('LOADED', [m for m in sys.modules if m.startswith('floss_sim.training.gpu')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LOADED []" in done.stdout, done.stderr


def test_digits_need_no_library_of_data_sets():
    code = (
        "import sys, floss_sim as f; t = f.load_task('digits'); t.content, t.backbone_hash\n"
        f"print('LOADED', [m for m in {DATA} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize("words", [("floss-sim", "run"), ("floss-sim", "replay"), ("floss-plan",)])
def test_help_has_examples(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    told = commands.printed(monkeypatch, *words, "--help")
    assert "Examples:" in told
    assert "--network lte" in told
