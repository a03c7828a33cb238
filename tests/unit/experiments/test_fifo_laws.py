"""Laws of a FIFO against exact cases, and the table of the uploads behind one FIFO."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
from places import EXPERIMENTS, REPOSITORY

FOLDER = EXPERIMENTS / "real_links"
SEGMENT = 1448  # bytes of payload in a frame


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a script of the experiment, and forget it and what it imports from there."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for file in FOLDER.glob("*.py"):
        sys.modules.pop(file.stem, None)


def case_of(script, frames: tuple[int, ...], own_frames_per_s: float, server_frames_per_s: float):
    """Return uploads of so many frames each; buckets let one frame pass at once."""
    cases = script("cases")
    bits = 8 * cases.FRAME_BYTES
    own, server = (
        cases.Bucket(round(rate * bits), 0) for rate in (own_frames_per_s, server_frames_per_s)
    )
    sizes = tuple(SEGMENT * count for count in frames)
    return cases.Case("up", sizes, "new", own, server)


def lindley_s(arrivals_s: np.ndarray, service_s: float) -> np.ndarray:
    """Return the departures by Lindley's recursion; the first packet finds tokens for one."""
    departures, last_s = [], -np.inf
    for at_s in arrivals_s:
        last_s = max(at_s, last_s + service_s)
        departures.append(last_s)
    return np.array(departures)


def test_equal_transfers_share_a_fifo_as_if_in_turns(script):
    # Four frames of each of three clients: the last leaves 11 services after the first.
    case = case_of(script, (4, 4, 4), 10.0, 2.0)
    assert script("fifo_laws").fifo_s(case, [0.0] * 3) == pytest.approx([4.5, 5.0, 5.5])


def test_a_late_transfer_waits_for_all_that_stands_before_it(script):
    case = case_of(script, (10, 1), 1e6, 1.0)
    first, late = script("fifo_laws").fifo_s(case, [0.0, 2.5])
    assert (first, late) == pytest.approx((9.0, 10.0 - 2.5), abs=1e-4)


@pytest.mark.parametrize("frames", [(3, 7), (5, 1, 9), (2, 2, 2, 30)])
def test_a_fifo_is_lindleys_recursion(script, frames: tuple[int, ...]):
    starts_s = np.random.default_rng(len(frames)).uniform(0, 3, len(frames))
    case, frame_bits = case_of(script, frames, 4.0, 3.0), 8 * script("cases").FRAME_BYTES
    apart_s, service_s = frame_bits / case.client.bits_per_s, frame_bits / case.server.bits_per_s
    clients = np.repeat(np.arange(len(frames)), frames)
    numbers = np.concatenate([np.arange(count) for count in frames])
    sent_s = starts_s[clients] + apart_s * numbers
    order = np.argsort(sent_s)
    left_s = lindley_s(sent_s[order], service_s)
    ends_s = [left_s[clients[order] == client].max() for client in range(len(frames))]
    assert script("fifo_laws").fifo_s(case, list(starts_s)) == pytest.approx(ends_s - starts_s)


def test_growing_windows_keep_a_slow_link_or_a_slow_server_busy(script):
    laws = script("fifo_laws")
    case = case_of(script, (3,), 1.0, 2.0)
    assert laws.windowed_s(case, [0.0], window=1) == pytest.approx([2.0])
    slow = case_of(script, (7,), 1e6, 1.0)
    assert laws.windowed_s(slow, [0.0], window=1) == pytest.approx([6.0], abs=1e-4)


def test_what_does_not_fit_the_buffer_is_sent_again(script):
    # Tokens let one of six frames pass, and five wait: the buffer of 50 ms is full. What comes at
    # 1 ms is dropped, missed after a wait of 50 ms, and sent again behind what came at 11 ms.
    laws, case = script("fifo_laws"), case_of(script, (6, 1, 1), 1e6, 100.0)
    starts_s = [0.0, 0.001, 0.011]
    assert laws.dropping_s(case, starts_s) == pytest.approx([0.05, 0.069, 0.049], abs=1e-4)
    assert laws.windowed_s(case, starts_s) == pytest.approx([0.05, 0.059, 0.059], abs=1e-4)


def test_the_table_has_medians_and_single_errors(script):
    compare = script("compare_fifo")
    case = case_of(script, (1, 1), 1.0, 1.0)
    predicted_s = dict.fromkeys(compare.LAWS, (2.0, 2.0, 2.0))
    line, again = (
        compare.Line(case, "1,448 bytes", (1.0, middle, 4.0), predicted_s) for middle in (2.0, 2.5)
    )
    assert line.error("FIFO") == 0
    assert line.single_errors("FIFO") == [1.0, 0.0, -0.5]
    cells = " | ".join(["+25.0%", *["+0.0%"] * len(compare.LAWS)])
    assert f"| 2000.0 | 1000.0 | 4000.0 | {cells} |" in compare.table([line], [again])
    said = compare.summary([line], [again])
    assert "| equal uploads, median | 1 | +25.0% to +25.0% | -20.0% to +0.0% |" in said
    assert "| equal uploads, single transfers | 1 | | -50.0% to +100.0% |" in said


def test_the_table_is_that_of_the_measured_transfers(script):
    compare = script("compare_fifo")
    sides = [
        compare.lines(compare.read(FOLDER / f"fifo_measured{which}.csv"))
        for which in ("", "_again")
    ]
    kept = (FOLDER / "fifo_results.md").read_text(encoding="utf-8")
    assert kept == f"{compare.table(*sides)}\n{compare.summary(*sides)}"


def errors_of(name: str) -> tuple[float, float]:
    """Return the least and the largest error of max-min sharing in percent, by a row's name."""
    kept = (FOLDER / "fifo_results.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {name} \|[^|]*\|[^|]*\|([^|]*)\|", kept, re.MULTILINE)
    least, most = (float(text.strip().removesuffix("%")) for text in row.split(" to "))
    return least, most


def times_as_long(error: float) -> str:
    """Return the real time over the predicted one, of an error in percent."""
    return f"{1 / (1 + error / 100):.1f}"


@pytest.mark.parametrize("page", ["README.md", "floss_sim/network/GUIDE.md"])
def test_what_the_pages_say_of_a_fifo_is_in_the_table(page: str):
    text = " ".join((REPOSITORY / page).read_text(encoding="utf-8").split())
    said = text[text.index("first-in first-out") :][:900]
    last = max(map(abs, errors_of("last of a crowd, median")))
    assert f"{last:.1f} %" in said
    assert f"{errors_of('equal uploads, median')[1]:.0f} % too slow" in said
    assert f"{-errors_of('unequal uploads, median')[0]:.0f} % too fast" in said
    singles = [errors_of(f"{name} uploads, single transfers") for name in ("equal", "unequal")]
    shortest = times_as_long(max(most for _, most in singles))
    longest = times_as_long(min(least for least, _ in singles))
    assert f"{shortest} to {longest} times as long" in said
    if page != "README.md":
        slowest = times_as_long(errors_of("last of a crowd, single transfers")[0])
        assert f"{slowest} times as long" in said


def test_the_readme_has_the_figures_of_the_table():
    kept = (FOLDER / "fifo_results.md").read_text(encoding="utf-8")
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    names = {"one client": "one client", "equal uploads": "equal", "unequal uploads": "unequal"}
    for name, said in (names | {"last of a crowd": "last of a crowd"}).items():
        (row,) = re.findall(rf"^\| {name}, median (.*)$", kept, re.MULTILINE)
        assert f"| {said} {row}\n" in readme
