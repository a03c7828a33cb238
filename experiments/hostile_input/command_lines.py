"""500 wrong command lines over all commands: ``python command_lines.py --seed 1``.

Every one must end with exit code 2 and one line on stderr within 3 seconds of processor time and
500 MB, print nothing on stdout and leave no file behind. Each runs in a forked child of a process
that has imported the commands, in an empty folder. Prints a table, writes it to
``results_command_lines.md``; ends with 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from wrong_command_lines import COMMANDS, wrong_command_lines

import floss_sim.cli
import planner.cli

MAX_S = 3.0  # processor seconds
MAX_BYTES = 500 << 20
_MAINS = {"floss-sim": floss_sim.cli.main, "floss-plan": planner.cli.main}


def problem_of(words: list[str], folder: Path) -> str:
    """Return what is wrong with the way in which a command line was refused; empty if nothing."""
    place = folder / "place"
    place.mkdir()
    out, err = folder / "out", folder / "err"
    child = os.fork()
    if not child:
        _run(words, place, out, err)
    _, status, used = os.wait4(child, 0)
    said, printed = err.read_bytes(), out.read_bytes()
    left = [str(path.relative_to(place)) for path in place.rglob("*")]
    code = os.waitstatus_to_exitcode(status)
    lines = said.count(b"\n")
    problems = {
        f"exit code {code}: {said[-200:]!r}": code != 2,
        f"{lines} lines on stderr: {said[:300]!r}": lines != 1,
        "no name of the command": not said.startswith(f"{words[0]}: ".encode()),
        f"stdout: {printed[:100]!r}": bool(printed),
        f"left behind: {left}": bool(left),
        f"{used.ru_utime + used.ru_stime:.1f} s": used.ru_utime + used.ru_stime > MAX_S,
        f"{used.ru_maxrss >> 10} MB": used.ru_maxrss * 1024 > MAX_BYTES,
    }
    place.rmdir() if not left else None
    return "; ".join(text for text, holds in problems.items() if holds)


def _run(words: list[str], place: Path, out: Path, err: Path) -> None:
    """Run a command line in this process and end it."""
    os.chdir(place)
    os.environ["FLOSS_SIM_STORE"] = str(place / "store")
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    sys.argv = words
    code = 99
    try:
        _MAINS[words[0]]()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 98
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=500)
    chosen = parser.parse_args()
    tried: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for words in wrong_command_lines(random.Random(chosen.seed), chosen.count):  # noqa: S311
        matching = [known for known in COMMANDS if tuple(words[: len(known)]) == known]
        command = " ".join(max(matching, key=len))
        tried[command] += 1
        with tempfile.TemporaryDirectory() as folder:
            problem = problem_of(words, Path(folder))
        if problem:
            wrong[command] += 1
            print(f"{words}: {problem}"[:700], flush=True)
    lines = ["| command | wrong lines | refused rightly | otherwise |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {n} | {n - wrong[name]} | {wrong[name]} |" for name, n in sorted(tried.items())
    ]
    lines.append(f"| all | {tried.total()} | {tried.total() - wrong.total()} | {wrong.total()} |")
    table = "\n".join(lines)
    print(table)
    place = Path(__file__).parent / "results_command_lines.md"
    place.write_text(f"# Wrong command lines, seed {chosen.seed}\n\n{table}\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
