"""``floss-sim profiles``: what it lists, shows, checks and fits, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import commands
import numpy as np
import pytest
from made_speed_tests import heavy_tail
from networks import write_rows

from floss_sim.cli import profile_fit
from floss_sim.errors import ProfileError
from floss_sim.network import load_profile, packaged_profiles
from floss_sim.units import format_duration

SOURCE = ("--source", "us")
HEAD = 'name = "n"\nsource = "s"\ndate = "d"\n'
CLASS = """
[[clients]]
share = 1.0
down = "2 MB/s"
up = "300 kbit/s"
rtt = "0.5 s"
compute_per_example = "1 ms"
"""
SECTIONS = """
[server]
egress = "1 Gbit/s"

[cells]
count = 20
down = "150 Mbit/s"

[transport]
framing = "grpc"
tls = true
slow_start = true

[availability]
on = "8 h"
off = "16 h"
swing = 0.5

[energy]
joules_per_mb_up = 5

[prices]
currency = "EUR"
per_gb_down = 0.02
"""
LAW = """
[fleet]
law = "lognormal"
down = { median = "20 Mbit/s", sigma = 0.8 }
up = { median = "5 Mbit/s" }
rtt = { median = "50 ms" }
compute_per_example = { median = "5 ms" }
dropout = 0.02
"""


def call(monkeypatch, capfd, *arguments: str) -> tuple[int, str, str]:
    return commands.call(monkeypatch, capfd, "floss-sim", "profiles", *arguments)


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """A folder with 40 tests: 20 at 10/1 Mbit/s and 40 ms, 20 at 100/20 Mbit/s and 20 ms."""
    monkeypatch.chdir(tmp_path)
    rows = ["10,1,40,4G"] * 20 + ["100,20,20,5G"] * 20 + ["0,1,1,4G"]
    lines = ["download_mbps,upload_mbps,rtt_ms,technology", *rows]
    (tmp_path / "tests.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def rows(out: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines()]


def test_list_has_a_row_for_every_packaged_profile(monkeypatch, capfd):
    code, out, err = call(monkeypatch, capfd, "list")
    assert (code, err) == (0, "")
    lines = rows(out)
    for name in packaged_profiles():
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
    (paper,) = (line for line in lines if line.startswith("paper-200-20"))
    assert paper.startswith("paper-200-20 1 class 200 Mbit/s 20 Mbit/s 0 ms 2024-05 A. Raje")
    assert any(
        line.startswith("wifi 3 classes 25 to 271 Mbit/s 3 to 74.6 Mbit/s") for line in lines
    )
    assert any("75 Mbit/s to 1 Gbit/s" in line for line in lines)


def test_list_for_machines_has_plain_numbers_and_whole_sources(monkeypatch, capfd):
    code, out, _ = call(monkeypatch, capfd, "list", "--json")
    found = {profile["name"]: profile for profile in json.loads(out)}
    assert (code, sorted(found)) == (0, list(packaged_profiles()))
    assert found["wifi"]["down_bits_per_s"] == [25e6, 271e6]
    assert found["wifi"]["rtt_s"] == pytest.approx([0.03, 0.05])
    assert found["wifi"]["source"] == load_profile("wifi").source
    assert (found["lte"]["draws"], found["paper-200-20"]["draws"]) == (["classes", "links"], [])


def test_show_says_what_transfers_take(monkeypatch, capfd):
    code, out, err = call(monkeypatch, capfd, "show", "paper-200-20")
    assert (code, err) == (0, "")
    assert "1 200 Mbit/s 20 Mbit/s 0 ms 0 ms 4 ms 40 ms 40 ms 400 ms" in rows(out)
    assert f"source: {load_profile('paper-200-20').source}" in out
    code, out, _ = call(monkeypatch, capfd, "show", "wifi", "--json")
    first = json.loads(out)["class_list"][0]
    assert first["transfer_s"]["down_100000"] == pytest.approx(0.05 / 2 + 0.8 / 25)
    assert first["transfer_s"]["up_1000000"] == pytest.approx(0.05 / 2 + 8 / 3)


def test_show_of_classes_with_a_spread_has_quantiles_and_the_classes(
    monkeypatch, capfd, home: Path
):
    law = CLASS.replace('"300 kbit/s"', '{ median = "300 kbit/s", sigma = 0.8 }')
    (home / "mine.toml").write_text(HEAD + law, encoding="utf-8")
    code, out, err = call(monkeypatch, capfd, "show", "mine.toml")
    assert (code, err) == (0, "")
    assert "n, d; quantiles of 1,000 clients drawn, each column on its own" in out
    assert "1 16 Mbit/s 0 300 kbit/s 0.8 0 500 ms 0" in rows(out)
    assert "drawn by the seed: the link of each client\n" in out
    code, out, _ = call(monkeypatch, capfd, "show", "mine.toml", "--json")
    found = json.loads(out)
    ups = [line["up_bits_per_s"] for line in found["class_list"]]
    assert ups == sorted(ups)
    assert ups[3] == pytest.approx(300e3, rel=4 * 0.8 * 1.2533 / 1000**0.5)  # the median's error
    (only,) = found["classes"]
    assert (only["share"], only["correlation"]) == (1, 0)
    assert only["sigmas"]["up_bits_per_s"] == 0.8
    assert only["medians"]["up_bits_per_s"] == 300e3
    code, out, _ = call(monkeypatch, capfd, "check", "mine.toml")
    assert "'n' is a profile of 1 class with spread (5, 50 and 95 % of 1,000 clients drawn" in out


def test_check_says_in_one_line_what_a_profile_holds(monkeypatch, capfd, home: Path):
    text = HEAD + CLASS
    (home / "mine.toml").write_text(text, encoding="utf-8")
    code, out, err = call(monkeypatch, capfd, "check", "mine.toml")
    assert (code, err) == (0, "")
    says = "'n' is a profile of 1 class: down 16 Mbit/s, up 300 kbit/s, round trip 500 ms"
    drawn = "drawn by the seed: nothing; all seeds give the same seconds"
    assert out == f"mine.toml: {says}; {drawn}\n"
    (home / "mine.toml").write_text(text.replace("MB/s", "MB"), encoding="utf-8")
    code, out, err = call(monkeypatch, capfd, "check", "mine.toml")
    assert (code, out) == (2, "")
    assert "mine.toml: clients.0.down: " in err
    assert err.count("\n") == 1


def test_check_for_machines_says_what_its_line_says(monkeypatch, capfd, home: Path):
    (home / "mine.toml").write_text(HEAD + CLASS + SECTIONS, encoding="utf-8")
    code, out, err = call(monkeypatch, capfd, "check", "mine.toml", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["file"], found["name"], found["clients"]) == ("mine.toml", "n", "1 class")
    assert (found["down_bits_per_s"], found["up_bits_per_s"]) == ([16e6, 16e6], [300e3, 300e3])
    assert (found["rtt_s"], found["quantiles"]) == ([0.5, 0.5], None)
    _, line, _ = call(monkeypatch, capfd, "check", "mine.toml")
    assert f"; also {', '.join(found['also']).replace('_', ' ')}; " in line
    assert found["server"] and "; server " in line
    code, out, _ = call(monkeypatch, capfd, "check", "lte", "--json")
    found = json.loads(out)
    assert (code, found["slow_clients"]) == (0, None)
    assert found["quantiles"] == {"shares": [0.05, 0.5, 0.95], "of": "1,000 clients drawn"}
    down = found["down_bits_per_s"]
    assert down == sorted(down)
    _, line, _ = call(monkeypatch, capfd, "check", "lte")
    assert f"down {', '.join(f'{rate / 1e6:.3g}' for rate in down)} Mbit/s" in line


def test_check_and_show_name_a_client_that_takes_hours(monkeypatch, capfd, home: Path):
    path = write_rows(home, equal=199)
    seconds = 8 * 5e6 / 1e7 + 8 * 5e6 / 100 + 0.02
    said = (
        "clients that take over an hour for 5 MB down and up: 1 of 200 rows (0.5 % of the clients)"
        f", at worst {format_duration(seconds)} with 10 Mbit/s down, 100 bit/s up, round trip 20 "
        "ms, 1 ms an example; if such clients will not take part, remove them; --policy "
        "deadline:SECONDS or first-k:K does not wait for them"
    )
    for command in ("check", "show"):
        _, out, _ = call(monkeypatch, capfd, command, str(path))
        assert said in out.splitlines()
        _, out, _ = call(monkeypatch, capfd, command, str(path), "--json")
        slow = json.loads(out)["slow_clients"]
        assert (slow["count"], slow["of"], slow["share"]) == (1, "200 rows", 0.005)
        assert slow["slowest_s"] == pytest.approx(seconds)
        assert slow["slowest_link"]["up_bits_per_s"] == 100


@pytest.mark.parametrize(("up", "is_named"), [("12 kbit/s", False), ("11 kbit/s", True)])
def test_a_class_is_slow_from_an_hour_on(monkeypatch, capfd, home: Path, up: str, is_named: bool):
    """Two messages of 5 MB take 56 min at 12 kbit/s up and 1 Gbit/s down, 61 min at 11 kbit/s."""
    fast, slow = (
        f'[[clients]]\nshare = {share}\ndown = "1 Gbit/s"\nup = "{rate}"\nrtt = "0 s"\n'
        'compute_per_example = "0 s"\n'
        for share, rate in ((0.75, "1 Mbit/s"), (0.25, up))
    )
    (home / "mine.toml").write_text(HEAD + fast + slow, encoding="utf-8")
    _, out, _ = call(monkeypatch, capfd, "check", "mine.toml")
    assert ("1 of 2 classes (25 % of the clients)" in out) == is_named


def test_show_says_what_else_a_profile_sets_and_nothing_that_it_does_not(
    monkeypatch, capfd, home: Path
):
    jitter = 'jitter = "5 ms"\nloss = 0.001\n'
    whole = f'{HEAD}first_download = "88 MB"\n{CLASS}{jitter}{SECTIONS}'
    (home / "mine.toml").write_text(whole, encoding="utf-8")
    code, out, err = call(monkeypatch, capfd, "show", "mine.toml")
    assert (code, err) == (0, "")
    assert out.splitlines()[-10:] == [
        "server: egress 1 Gbit/s",
        "cells: count 20, down 150 Mbit/s",
        "transport: framing grpc, tls, slow start",
        "links: jitter 5 ms, loss 0.001",
        "first download: size 88 MB",
        "availability: on 8 h, off 16 h, swing 0.5, peak hour 0, start hour 0",
        "energy: joules per MB up 5",
        "prices: currency EUR, per GB down 0.02",
        "drawn by the seed: the jitter of each transfer and when clients are on",
        "source: s",
    ]
    code, out, _ = call(monkeypatch, capfd, "show", "mine.toml", "--json")
    found = json.loads(out)
    assert found["server"] == {"egress_bits_per_s": 1e9}
    assert found["cells"] == {"count": 20, "down_bits_per_s": 150e6}
    assert found["transport"] == {"framing": "grpc", "tls": True, "slow_start": True}
    assert found["links"] == {"jitter_s": [0.005, 0.005], "loss": [0.001, 0.001]}
    assert found["first_download"] == {"size_bytes": 88_000_000}
    assert found["availability"]["off_s"] == 16 * 3600
    assert found["energy"] == {"joules_per_mb_up": 5}
    assert found["prices"] == {"currency": "EUR", "per_gb_down": 0.02}
    code, out, err = call(monkeypatch, capfd, "check", "mine.toml")
    assert out.count("\n") == 1
    assert out.endswith(
        "round trip 500 ms; server egress 1 Gbit/s; also cells, transport, links, first download, "
        "availability, energy, prices; "
        "drawn by the seed: the jitter of each transfer and when clients are on\n"
    )
    assert (
        not {"server", "cells", "prices", "links"}
        & json.loads(call(monkeypatch, capfd, "show", "lte", "--json")[1]).keys()
    )


def test_show_names_traces_and_what_comes_after_them(monkeypatch, capfd, home: Path):
    (home / "t.csv").write_text("seconds,Mbit/s\n0,10\n5,30\n", encoding="utf-8")
    traced = CLASS.replace('down = "2 MB/s"', 'down_trace = { file = "t.csv", at_end = "hold" }')
    (home / "mine.toml").write_text(HEAD + traced, encoding="utf-8")
    code, out, err = call(monkeypatch, capfd, "show", "mine.toml")
    assert (code, err) == (0, "")
    assert "traces: class 0 down t.csv (hold)" in out
    assert any(line.startswith("1 20 Mbit/s 300 kbit/s") for line in rows(out))


def test_show_of_a_law_goes_from_slow_to_fast(monkeypatch, capfd, home: Path):
    (home / "mine.toml").write_text(HEAD + LAW, encoding="utf-8")
    code, out, err = call(monkeypatch, capfd, "show", "mine.toml")
    assert (code, err) == (0, "")
    table = [line.split() for line in rows(out) if "%" in line]
    assert [line[0] for line in table] == ["1%", "5%", "25%", "50%", "75%", "95%", "99%"]
    downs = [float(line[1]) for line in table]
    assert downs == sorted(downs)
    assert 18 < downs[3] < 22
    assert {line[3] for line in table} == {"5"}
    assert "links: dropout 0.02\n" in out
    code, out, _ = call(monkeypatch, capfd, "check", "mine.toml")
    assert out.startswith(
        "mine.toml: 'n' is a profile of a fleet by lognormal (5, 50 and 95 % of 1,000 clients "
        "drawn, each on its own): down "
    )
    said = "; drawn by the seed: the link of each client and which clients drop out\n"
    assert out.endswith(f"; also links{said}")


@pytest.mark.parametrize("law", ["rows", "table"])
def test_show_and_check_describe_rows_by_each_column_on_its_own(
    monkeypatch, capfd, home: Path, law: str
):
    """The row with the median download rate has the highest upload rate and the longest trip."""
    lines = ["down_bits_per_s,up_bits_per_s,rtt_s,compute_s_per_example,weight"]
    lines += [
        f"{down}e6,{up}e6,{rtt},0,{weight}"
        for down, up, rtt, weight in (
            (5, 1, 0.02, 1), (1, 2, 0.01, 1), (3, 9, 0.5, 1), (2, 3, 0.03, 1), (4, 4, 0.04, 96),
        )
    ]  # fmt: skip
    (home / "mine.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (home / "mine.toml").write_text(
        f'{HEAD}[fleet]\nlaw = "{law}"\nfile = "mine.csv"\n', encoding="utf-8"
    )
    code, out, _ = call(monkeypatch, capfd, "show", "mine.toml", "--json")
    found = json.loads(out)
    assert (code, found["clients"]) == (0, f"a fleet by {law}")
    columns = {
        name: [one[name] for one in found["class_list"]]
        for name in ("share", "down_bits_per_s", "up_bits_per_s", "rtt_s")
    }
    assert columns["share"] == ["1%", "5%", "25%", "50%", "75%", "95%", "99%"]
    uploads = [one["transfer_s"]["up_1000000"] for one in found["class_list"]]
    code, out, _ = call(monkeypatch, capfd, "check", "mine.toml")
    if law == "table":  # client i has row i: weights do not count
        assert columns["down_bits_per_s"] == [1e6, 1e6, 2e6, 3e6, 4e6, 5e6, 5e6]
        assert columns["up_bits_per_s"] == [1e6, 1e6, 2e6, 3e6, 4e6, 9e6, 9e6]
        assert columns["rtt_s"] == [0.01, 0.01, 0.02, 0.03, 0.04, 0.5, 0.5]
        assert uploads[3] == pytest.approx(8 / 3 + 0.015)
        assert out == (
            "mine.toml: 'n' is a profile of a fleet by table (5, 50 and 95 % of 5 rows, each on "
            "its own): down 1, 3, 5 Mbit/s, up 1, 3, 9 Mbit/s, round trip 10, 30, 500 ms; "
            "drawn by the seed: nothing; all seeds give the same seconds\n"
        )
    else:
        assert columns["down_bits_per_s"] == [1.5e6, 4e6, 4e6, 4e6, 4e6, 4e6, 4.5e6]
        assert columns["rtt_s"] == pytest.approx([0.015, *[0.04] * 5, 0.27])
        assert "(5, 50 and 95 % of 5 rows by weight, each on its own): down 4, 4, 4 Mbit/s" in out
    _, out, _ = call(monkeypatch, capfd, "show", "mine.toml")
    assert "each column on its own" in " ".join(out.split())


def test_fit_writes_a_profile_and_a_picture_and_reports(monkeypatch, capfd, home: Path):
    options = ("--classes", "2", "--name", "ours", "--date", "2024-03")
    code, out, err = call(
        monkeypatch, capfd, "fit", "tests.csv", "--out", "mine.toml", *SOURCE, *options
    )
    assert (code, err) == (0, "")
    profile = load_profile("mine.toml")
    assert (profile.name, profile.source, profile.date) == ("ours", "us", "2024-03")
    assert [group.share for group in profile.clients] == [0.5, 0.5]
    assert [(k.down_bits_per_s, k.up_bits_per_s, k.rtt_s) for k in profile.class_links()] == [
        (10e6, 1e6, 0.04),
        (100e6, 20e6, 0.02),
    ]
    assert (home / "mine.png").read_bytes().startswith(b"\x89PNG")
    said = " ".join(out.split())
    assert "40 rows used, 1 left out" in said
    assert "0 unreadable, 0 filtered" in said
    assert "delimiter comma, decimal point" in said
    assert "download and upload: 1.00 in the tests, 1.00 in the fit" in said
    assert "download 0.000, upload 0.000" in said
    assert "download, Mbit/s tests 10 10 55 100 100 fit 10 10 55 100 100 +0 %" in said
    assert "The law is 2 classes and keeps all figures within 10 %" in said
    assert sorted(path.name for path in home.iterdir()) == ["mine.png", "mine.toml", "tests.csv"]


def test_fit_counts_rows_that_cannot_be_read(monkeypatch, capfd, home: Path):
    with (home / "tests.csv").open("a", encoding="utf-8") as file:
        file.write('"1,2,3",5,5,4G\n')
    command = ("fit", "tests.csv", "--out", "mine.toml", *SOURCE)
    code, out, err = call(monkeypatch, capfd, *command)
    assert (code, out) == (2, "")
    assert "1 of 42 rows cannot be read (line 43 has '1,2,3' in download_mbps)" in err
    assert [path.name for path in home.iterdir()] == ["tests.csv"]
    code, out, _ = call(monkeypatch, capfd, *command, "--skip-bad")
    assert code == 0
    assert "40 rows used, 1 left out (a value missing or not above zero), 1 unreadable" in out
    assert "# 1 rows were left out: they could not be read." in (home / "mine.toml").read_text(
        "utf-8"
    )
    code, out, _ = call(monkeypatch, capfd, *command, "--skip-bad", "--force", "--json")
    found = json.loads(out)
    assert (found["rows_unreadable"], found["delimiter"], found["decimal"]) == (1, ",", ".")


def test_fit_of_a_profile_that_would_not_load_writes_nothing(monkeypatch, capfd, home: Path):
    def refuse(path: str) -> None:
        raise ProfileError(f"{Path(path).name} is refused")

    monkeypatch.setattr(profile_fit, "load_profile", refuse)
    command = ("fit", "tests.csv", "--out", "mine.toml", *SOURCE, "--law", "rows")
    code, out, err = call(monkeypatch, capfd, *command)
    assert (code, out, err) == (2, "", "floss-sim: mine.toml is refused\n")
    assert [path.name for path in home.iterdir()] == ["tests.csv"]


def test_fit_for_machines_and_with_conditions(monkeypatch, capfd, home: Path):
    options = ("--where", "technology=5G", "--classes", "1", "--compute-per-example", "9 ms")
    code, out, _ = call(
        monkeypatch, capfd, "fit", "tests.csv", "--out", "mine.toml", *SOURCE, *options, "--json"
    )
    found = json.loads(out)
    assert (code, found["rows_used"], found["rows_filtered"]) == (0, 20, 21)
    assert found["classes"] == [
        {"share": 1.0, "down_bits_per_s": 100e6, "up_bits_per_s": 20e6, "rtt_s": 0.02}
        | dict.fromkeys(("down_sigma", "up_sigma", "rtt_sigma", "correlation"), 0.0)
    ]
    assert found["rank_correlation"] == {"data": None, "fit": None}
    profile = load_profile(found["profile"])
    assert profile.name == "mine"
    assert profile.clients[0].compute_per_example.median == pytest.approx(0.009)


def test_fit_of_rows_writes_them_beside_the_profile(monkeypatch, capfd, home: Path):
    command = ("fit", "tests.csv", "--out", "mine.toml", *SOURCE, "--law", "rows")
    code, out, err = call(monkeypatch, capfd, *command)
    assert (code, err) == (0, "")
    names = sorted(path.name for path in home.iterdir())
    assert names == ["mine.png", "mine.rows.csv", "mine.toml", "tests.csv"]
    lines = (home / "mine.rows.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "down_bits_per_s,up_bits_per_s,rtt_s,weight"
    assert [float(cell) for cell in lines[1].split(",")] == [10e6, 1e6, 0.04, 1]
    assert len(lines) == 41
    links = set(load_profile("mine.toml").links(1000))
    assert {(link.down_bits_per_s, link.up_bits_per_s, link.rtt_s) for link in links} == {
        (10e6, 1e6, 0.04), (100e6, 20e6, 0.02),
    }  # fmt: skip
    assert "The law is rows, the tests themselves." in out
    assert out.endswith("profile: mine.toml, rows: mine.rows.csv, picture: mine.png\n")
    (home / "mine.toml").unlink()
    (home / "mine.png").unlink()
    code, out, err = call(monkeypatch, capfd, *command)
    assert (code, out) == (2, "")
    assert "mine.rows.csv would be overwritten; add --force" in err
    code, out, _ = call(monkeypatch, capfd, *command, "--force", "--json")
    found = json.loads(out)
    assert (code, found["law"], found["classes"]) == (0, "rows", [])
    assert (found["rows"], found["ks_down"]) == ("mine.rows.csv", pytest.approx(0, abs=1e-12))


def write_heavy_tests(path: Path) -> None:
    """Write tests with a heavy tail, line 9 of which uploads 0.01 Mbit/s."""
    tests = heavy_tail(300)
    columns = (tests.down_bits_per_s / 1e6, tests.up_bits_per_s / 1e6, tests.rtt_s * 1e3)
    cells = [[repr(value) for value in row] for row in np.transpose(columns).tolist()]
    cells[7][1] = "0.01"
    lines = ["download_mbps,upload_mbps,rtt_ms", *map(",".join, cells)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_default_fit_of_a_heavy_tail_writes_rows(monkeypatch, capfd, home: Path):
    write_heavy_tests(home / "tests.csv")
    command = ("fit", "tests.csv", "--out", "tests.toml", *SOURCE)
    code, out, err = call(monkeypatch, capfd, *command)
    assert (code, err) == (0, "")
    names = sorted(path.name for path in home.iterdir())
    assert names == ["tests.csv", "tests.png", "tests.rows.csv", "tests.toml"]
    said = " ".join(out.split())
    assert "The law is rows, the tests themselves: neither classes nor lognormal laws" in said
    assert "line 9 " in said
    assert len(load_profile("tests.toml").fleet.rows.links) == 300


def test_the_table_of_a_fit_has_the_numbers_of_its_json(monkeypatch, capfd, home: Path):
    write_heavy_tests(home / "tests.csv")
    command = ("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--classes", "3")
    _, out, _ = call(monkeypatch, capfd, *command)
    _, json_out, _ = call(monkeypatch, capfd, *command, "--force", "--json")
    found = json.loads(json_out)
    pairs = [line.split() for line in out.splitlines() if " tests " in line or " fit " in line]
    table = [line for line in pairs if {"tests", "fit"} & set(line)][:14]
    units = {"Mbit/s": 1e6, "ms": 1e-3, "s": 1.0}
    for i, (quantity, deviation) in enumerate(found["largest_deviations"].items()):
        tests, fitted = table[2 * i], table[2 * i + 1]
        at = tests.index("tests")
        size = units[tests[at - 1]]
        for kind, cells in (("data", tests[at + 1 :]), ("fit", fitted[1:6])):
            shown = [float(cell.rstrip("*").replace(",", "")) * size for cell in cells]
            values = list(found["percentiles"][quantity][kind].values())
            assert shown == pytest.approx(values, rel=6e-3)
        marked = [cell.endswith("*") for cell in fitted[1:6]]
        place = [1, 5, 50, 95, 99].index(deviation["percent"])
        assert marked == [i == place and abs(deviation["relative"]) > 0.1 for i in range(5)]
        assert fitted[6] == f"{100 * deviation['relative']:+.0f}"
    assert found["verdict"] in " ".join(out.split())
    slowest = found["slow_tests"]["tests"][0]
    assert slowest["line"] == 9
    part = slowest["parts"]["round_50_clients_5000000_bytes_s"]
    (line,) = (line for line in rows(out) if line.startswith("line 9 "))
    assert line.endswith(f"{100 * part['rounds']:.0f} % {100 * part['time']:.0f} %")
    assert f"nine in ten: {found['slow_tests']['count']} of 300." in " ".join(out.split())


def test_fit_says_when_few_tests_show_the_tail(monkeypatch, capfd, home: Path):
    lines = ["download_mbps,upload_mbps,rtt_ms", *(f"{n},{n},9" for n in range(20, 60))]
    (home / "tests.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _, out, _ = call(monkeypatch, capfd, "fit", "tests.csv", "--out", "x.toml", *SOURCE)
    part = 1 - (1 - 1 / 40) ** 50
    assert (
        "40 tests show little of the tail: the slowest one decides "
        f"{100 * part:.0f} % of the rounds of 50 clients." in " ".join(out.split())
    )
    assert "Slow tests" not in out


def test_slow_tests_that_hardly_count_are_in_the_json_only(monkeypatch, capfd, home: Path):
    lines = ["download_mbps,upload_mbps,rtt_ms,devices", *["20,10,9,1000"] * 99, "20,0.1,9,0.001"]
    (home / "tests.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--weight", "devices", "--force")
    assert "Slow tests" not in call(monkeypatch, capfd, *command)[1]
    found = json.loads(call(monkeypatch, capfd, *command, "--json")[1])
    assert [each["line"] for each in found["slow_tests"]["tests"]] == [101]
    assert found["slow_tests"]["weight"] == pytest.approx(1e-3 / 99e3, rel=1e-3)


def test_fit_names_tests_that_are_too_fast_to_be_true(monkeypatch, capfd, home: Path):
    with (home / "tests.csv").open("a", encoding="utf-8") as file:
        file.write("90000,20,20,5G\n100,20,0.001,5G\n100,20,0,5G\n100,20,0.001,5G\n")
    command = ("fit", "tests.csv", "--out", "mine.toml", *SOURCE)
    code, out, err = call(monkeypatch, capfd, *command)
    assert (code, err) == (0, "")
    said = " ".join(out.split())
    assert (
        "Fast tests, which no access line reaches: download above 10 Gbit/s in 1 of 43 (2.3 %), "
        "first in line 43 (90 Gbit/s down, 20 Mbit/s up, round trip 20 ms); round trip below 0.1 "
        "ms in 2 of 43 (4.7 %), first in line 44 (100 Mbit/s down, 20 Mbit/s up, round trip 0.001 "
        "ms). See whether the units are right (--rate-unit, --latency-unit); if they are, delete "
        "the lines and fit again."
    ) in said
    assert "A round trip of 0 is no measurement: 1 row is left out, first line 45." in said
    _, out, _ = call(monkeypatch, capfd, *command, "--force", "--json")
    found = json.loads(out)
    assert {name: one["first_line"] for name, one in found["fast_tests"].items()} == {
        "down_bits_per_s": 43, "rtt_s": 44,
    }  # fmt: skip
    assert found["zero_round_trips"] == {"count": 1, "first_line": 45}


def test_fit_never_overwrites_the_tests_or_another_file(monkeypatch, capfd, home: Path):
    write_heavy_tests(home / "x.rows.csv")
    before = (home / "x.rows.csv").read_bytes()
    command = ("--out", "x.toml", *SOURCE, "--force")
    code, out, err = call(monkeypatch, capfd, "fit", "x.rows.csv", *command)
    assert (code, out) == (2, "")
    assert err == "floss-sim: x.rows.csv would overwrite the speed tests; give another --out\n"
    write_heavy_tests(home / "tests.csv")
    code, out, err = call(monkeypatch, capfd, "fit", "tests.csv", *command)
    assert (code, out) == (2, "")
    assert err.startswith("floss-sim: x.rows.csv was not written by profiles fit; ")
    assert (home / "x.rows.csv").read_bytes() == before
    assert sorted(path.name for path in home.iterdir()) == ["tests.csv", "x.rows.csv"]
    assert call(monkeypatch, capfd, "fit", "tests.csv", *command, "--classes", "2")[0] == 0


def test_fit_takes_a_file_of_any_name(monkeypatch, capfd, home: Path):
    (home / "tests.csv").rename(home / "$a_^$.csv")
    code, _, err = call(monkeypatch, capfd, "fit", "$a_^$.csv", "--out", "mine.toml", *SOURCE)
    assert (code, err) == (0, "")


def test_fit_overwrites_only_by_force(monkeypatch, capfd, home: Path):
    command = ("fit", "tests.csv", "--out", "mine.toml", *SOURCE)
    for name in ("mine.toml", "mine.png"):
        (home / name).write_text("mine", encoding="utf-8")
        code, out, err = call(monkeypatch, capfd, *command)
        assert (code, out) == (2, "")
        assert f"{name} would be overwritten; add --force" in err
        assert (home / name).read_text(encoding="utf-8") == "mine"
        assert call(monkeypatch, capfd, *command, "--force")[0] == 0
        (home / "mine.toml").unlink()
        (home / "mine.png").unlink()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "dialup"), "valid: 3g, 5g, broadband"),
        (("check", "none.toml"), "cannot read none.toml"),
        (("fit", "none.csv", "--out", "x.toml", *SOURCE), "cannot read none.csv"),
        (("fit", "tests.csv", "--out", "x.toml"), "--source"),
        (("fit", "tests.csv", "--out", "x.txt", *SOURCE), "must end in .toml"),
        (("fit", "tests.csv", "--out", "none/x.toml", *SOURCE), "none/x.png"),
        (("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--down", "dl"), "it has download_mbps"),
        (("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--rate-unit", "Mb"), "valid units"),
        (("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--classes", "0"), "--classes"),
        (("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--where", "rtt_ms=9"), "0 usable rows"),
        (
            ("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--where", "technology=4g"),
            "none has technology=4g; technology has 4G (21), 5G (20)",
        ),
        (("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--delimiter", "ab"), "--delimiter"),
        (("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--decimal", "x"), "valid: . or ,"),
        (
            ("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--law", "x"),
            "valid: classes, lognormal, spread-classes",
        ),
        (
            ("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--law", "rows", "--classes", "2"),
            "--classes requires --law classes",
        ),
        (
            (
                "fit",
                "tests.csv",
                "--out",
                "x.toml",
                *SOURCE,
                "--law",
                "lognormal",
                "--classes",
                "2",
            ),
            "--law lognormal has no classes",
        ),
        (
            ("fit", "tests.csv", "--out", "x.toml", *SOURCE, "--compute-per-example", "5"),
            "not a number with a unit",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(monkeypatch, capfd, home, arguments, says: str):
    code, out, err = call(monkeypatch, capfd, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("floss-sim: ")
    assert says in err
    assert err.count("\n") == 1
    assert [path.name for path in home.iterdir()] == ["tests.csv"]


@pytest.mark.parametrize("command", ["list", "show", "check", "fit"])
def test_help_has_examples(command: str):
    done = subprocess.run(
        [sys.executable, "-m", "floss_sim", "profiles", command, "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"floss-sim profiles {command}" in done.stdout.split("Examples:")[1]
