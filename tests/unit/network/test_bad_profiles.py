"""Profiles that cannot be, as a user meets them: one line with file, key and what is valid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import commands
import pytest

from floss_sim.errors import ProfileError
from floss_sim.network import load_profile

HEAD = 'name = "n"\nsource = "s"\ndate = "d"\n'
CLASS = """
[[clients]]
share = 1.0
down = "1 MB/s"
up = "500 kbit/s"
rtt = "10 ms"
compute_per_example = "0.5 s"
"""
LAW = """
[fleet]
law = "lognormal"
down = { median = "20 Mbit/s", sigma = 0.8 }
up = { median = "5 Mbit/s" }
rtt = { median = "50 ms" }
compute_per_example = { median = "2 ms" }
"""
TABLE = """
[fleet]
law = "table"
file = "rows.csv"
"""
ROWS = "down_bits_per_s,up_bits_per_s,rtt_s,compute_s_per_example"
Check = Callable[..., str]
TRACED = CLASS.replace('down = "1 MB/s"', 'down_trace = { file = "t.csv" }')


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> Check:
    """Return a function that returns what ``profiles check`` says about a bad profile."""

    def check(text: str, csv: str | bytes | None) -> str:
        for name in ("rows.csv", "t.csv"):
            if csv is not None:
                data = csv if isinstance(csv, bytes) else csv.encode()
                (tmp_path / name).write_bytes(data)
        (tmp_path / "bad.toml").write_text(HEAD + text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        command = ("floss-sim", "profiles", "check", "bad.toml")
        code, out, err = commands.call(monkeypatch, capfd, *command)
        assert (code, out) == (2, "")
        assert err.startswith("floss-sim: bad.toml: ")
        assert err.count("\n") == 1
        return err.removeprefix("floss-sim: bad.toml: ").removesuffix("\n")

    return check


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CLASS + LAW, "clients: give classes ([[clients]]) or a law ([fleet]), one of the two"),
        ("", "clients: give classes ([[clients]]) or a law ([fleet]), one of the two"),
        (CLASS.replace("[[clients]]", "[clients]"), "clients: Input should be a list of tables"),
        (1001 * CLASS, "clients: 1001 client classes; valid: at most 1000"),
        (CLASS + "loss = 0.6", "clients.0.loss: Input should be less than or equal to 0.5, not"),
        (CLASS + "loss = nan", "clients.0.loss: Input should be less than or equal to 0.5, not"),
        (CLASS + "dropout = 1.0", "clients.0.dropout: Input should be less than 1, not 1.0"),
        (CLASS + "dropout = -0.1", "clients.0.dropout: Input should be greater than or equal to 0"),
        (CLASS + "dropout = nan", "clients.0.dropout: Input should be less than 1, not nan"),
        (CLASS + 'jitter = "-1 ms"', "clients.0.jitter: duration '-1 ms' must not be negative"),
        (CLASS + "jitter = nan", "clients.0.jitter: duration nan is not a number with a unit"),
        (CLASS + 'trace_start = "x"', "clients.0.trace_start: Input should be 'same' or 'random'"),
        (LAW.replace("lognormal", "weibull"), "fleet.law: 'weibull' is unknown; valid: lognormal,"),
        (LAW.replace("law =", "# law ="), "fleet.law: missing; valid: lognormal, rows, table"),
        ("fleet = 3", "fleet: Input should be a table with keys of law, down, up, rtt, "),
        (LAW.replace("20 Mbit/s", "0 Mbit/s"), "fleet.down.median: rate '0 Mbit/s' must be above"),
        (LAW.replace("20 Mbit/s", "20 Mb/s"), "fleet.down.median: rate '20 Mb/s' has unit 'Mb/s';"),
        (LAW.replace("0.8", "-1"), "fleet.down.sigma: Input should be greater than or equal to 0"),
        (LAW.replace("0.8", "nan"), "fleet.down.sigma: Input should be less than or equal to 5, n"),
        ('class_order = "sorted"\n' + CLASS, "class_order: Input should be 'drawn' or 'by-number'"),
        ('class_order = "drawn"\n' + LAW, "class_order: not with a law ([fleet]); valid: with cl"),
        (CLASS + "correlation = -1.1", "clients.0.correlation: Input should be greater than or eq"),
        (CLASS.replace('"10 ms"', '{ sigma = 1 }'), "clients.0.rtt.median: missing; valid: a val"),
        (
            CLASS.replace('"10 ms"', '{ median = "1 s", mean = 1 }'),
            "clients.0.rtt.mean: unknown key; valid: median, sigma",
        ),
        (CLASS.replace('"10 ms"', "10"), "clients.0.rtt: duration 10 is not a number with a uni"),
        (LAW + "correlation = 2", "fleet.correlation: Input should be less than or equal to 1"),
        (LAW + "spread = 2", "fleet.spread: unknown key; valid: law, down, up, rtt, compute_per_e"),
        (LAW.replace("rtt =", "# rtt ="), 'fleet.rtt: missing; valid: "50 ms" or a table'),
        (
            LAW.replace('{ median = "5 Mbit/s" }', '"5 Mbit"'),
            "fleet.up: rate '5 Mbit' has unit 'Mbit'; valid units: ",
        ),
        (TABLE, "fleet: cannot read rows.csv: No such file"),
        (TABLE.replace("file", "# file"), "fleet.file: missing; valid: a value such as"),
        (TRACED, "clients.0.down_trace: cannot read t.csv: No such file"),
        (TRACED.replace("file", "path"), "clients.0.down_trace.file: missing; valid: a"),
        (CLASS + '[server]\negress = "0 Gbit/s"', "server.egress: rate '0 Gbit/s' must be above z"),
        (CLASS + '[server]\negres = "1 Gbit/s"', "server.egres: unknown key; valid: egress, ingre"),
        ("server = 3\n" + CLASS, "server: Input should be a table with keys of egress, ingress"),
        (CLASS + "[cells]\ncount = 0", "cells.count: Input should be greater than or equal to 1"),
        (CLASS + '[cells]\ndown = "1 bit/s"', "cells.count: missing; valid: a whole number from 1"),
        (CLASS + '[availability]\non = "0 s"\noff = "1 s"', "availability: on: a mean time must b"),
        (CLASS + '[availability]\non = "1 s"', "availability.off: missing; valid: a value"),
        (
            CLASS + '[availability]\non = "1 s"\noff = "1 s"\nswing = 1',
            "availability.swing: Input should be less than 1, not 1",
        ),
        (
            CLASS + '[availability]\non = "1 s"\noff = "1 s"\npeak_hour = nan',
            "availability.peak_hour: Input should be less than or equal to 24, not nan",
        ),
        (
            CLASS + "[prices]\nper_gb_up = 1",
            'prices.currency: missing; valid: a value such as "EUR"',
        ),
        (CLASS + '[prices]\ncurrency = ""', "prices.currency: String should have at least 1"),
        (CLASS + '[prices]\ncurrency = "E"\nper_joule = nan', "prices.per_joule: Input should be "),
        (CLASS + "[energy]\nbattery = 15", "energy.battery: energy 15 is not a number with a unit"),
        (CLASS + '[energy]\nbattery = "15 Ah"', "energy.battery: energy '15 Ah' has unit 'Ah'"),
        (CLASS + '[energy]\nbattery = "0 Wh"', "energy.battery: energy '0 Wh' must be above zero"),
        (CLASS + "[energy]\ncompute_watts = -1", "energy.compute_watts: Input should be greater"),
        (CLASS + "[energy]\ncompute_watts = inf", "energy.compute_watts: Input should be a finite"),
        (CLASS + '[transport]\nframing = "x"', "transport.framing: Input should be 'none' or 'grp"),
        (CLASS + "[transport]\nmtu = 100", "transport.mtu: Input should be greater than or equal "),
        (CLASS + "[energy]\ncompute_watts = 2e12", "energy.compute_watts: Input should be less th"),
        (CLASS + '[prices]\ncurrency = "E"\nper_gb_up = 1e308', "prices.per_gb_up: Input should b"),
        (CLASS.replace("10 ms", "1e308 s"), "clients.0.rtt: duration '1e308 s' is too long; valid"),
        (CLASS.replace("1 MB/s", "1e-9 bit/s"), "clients.0.down: rate '1e-9 bit/s' is out of rang"),
        ('first_download = "1e16 B"\n' + CLASS, "first_download: Input should be less than or equ"),
        (CLASS + '[prices]\ncurrency = "E\\u001b[31m"', "prices.currency: must be one line with"),
        ("seed = nan\n" + CLASS, "seed: Input should be a finite number, not nan"),
        ('first_download = "0 B"\n' + CLASS, "first_download: size '0 B' must be at least one byt"),
        (CLASS + "[overrides]\ndown = 1.0", "overrides: unknown key; valid: name, source, date, "),
    ],
)  # fmt: skip
def test_a_bad_key_is_named_with_what_is_valid(checked: Check, text: str, said: str):
    assert checked(text, None).startswith(said)


ALL = f"{ROWS},jitter_s,loss,dropout,cell,weight"


@pytest.mark.parametrize(
    ("csv", "said"),
    [
        ("", " lacks column 'down_bits_per_s'; valid: down_bits_per_s, up_bits_per_s, rtt_s, "),
        ("down_bits_per_s,rtt_s\n", " lacks column 'up_bits_per_s'; valid: down_bits_per_s, "),
        (f"{ROWS},rate\n", " has unknown column 'rate'; valid: down_bits_per_s, "),
        (f"{ROWS},rtt_s\n", " has column 'rtt_s' twice; valid: "),
        (f"{ROWS}\n", " has no rows"),
        (f"{ROWS}\n1,1,1,1\n\n1,x,1,1\n", ", line 4: up_bits_per_s 'x'; valid: a finite number ab"),
        (f"{ROWS}\n1,,1,1\n", ", line 2: up_bits_per_s ''; valid: a finite number above 0"),
        (f"{ROWS}\n0,1,1,1\n", ", line 2: down_bits_per_s '0'; valid: a finite number above 0"),
        (f"{ROWS}\n-1,1,1,1\n", ", line 2: down_bits_per_s '-1'; valid: a finite number above 0"),
        (f"{ROWS}\nnan,1,1,1\n", ", line 2: down_bits_per_s 'nan'; valid: a finite number above 0"),
        (f"{ROWS}\n1,inf,1,1\n", ", line 2: up_bits_per_s 'inf'; valid: a finite number above 0"),
        (f"{ROWS}\n1,1,inf,1\n", ", line 2: rtt_s 'inf'; valid: a finite number at or above 0"),
        (f"{ROWS}\n1,1,1,-1\n", ", line 2: compute_s_per_example '-1'; valid: a finite number at"),
        (f"{ROWS}\n1,1,1\n", ", line 2: 3 values for 4 columns"),
        (f"{ROWS}\n1,1,1,1,1\n", ", line 2: 5 values for 4 columns"),
        (f"{ALL}\n1,1,1,1,nan,0,0,0,1\n", ", line 2: jitter_s 'nan'; valid: a finite number at"),
        (f"{ALL}\n1,1,1,1,0,0.6,0,0,1\n", ", line 2: loss '0.6'; valid: 0 to 0.5"),
        (f"{ALL}\n1,1,1,1,0,nan,0,0,1\n", ", line 2: loss 'nan'; valid: 0 to 0.5"),
        (f"{ALL}\n1,1,1,1,0,0,1,0,1\n", ", line 2: dropout '1'; valid: 0 to below 1"),
        (f"{ALL}\n1,1,1,1,0,0,0,0.5,1\n", ", line 2: cell '0.5'; valid: a whole number from 0"),
        (f"{ALL}\n1,1,1,1,0,0,0,inf,1\n", ", line 2: cell 'inf'; valid: a whole number from 0"),
        (f"{ALL}\n1,1,1,1,0,0,0,0,0\n", ", line 2: weight '0'; valid: a finite number above 0"),
        (b"\xff\xfe", " is not a CSV file in UTF-8: "),
        (f"{ROWS}\n{'1' * 200_000},1,1,1\n", " is not a CSV file in UTF-8: field larger"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("law", ["rows", "table"])
def test_a_bad_row_is_named_by_file_line_and_column(
    checked: Check, csv: str | bytes, said: str, law: str
):
    found = checked(TABLE.replace('"table"', f'"{law}"'), csv)
    assert found.startswith(f"fleet: rows.csv{said}")


@pytest.mark.parametrize("cells", ["", "[cells]\ncount = 2\n"])
def test_a_rows_cell_outside_the_cells_is_refused(checked: Check, cells: str):
    found = checked(TABLE + cells, f"{ROWS},cell\n1,1,1,1,0\n1,1,1,1,2\n")
    valid = 1 if cells else 0
    assert found == f"fleet.file: rows.csv names cell 2; valid: 0 to {valid}, by count in [cells]"


@pytest.mark.parametrize(
    ("at_end", "csv", "said"),
    [
        ("repeat", "seconds,kbit/s\n0,1\n2,2\n1,1\n", "line 4: time 1 s does not follow 2 s; vali"),
        ("repeat", "seconds,kbit/s\n0,0\n1,0\n", "a trace must deliver bits: at least one rate ab"),
        ("repeat", "seconds,kbit/s\n0,nan\n1,0\n", "line 2: '0,nan' is not a row of a trace; vali"),
        ("repeat", "seconds,kbit/s\n0,1\n1,inf\n", "line 3: '1,inf' is not a row of a trace; vali"),
        ("repeat", "seconds,kbit/s\n0,1\n1,-1\n", "line 3: '1,-1' is not a row of a trace; vali"),
        ("repeat", "seconds,apples\n0,1\n1,1\n", "line 1: 'apples' is not a unit of rate; valid: "),
        ("repeat", "seconds,kbit/s\n0,1\n", "line 2: the trace ends after 1 row(s); valid: at lea"),
        ("hold", "seconds,kbit/s\n0,1\n1,0\n", "the last rate is 0 and is held forever, so that "),
    ],
)  # fmt: skip
def test_a_bad_trace_is_named_by_class_file_and_line(
    checked: Check, at_end: str, csv: str, said: str
):
    found = checked(TRACED.replace('"t.csv"', f'"t.csv", at_end = "{at_end}"'), csv)
    assert found.startswith(f"clients.0.down_trace: t.csv: {said}")


def test_a_rate_and_a_trace_of_one_direction_are_refused(checked: Check):
    both = CLASS + 'down_trace = { file = "t.csv" }\n'
    found = checked(both, "seconds,kbit/s\n0,1\n1,1\n")
    assert found == "clients.0: down: give a rate or a trace (down_trace), one of the two"
    found = checked(TRACED.replace('"t.csv"', '"t.csv", at_end = "stop"'), None)
    assert found.startswith("clients.0.down_trace.at_end: Input should be 'repeat' or 'hold'")


@pytest.mark.parametrize("key", ["name", "source", "date"])
@pytest.mark.parametrize("text", ["a\\nb", "\\u001b[2J", "\\u0007", "\\u009b1m", "\\u202e"])
def test_texts_are_one_line_without_control_characters(tmp_path: Path, key: str, text: str):
    head = "".join(line for line in HEAD.splitlines(True) if not line.startswith(key))
    (tmp_path / "bad.toml").write_text(f'{key} = "{text}"\n{head}{CLASS}', encoding="utf-8")
    with pytest.raises(ProfileError, match=rf"toml: {key}: must be one line without control char"):
        load_profile(str(tmp_path / "bad.toml"))
