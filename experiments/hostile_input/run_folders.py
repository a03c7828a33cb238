"""Damaged run folders: bit flips read by the library, and exchanged files met by the commands.

Usage:
    python experiments/hostile_input/run_folders.py [--flips 250] [--seed 0] [--out FILE]

Trains two runs and a plan's store, damages one file at a time, and counts what is noticed. Prints
the tables and writes them as Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from damage import KINDS, flip_bit

import floss_sim.cli
import planner.cli
from floss_sim import RunFolder
from floss_sim.errors import RecordError

RUN = ("floss-sim", "run", "--rank", "2", "--down-density", "1/4", "--up-density", "1/16")
PLAN = (
    "floss-plan", "--budget", "3-dense-rounds", "--upload-ratio", "16", "--ranks", "1,2",
    "--down-densities", "1", "--up-densities", "1/16", "--reference-rank", "2", "--max-rounds",
    "3", "--workers", "1", "--store", "store", "--json",
)  # fmt: skip
COMMANDS = {
    "run": (*RUN, "--rounds", "6", "--eval-every", "2", "--out", "runs/a"),
    "run on": (*RUN, "--rounds", "7", "--eval-every", "2", "--out", "runs/a"),
    "replay": ("floss-sim", "replay", "runs/a", "--network", "lte"),
    "account": ("floss-sim", "account", "runs/a"),
    "compare": ("floss-sim", "compare", "runs"),
    "wire inspect": ("floss-sim", "wire", "inspect", "runs/a"),
    "floss-plan": (*PLAN, "--effort", "1", "--out", "plan"),
    "floss-plan --effort 0": (*PLAN, "--effort", "0"),
    "apply": ("floss-plan", "apply", "plan", "--store", "store", "--out", "applied", "--json"),
}
RESULTS = ("refused", "said", "measured again", "silent", "traceback", "changed")
MAINS = {"floss-sim": floss_sim.cli.main, "floss-plan": planner.cli.main}


def call(*words: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of a command that is called in this process."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = list(words)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            MAINS[words[0]]()
        except SystemExit as stop:
            return int(stop.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def done(*words: str) -> None:
    """Call a command that must succeed."""
    code, _, err = call(*words)
    if code:
        raise RuntimeError(f"{' '.join(words)}: {err}")


def make(home: Path) -> None:
    """Make runs/a and runs/b in three commits, older files of runs/a, a store and its plan."""
    os.chdir(home)
    for name, seed in (("a", "0"), ("b", "1")):
        for rounds in ("2", "4", "6"):
            out = ("--out", f"runs/{name}", "--rounds", rounds, "--eval-every", "2")
            done(*RUN, "--seed", seed, *out)
            shutil.copytree(f"runs/{name}", f"old/{name}-{rounds}")
    done(*COMMANDS["floss-plan"])
    done(*COMMANDS["apply"])


def read_everything(path: Path) -> None:
    """Read all data of a run folder, as the commands do."""
    folder = RunFolder.read(path)
    committed = folder.manifest()
    record = folder.record()
    folder.snapshot()
    for number in committed.models:
        folder.model(number)
    for number in record.rounds["round"].to_pylist():
        folder.test_metrics(number)


def flip_bits(folder: Path, count: int, draw: random.Random) -> dict[str, Counter[str]]:
    """Flip single bits in each kind of file, and count which readings notice."""
    table = {}
    for kind, pattern in KINDS.items():
        results: Counter[str] = Counter()
        files = sorted(folder.glob(pattern))
        for _ in range(count):
            path = draw.choice(files)
            whole = path.read_bytes()
            flip_bit(path, draw)
            before = digest(folder)
            results[reading_result(folder)] += 1
            results["changed"] += digest(folder) != before
            path.write_bytes(whole)
        table[kind] = results
    return table


def reading_result(folder: Path) -> str:
    """Return how reading a folder ends: refused, silent or traceback."""
    try:
        read_everything(folder)
    except RecordError as error:
        return "refused" if "\n" not in str(error) else "traceback"
    except Exception:
        return "traceback"
    return "silent"


def digest(folder: Path) -> str:
    """Return a digest of names and contents below a folder, without lock files and memories."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ("run.lock", "checked.jsonl", "host.jsonl"):
            found.update(f"{path} ".encode() + path.read_bytes())
    return found.hexdigest()


def damages(kind: str, run: Path, home: Path) -> Iterator[tuple[str, Path, bytes | None]]:
    """Yield each damage to a kind of file: its name, the file, and the content (None: deleted)."""
    path = sorted(run.glob(KINDS[kind]))[0]
    whole, store = path.read_bytes(), run.parent.name == "store"
    others = [p for p in (run.parent).iterdir() if p.is_dir() and p != run and p.name != "cores"]
    theirs = sorted(p for other in others for p in other.glob(KINDS[kind]))
    for other in [p for p in theirs if p.read_bytes() != whole][:1]:
        yield "another run's", path, other.read_bytes()
    old = [] if store else [p for n in (2, 4) for p in (home / f"old/a-{n}").glob(KINDS[kind])]
    same = [p for p in run.glob(KINDS[kind]) if p != path]
    for other in [p for p in (*same, *old) if p.read_bytes() != whole][:1]:
        yield "another round's", path, other.read_bytes()
    yield "truncated", path, whole[: len(whole) // 2]
    yield "emptied", path, b""
    yield "deleted", path, None


def exchange_files(home: Path) -> dict[tuple[str, str], Counter[str]]:
    """Damage one file at a time and call every command that reads it; count the results."""
    table: dict[tuple[str, str], Counter[str]] = {}
    for command, words in COMMANDS.items():
        stored = command.startswith(("floss-plan", "apply"))
        for kind in KINDS:
            for run in damaged_runs(home, kind, stored):
                for damage, path, content in list(damages(kind, run, home)):
                    with damaged_copy(home, path, content) as there:
                        result, changed = command_result(words, there, kind, damage)
                    results = table.setdefault((command, kind), Counter())
                    results[result] += 1
                    results["changed"] += changed and result == "refused"
                    if result in ("silent", "traceback"):
                        print(f"{result}: {command}, {kind} {damage}", file=sys.stderr)
    return table


def damaged_runs(home: Path, kind: str, stored: bool) -> list[Path]:
    """Return the run to damage: runs/a, or the stored run that the plan recommends."""
    if not stored:
        return [home / "runs" / "a"]
    applied = [p.parent for p in (home / "store").glob("*/test.json")]
    return [run for run in sorted(applied)[:1] if list(run.glob(KINDS[kind]))]


@contextlib.contextmanager
def damaged_copy(home: Path, path: Path, content: bytes | None) -> Iterator[Path]:
    """Yield a copy of the home in which a file has other content; work in it."""
    there = home.parent / "damaged"
    shutil.rmtree(there, ignore_errors=True)
    shutil.copytree(home, there)
    shutil.rmtree(there / "old")
    broken = there / path.relative_to(home)
    if content is None:
        broken.unlink()
    else:
        broken.write_bytes(content)
    os.chdir(there)
    yield there
    os.chdir(home)


def command_result(words: tuple[str, ...], there: Path, kind: str, damage: str) -> tuple[str, bool]:
    """Return how a command ends on a damaged folder, and whether it changed anything."""
    before = digest(there)
    code, out, err = call(*words)
    changed = digest(there) != before
    if code == 1 or "Traceback" in err:
        return "traceback", changed
    if code == 2 and err.count("\n") <= 2:
        return "refused", changed
    if kind == "test.json" and damage in ("deleted", "another round's"):
        return "measured again", changed  # a state that the folder had before it was tested
    if "--effort" in words and words[words.index("--effort") + 1] == "0":
        answers = json.loads(out)["answers"]
        return ("said" if any(found.get("skipped") for found in answers) else "silent"), changed
    return "silent", changed


def markdown(title: str, head: str, rows: list[tuple[str, Counter[str]]]) -> str:
    """Return counts as a Markdown table with a line of sums."""
    total: Counter[str] = Counter()
    lines = [f"## {title}", "", f"| {head} | {' | '.join(RESULTS)} |", "|---" * 7 + "|"]
    for name, results in rows:
        total.update(results)
        lines.append(f"| {name} | {' | '.join(str(results[key]) for key in RESULTS)} |")
    lines.append(f"| all | {' | '.join(str(total[key]) for key in RESULTS)} |")
    return "\n".join([*lines, ""])


def by_command(table: dict[tuple[str, str], Counter[str]]) -> list[tuple[str, Counter[str]]]:
    """Return the counts of each command, over all kinds of files."""
    sums: dict[str, Counter[str]] = {}
    for (command, _), results in table.items():
        sums.setdefault(command, Counter()).update(results)
    return list(sums.items())


def main() -> None:
    """Run both experiments and write their tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--flips", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    default = Path(__file__).resolve().parent / "results_run_folders.md"
    parser.add_argument("--out", type=Path, default=default)
    chosen = parser.parse_args()
    chosen.out = chosen.out.resolve()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place).resolve() / "home"
        home.mkdir()
        make(home)
        draw = random.Random(chosen.seed)  # noqa: S311 (reproducible draws)
        flips = flip_bits(home / "runs" / "a", chosen.flips, draw)
        first = markdown("Single bits flipped, all data read", "file", list(flips.items()))
        print(first)
        swaps = exchange_files(home)
        second = markdown("Files exchanged, cut, emptied, deleted", "command", by_command(swaps))
        print(second)
        os.chdir("/")
    note = (
        "refused: one line, exit code 2. said: the answer counts the run as skipped. measured "
        "again: a cache of test metrics that is missing or older. changed: refused, but a file "
        "changed.\n"
    )
    chosen.out.write_text("\n".join(["# Damaged run folders", "", note, first, second]))


if __name__ == "__main__":
    main()
