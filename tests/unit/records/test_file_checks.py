from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from floss_sim.errors import RecordError
from floss_sim.records import file_checks
from floss_sim.records.file_checks import FileChecks, FileSum

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a folder of two files that are an hour old."""
    folder = tmp_path / "store" / "run"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / name).write_text(f"content of {name}")
        age(folder / name)
    return folder


def age(path: Path, ago_ns: int = HOUR_NS) -> None:
    then = time.time_ns() - ago_ns
    os.utime(path, ns=(then, then))


def sums(folder: Path) -> dict[str, FileSum | None]:
    return {name: FileSum.of(folder / name) for name in ("a", "b")}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files whose content has been read, in order."""
    seen: list[Path] = []
    real = FileSum.of.__func__

    def of(cls, path: Path, rows: int | None = None) -> FileSum:
        seen.append(path)
        return real(cls, path, rows)

    monkeypatch.setattr(FileSum, "of", classmethod(of))
    return seen


def test_what_was_verified_is_remembered_across_processes(run: Path, reads: list[Path]):
    expected, memory = sums(run), run.parent / "checked.jsonl"
    reads.clear()
    FileChecks(memory).verify(run, expected)
    assert len(reads) == 2
    checks = FileChecks(memory)
    checks.verify(run, expected)
    checks.verify(run, expected)
    assert len(reads) == 2
    checks.verify(run, expected, anew=True)
    assert len(reads) == 4


@pytest.mark.parametrize("memory", [None, "checked.jsonl"])
def test_a_changed_file_is_read_again(run: Path, memory: str | None, reads: list[Path]):
    place = run.parent / memory if memory else None
    expected, checks = sums(run), FileChecks(place)
    checks.verify(run, expected)
    (run / "a").write_text("content of c")
    age(run / "a", HOUR_NS // 2)
    for found in (checks, FileChecks(place)):
        with pytest.raises(RecordError, match=r"run/a is damaged \(its SHA-256 differs\); remove"):
            found.verify(run, expected)
    (run / "a").write_text("content")
    with pytest.raises(RecordError, match=r"run/a is damaged \(7 bytes instead of 12\)"):
        checks.verify(run, expected)


def test_a_file_that_was_just_written_is_not_remembered(run: Path, reads: list[Path]):
    expected, memory = sums(run), run.parent / "checked.jsonl"
    os.utime(run / "a")
    checks = FileChecks(memory)
    for _ in range(2):
        reads.clear()
        checks.verify(run, expected)
        assert run / "a" in reads
    assert not memory.exists()


def test_damage_that_keeps_size_and_time_is_found_anew_and_then_known(run: Path):
    expected, memory = sums(run), run.parent / "checked.jsonl"
    FileChecks(memory).verify(run, expected)
    then = (run / "a").stat().st_mtime_ns
    (run / "a").write_text("content of z")
    os.utime(run / "a", ns=(then, then))
    FileChecks(memory).verify(run, expected)
    with pytest.raises(RecordError, match="damaged"):
        FileChecks(memory).verify(run, expected, anew=True)
    with pytest.raises(RecordError, match="damaged"):
        FileChecks(memory).verify(run, expected)


def test_a_memory_that_cannot_be_read_or_written_costs_only_time(run: Path, reads: list[Path]):
    expected, memory = sums(run), run.parent / "checked.jsonl"
    for content in (b"\xff\x00{", b"[]\n{}\nnull\n", b'{"run": 3}\n' * 3, b"[" * 100_000):
        memory.write_bytes(content)
        reads.clear()
        FileChecks(memory).verify(run, expected)
        assert len(reads) == 2
    memory.unlink()
    memory.mkdir()
    FileChecks(memory).verify(run, expected)
    FileChecks(run / "no" / "folder").verify(run, expected)
    assert not (run / "no").exists()


def test_a_long_memory_is_shortened(run: Path):
    memory = run.parent / "checked.jsonl"
    line = json.dumps({"run": "other", "state": "s"}) + "\n"
    memory.write_text(line * 1000)
    FileChecks(memory).verify(run, sums(run))
    assert len(memory.read_text().splitlines()) == 2
    assert file_checks._read_memory(memory)["other"] == "s"


def test_files_without_a_sum_must_exist(run: Path, reads: list[Path]):
    checks = FileChecks(remedy="do this")
    checks.verify(run, {"a": None, "b": None})
    assert not reads
    with pytest.raises(RecordError, match=r"cannot read .*run/c: No such file.*; do this$"):
        checks.verify(run, {"a": None, "c": None})
