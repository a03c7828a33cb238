"""Fleets: classes by shares, laws, rows and tables; made on demand, whatever their size."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from floss_sim.errors import ProfileError
from floss_sim.network import ClientLink, NetworkProfile, load_profile

HEAD = 'name = "n"\nsource = "s"\ndate = "d"\n'
CLASS = """
[[clients]]
share = {share}
down = "{down} Mbit/s"
up = "1 Mbit/s"
rtt = "10 ms"
compute_per_example = "1 ms"
"""
LAW = """
[fleet]
law = "lognormal"
down = { median = "20 Mbit/s", sigma = 0.8 }
up = { median = "5 Mbit/s", sigma = 0.6 }
rtt = { median = "50 ms", sigma = 0.4 }
compute_per_example = { median = "2 ms", sigma = 0.2 }
correlation = 0.7
jitter = "3 ms"
loss = 0.01
dropout = 0.1
"""
COLUMNS = "down_bits_per_s,up_bits_per_s,rtt_s,compute_s_per_example"
ROWS = ("10e6,1e6,0.04,0.001", "20e6,5e6,0.02,0.002", "300e6,50e6,0.01,0.003")
CELLS = '[cells]\ncount = 3\ndown = "1 Gbit/s"\n'
Write = Callable[..., NetworkProfile]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a profile, and perhaps rows, and loads it."""

    def written(text: str, rows: tuple[str, ...] = (), head: str = "") -> NetworkProfile:
        if rows:
            (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        path = tmp_path / "p.toml"
        path.write_text(HEAD + head + text, encoding="utf-8")
        return load_profile(str(path))

    return written


def of_law(law: str, extra: str = "") -> str:
    return f'[fleet]\nlaw = "{law}"\nfile = "rows.csv"\n{extra}'


# sequences


def test_a_fleet_is_a_sequence(write: Write):
    fleet = write(LAW).links(7)
    assert len(fleet) == 7
    assert fleet[2:5] == tuple(fleet[i] for i in (2, 3, 4))
    assert list(fleet) == [fleet[i] for i in range(7)]
    for beyond in (7, -1):
        with pytest.raises(IndexError):
            fleet[beyond]


# classes


def test_classes_have_their_shares_of_any_fleet(write: Write):
    shares = (0.05, 0.15, 0.8)
    text = "".join(CLASS.format(share=s, down=i + 1) for i, s in enumerate(shares))
    for size in (20, 100, 10_000):
        downs = Counter(link.down_bits_per_s / 1e6 for link in write(text).links(size))
        assert downs == {i + 1: round(s * size) for i, s in enumerate(shares)}


def test_clients_of_classes_are_dealt_to_cells_in_turn(write: Write):
    links = write(CLASS.format(share=1.0, down=1) + CELLS).links(7)
    assert [link.cell for link in links] == [0, 1, 2, 0, 1, 2, 0]
    assert {link.cell for link in write(CLASS.format(share=1.0, down=1)).links(7)} == {0}


def traced(start: str) -> str:
    trace = f'down_trace = {{ file = "rows.csv" }}\ntrace_start = "{start}"'
    return CLASS.format(share=1.0, down=1).replace('down = "1 Mbit/s"', trace)


def test_a_random_start_spreads_clients_evenly_over_the_trace(write: Write):
    rows = ("seconds,Mbit/s", "0,1", "10,3")
    clients = 2000
    links = write(traced("random"), rows).links(clients)
    offsets = np.array([link.trace_offset_s for link in links])
    assert 0 <= offsets.min() < offsets.max() < 20
    assert abs(offsets.mean() - 10) < 4 * 20 / math.sqrt(12 * clients)
    assert abs(np.mean(offsets < 5) - 0.25) < 4 * math.sqrt(0.1875 / clients)
    assert write(traced("random"), rows).links(3)[2].trace_offset_s == offsets[2]
    other = write(traced("random"), rows, head="seed = 1\n").links(clients)
    assert other[2].trace_offset_s != offsets[2]
    assert {link.trace_offset_s for link in write(traced("same"), rows).links(9)} == {0.0}


def test_a_client_that_starts_within_its_trace_has_the_rate_of_there(write: Write):
    links = write(traced("random"), ("seconds,Mbit/s", "0,1", "10,3")).links(50)
    for link in links:
        expected = 1e6 if link.trace_offset_s < 10 else 3e6
        assert 8 / link.transfer_s("down", 1) == pytest.approx(8 / (8 / expected + 0.005))
        assert link.down_bits_per_s == 2e6


# lognormal


def test_a_lognormal_fleet_has_its_medians_spreads_and_correlation(write: Write):
    clients = 20_000
    links = write(LAW).links(clients)
    logs = np.log(
        [
            (k.down_bits_per_s, k.up_bits_per_s, k.rtt_s, k.compute_s_per_example)
            for k in links
        ]
    ).T  # fmt: skip
    for values, median, sigma in zip(
        logs, (20e6, 5e6, 0.050, 0.002), (0.8, 0.6, 0.4, 0.2), strict=True
    ):
        assert abs(values.mean() - math.log(median)) < 4 * sigma / math.sqrt(clients)
        assert abs(values.std() - sigma) < 4 * sigma / math.sqrt(2 * clients)
    found = np.corrcoef(logs)
    z = (np.arctanh(found[0, 1]) - math.atanh(0.7)) * math.sqrt(clients - 3)  # Fisher's
    assert abs(z) < 4
    for a, b in ((0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        assert abs(found[a, b]) < 4 / math.sqrt(clients)
    assert {(k.jitter_s, k.loss, k.dropout, k.cell) for k in links[:50]} == {(0.003, 0.01, 0.1, 0)}


@pytest.mark.parametrize("correlation", [-1, 0, 1])
def test_extreme_correlations(write: Write, correlation: int):
    text = LAW.replace("correlation = 0.7", f"correlation = {correlation}")
    links = write(text).links(2000)
    rates = np.log([(k.down_bits_per_s, k.up_bits_per_s) for k in links]).T
    assert np.corrcoef(rates)[0, 1] == pytest.approx(correlation, abs=4 / math.sqrt(2000))


def test_without_a_sigma_all_are_alike(write: Write):
    text = LAW
    for sigma in (0.8, 0.6, 0.4, 0.2):
        text = text.replace(f", sigma = {sigma}", "")
    assert set(write(text).links(3000)) == {ClientLink(20e6, 5e6, 0.05, 0.002, 0.003, 0.01, 0.1)}


@pytest.mark.parametrize("text", [LAW, of_law("rows")])
def test_a_clients_link_depends_on_the_seed_and_not_on_the_fleets_size(write: Write, text: str):
    rows = (COLUMNS, *(f"{n}e6,1e6,0.01,0" for n in range(1, 1000)))
    profile = write(text, rows)
    few, many = profile.links(10), profile.links(5000)
    assert few[:10] == many[:10]
    assert write(text, rows).links(10)[:10] == few[:10]
    assert many[4000] == profile.links(4001)[4000]
    assert len({many[i].down_bits_per_s for i in (0, 1, 1023, 1024, 1025, 2048)}) == 6
    assert write(text, rows, head="seed = 1\n").links(10)[:10] != few[:10]


def test_clients_of_a_law_are_dealt_to_cells_in_turn(write: Write):
    assert [link.cell for link in write(LAW + CELLS).links(5)] == [0, 1, 2, 0, 1]


# rows


def test_rows_are_drawn_whole_by_their_weights(write: Write):
    weights = (1, 2, 5)
    rows = tuple(f"{row},{weight}" for row, weight in zip(ROWS, weights, strict=True))
    clients = 20_000
    drawn = Counter(write(of_law("rows"), (f"{COLUMNS},weight", *rows)).links(clients))
    assert set(drawn) == {
        ClientLink(10e6, 1e6, 0.04, 0.001),
        ClientLink(20e6, 5e6, 0.02, 0.002),
        ClientLink(300e6, 50e6, 0.01, 0.003),
    }
    for link, times in drawn.items():
        share = {10e6: 1 / 8, 20e6: 2 / 8, 300e6: 5 / 8}[link.down_bits_per_s]
        assert abs(times - share * clients) < 4 * math.sqrt(clients * share * (1 - share))


def test_rows_without_weights_are_drawn_alike(write: Write):
    clients = 9000
    drawn = Counter(write(of_law("rows"), (COLUMNS, *ROWS)).links(clients))
    assert all(abs(n - 3000) < 4 * math.sqrt(2000) for n in drawn.values())


def test_what_rows_lack_is_given_for_all(write: Write):
    text = of_law("rows", 'rtt = "30 ms"\ncompute_per_example = "4 ms"\n')
    (link,) = set(write(text, ("down_bits_per_s,up_bits_per_s", "9e6,1e6")).links(5))
    assert link == ClientLink(9e6, 1e6, 0.030, 0.004)
    (link,) = set(write(text, (COLUMNS, ROWS[0])).links(5))  # a column counts before a default
    assert link == ClientLink(10e6, 1e6, 0.04, 0.001)


def test_rows_may_hold_jitter_loss_and_dropout_and_blank_lines_and_a_byte_order_mark(write: Write):
    names = f"\ufeff{COLUMNS}, jitter_s , loss,dropout"
    profile = write(
        of_law("table"), (names, "", f"{ROWS[0]},0.005,0.5,0.25", "", f"{ROWS[1]},0,0,0")
    )
    assert tuple(profile.links(2)) == (
        ClientLink(10e6, 1e6, 0.04, 0.001, 0.005, 0.5, 0.25),
        ClientLink(20e6, 5e6, 0.02, 0.002),
    )  # fmt: skip


def test_a_header_with_a_column_many_times_is_refused_at_once(write: Write):
    began_s = time.process_time()
    with pytest.raises(ProfileError, match="has column 'cell' twice"):
        write(of_law("rows"), (",".join([COLUMNS, *["cell"] * 100_000]), ROWS[0]))
    assert time.process_time() - began_s < 5


@pytest.mark.parametrize("cell", ["1_000", "1e16", "1e-9", "nan", "inf", "\u0661"])
def test_rates_that_no_link_has_are_refused(write: Write, cell: str):
    with pytest.raises(ProfileError, match=r"valid: a finite number above 0 \(0.001 to 1e\+15\)"):
        write(of_law("rows"), (COLUMNS, f"{cell},1e6,0,0"))


# tables


def test_a_table_has_client_i_in_row_i(write: Write):
    profile = write(of_law("table"), (COLUMNS, *ROWS))
    assert [link.down_bits_per_s for link in profile.links(3)] == [10e6, 20e6, 300e6]
    assert [link.down_bits_per_s for link in profile.links(2)] == [10e6, 20e6]


def test_a_table_that_is_too_short_is_refused(write: Write):
    profile = write(of_law("table"), (COLUMNS, *ROWS))
    with pytest.raises(
        ProfileError, match=r"rows\.csv has 3 rows, but the task has 4 clients; use law"
    ):
        profile.links(4)


@pytest.mark.parametrize("law", ["rows", "table"])
def test_cells_are_those_of_the_column_where_there_is_one(write: Write, law: str):
    rows = tuple(f"{row},{cell}" for row, cell in zip(ROWS, (2, 0, 2), strict=True))
    links = write(of_law(law) + CELLS, (f"{COLUMNS},cell", *rows)).links(3)
    assert {(k.down_bits_per_s, k.cell) for k in links} <= {(10e6, 2), (20e6, 0), (300e6, 2)}


@pytest.mark.parametrize("law", ["rows", "table"])
def test_cells_are_dealt_in_turn_where_there_is_no_column(write: Write, law: str):
    links = write(of_law(law) + CELLS, (COLUMNS, *ROWS, *ROWS)).links(5)
    assert [link.cell for link in links] == [0, 1, 2, 0, 1]
    assert {k.cell for k in write(of_law(law), (COLUMNS, *ROWS)).links(3)} == {0}


# a million


@pytest.mark.parametrize("text", [CLASS.format(share=1.0, down=1), LAW, of_law("rows")])
def test_a_fleet_of_a_million_is_described_without_a_million_objects(write: Write, text: str):
    profile = write(text, (COLUMNS, *(f"{n}e6,1e6,0.01,0" for n in range(1, 1001))))
    asked = np.random.default_rng(0).integers(0, 10**6, 1000).tolist()
    tracemalloc.start()
    fleet = profile.links(10**6)
    described = tracemalloc.get_traced_memory()[1]
    links = [fleet[client] for client in asked]
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(fleet) == 10**6
    assert described < 1e5
    assert held < 40e6  # a block for nearly every client asked; a million links take 200 MB
    again = profile.links(10**6)
    began_s = time.perf_counter()
    assert [again[client] for client in asked] == links
    assert time.perf_counter() - began_s < 2.0  # measured: 0.1 s


def test_asking_again_draws_nothing_again(write: Write):
    fleet = write(LAW).links(10**6)
    asked = range(0, 10**6, 1000)
    began_s = time.perf_counter()
    first = [fleet[client] for client in asked]
    drawing_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    for _ in range(3):
        assert [fleet[client] for client in asked] == first
    assert time.perf_counter() - began_s < drawing_s
