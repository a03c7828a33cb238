"""What an import may load, seen from a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

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


def test_digits_need_no_library_of_data_sets():
    code = (
        "import sys, floss_sim as f; t = f.load_task('digits'); t.content, t.backbone_hash\n"
        f"print('LOADED', [m for m in {DATA} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


@pytest.mark.parametrize("command", [["floss_sim", "run"], ["floss_sim", "replay"], ["planner"]])
def test_help_has_examples(command: list[str]):
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=True
    )
    assert "Examples:" in done.stdout
    assert "--network lte" in done.stdout
