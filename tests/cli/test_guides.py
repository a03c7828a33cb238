"""The guides of six packages: their commands succeed and their Python code runs, in order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import commands
import pytest

import floss_sim
import planner

SIM, PLANNER = (Path(package.__file__).parent for package in (floss_sim, planner))
FOLDERS = [PLANNER, *(SIM / name for name in ("families", "methods", "wire", "runs", "analysis"))]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)\)")


def read_guide(folder: Path) -> str:
    return (folder / "GUIDE.md").read_text(encoding="utf-8")


def command_lines(block: str) -> list[list[str]]:
    """Return the words of every command; a backslash at a line's end continues the command."""
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_examples_of_a_guide_run(folder: Path, tmp_path: Path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(read_guide(folder))
    assert "sh" in {language for language, _ in blocks}
    namespace = {"__name__": "guide"}
    for language, text in blocks:
        if language == "python":
            code = compile(text, f"{folder.name}/GUIDE.md", "exec", dont_inherit=True)
            exec(code, namespace)  # noqa: S102
            continue
        for words in command_lines(text):
            code, _, err = commands.call(monkeypatch, capfd, *words)
            assert code == 0, f"{shlex.join(words)}: {err}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_links_of_a_guide_lead_to_files(folder: Path):
    links = LINK.findall(re.sub(r"\n\s*", " ", read_guide(folder)))
    assert links
    for link in links:
        assert (folder / link.replace(" ", "")).exists(), link
