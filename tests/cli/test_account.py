"""``floss-sim account``: its words, its files, and what it cannot know."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import commands
import pytest
from networks import DRAWN
from stand_in_learners import CountingLearner

from floss_sim import RunConfig, load_profile, run
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.records import RunFolder

OWN = commands.OWN.replace('date = "2026"', 'date = "2026"\nfirst_download = "1MB"')


@pytest.fixture
def account(monkeypatch, capfd, tmp_path: Path):
    """Call the command in a folder of its own; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text(OWN, encoding="utf-8")

    def call(*words: str) -> tuple[int, str, str]:
        return commands.call(monkeypatch, capfd, "floss-sim", "account", *words)

    return call


def record(config: RunConfig, network: str) -> None:
    """Write a run of three rounds to the folder ``runs/made``."""
    folder = RunFolder.open(Path("runs/made"), config.description(CountingLearner.identity))
    with folder.lock():
        run(config, load_profile(network), CountingLearner(), rounds=3, folder=folder)


def messages(out: str) -> dict[str, list[str]]:
    """Return the cells of the table of messages by their first."""
    lines = [line.split("  ") for line in out[out.index(" a message") :].splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {row[0]: row[1:] for row in cells if row}


def test_set_up_is_no_part_of_the_link(account, sparse_digits: RunConfig):
    record(sparse_digits, "own.toml")
    code, out, err = account("runs/made", "--network", "own.toml", "--json")
    assert code == 0, err
    down = json.loads(out)["messages"]["down"]
    transport = load_profile("own.toml").transport
    assert down["framed"] == down["payload"] + 28
    assert down["message"] == down["framed"] + 5 + 300 + 9  # one HTTP/2 frame
    assert down["link"] == down["message"] + 22 + 20 + 32  # one record, one segment
    assert (down["setup"], down["wire"]) == (transport.setup_bytes, down["link"] + down["setup"])
    code, out, err = account("runs/made", "--network", "own.toml")
    assert code == 0, err
    table = messages(out)
    assert table["a message"] == [
        "number", "payload", "framed", "message", "link", "set-up", "on the wire",
    ]  # fmt: skip
    assert table["down"][-2] == "4.68 kB"
    assert "encoded, aggregated" in out
    assert "encoded: both directions (frames and first downloads included)" in out
    assert "?" not in out


def test_what_an_unknown_network_adds_is_not_known(account, sparse_digits: RunConfig):
    record(sparse_digits, "own.toml")
    code, out, err = account("runs/made")
    assert code == 0, err
    table = messages(out)
    assert table["down"][3:6] == ["?", "?", "?"]
    assert table["down"][6].endswith("kB")
    reason = "?: not known: own is neither packaged nor kept in the record; pass --network FILE"
    assert " ".join(out.split()).endswith(reason)


EXTREMES = """
name = "{name}"
source = "made"
date = "2026"
[[clients]]
share = 1.0
down = "{rate}"
up = "{rate}"
rtt = "{time}"
compute_per_example = "{time}"
[energy]
joules_per_mb_down = 1e12
joules_per_mb_up = 1e12
compute_watts = 1e12
[prices]
currency = "E"
per_gb_down = 1e12
per_gb_up = 1e12
per_joule = 1e12
"""


@pytest.mark.parametrize(
    ("rate", "time"), [("1e-3 bit/s", "1e18 s"), ("1e18 bit/s", "0 s"), ("1e18 bit/s", "1e-300 s")]
)
def test_the_ends_of_the_valid_ranges_give_numbers_and_no_warnings(
    account, monkeypatch, capfd, sparse_digits: RunConfig, rate: str, time: str
):
    record(sparse_digits, "own.toml")
    Path("end.toml").write_text(EXTREMES.format(name="end", rate=rate, time=time), encoding="utf-8")
    code, out, err = account("runs/made", "--network", "end.toml", "--json")
    assert (code, err) == (0, "")
    json.loads(out, parse_constant=pytest.fail)
    words = ("floss-sim", "replay", "runs/made", "--network", "end.toml", "--json")
    for more in ((), ("--sweep", "upload-ratio=1e-9,1e9", "--target", "0.1")):
        code, out, err = commands.call(monkeypatch, capfd, *words, *more)
        assert (code, err) == (0, "")
        json.loads(out, parse_constant=pytest.fail)


def test_a_network_that_adds_nothing_needs_no_set_up(account, sparse_digits: RunConfig):
    text = OWN[: OWN.index("[transport]")].replace('first_download = "1MB"\n', "")
    Path("plain.toml").write_text(text, encoding="utf-8")
    record(sparse_digits, "plain.toml")
    code, out, err = account("runs/made")  # unpackaged, but its wire bytes tell
    assert code == 0, err
    table = messages(out)
    assert table["a message"] == ["number", "payload", "framed", "message", "link"]
    assert table["up"][2] == table["up"][3] == table["up"][4]
    assert "encoded: both directions (frames included)" in out
    assert "not known" not in out


def test_a_changed_namesake_of_a_packaged_network_is_told_apart(account, sparse_digits: RunConfig):
    Path("lte.toml").write_text(OWN.replace('"own"', '"lte"'), encoding="utf-8")
    record(sparse_digits, "lte.toml")
    _, out, _ = account("runs/made")
    said = " ".join(out.split())
    assert (
        "?: not known: the run was recorded on a lte that differs from the packaged one; pass"
        in said
    )


def test_rows_are_written_to_a_file(account, sparse_digits: RunConfig):
    record(sparse_digits, "lte")
    code, out, err = account("runs/made", "--by", "round", "--csv", "rounds.csv")
    assert code == 0, err
    assert out.endswith("by round: rounds.csv\n")
    assert len(Path("rounds.csv").read_text(encoding="utf-8").splitlines()) == 1 + 3


UNKNOWN = {  # sections of a network's file, and the costs that they leave unknown
    "": {"energy_j", "money"},
    "[energy]\njoules_per_mb_up = 3\n": {"money"},
    '[prices]\ncurrency = "EUR"\nper_gb_up = 3\n': {"energy_j"},
    '[prices]\ncurrency = "EUR"\nper_joule = 3\n': {"energy_j", "money"},
}


@pytest.mark.parametrize("by", ["round", "client", "participation"])
@pytest.mark.parametrize("sections", UNKNOWN)
def test_rows_of_unknown_costs_are_empty_as_the_total_is(
    account, sparse_digits: RunConfig, sections: str, by: str
):
    Path("own.toml").write_text(f"{commands.OWN}\n{sections}", encoding="utf-8")
    record(sparse_digits, "own.toml")
    words = ("runs/made", "--network", "own.toml", "--by", by, "--csv", "rows.csv", "--json")
    code, out, err = account(*words)
    assert code == 0, err
    told = json.loads(out)
    with Path("rows.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert len(told["rows"]) == len(written) > 0
    for name in ("energy_j", "money"):
        unknown = name in UNKNOWN[sections]
        assert (told["total"][name] is None) == unknown
        assert all((row[name] is None) == unknown for row in told["rows"])
        assert all((row[name] == "") == unknown for row in written)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs/made", "--csv", "nodir/x.csv"], "cannot write nodir/x.csv: No such file or dir"),
        (["runs/made", "--csv", "runs"], "cannot write runs: Is a directory"),
        (["runs/made", "--by", "client"], "--by chooses the rows of --csv or --json"),
        (["runs"], "runs is not a run folder (it has no run.json); runs/made is a run folder\n"),
        (["."], ". is not a run folder (it has no run.json); runs/made is a run folder\n"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    account, sparse_digits: RunConfig, words: list[str], said: str
):
    record(sparse_digits, "lte")
    code, out, err = account(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_seconds_of_a_network_that_draws_are_those_of_one_fleet(account, sparse_digits: RunConfig):
    Path("drawn.toml").write_text(DRAWN, encoding="utf-8")
    record(sparse_digits, "drawn.toml")
    drawn, plain = (
        account("runs/made", "--network", name)[1] for name in ("drawn.toml", "own.toml")
    )
    line = "seconds: of one fleet (seed 0); the run takes"
    assert line in " ".join(drawn.split())
    assert "seconds: of one fleet" not in plain
    told = account("runs/made", "--network", "drawn.toml", "--json")[1]
    assert any(note.startswith(line) for note in json.loads(told)["notes"])


def test_a_client_that_decides_the_time_is_named(account, sparse_digits: RunConfig):
    slowest = draw_cohort(0, 2, 50, 5).clients[0]
    rates = "".join(f"{1e3 if client == slowest else 1e7:g},1e6\n" for client in range(50))
    Path("rows.csv").write_text("down_bits_per_s,up_bits_per_s\n" + rates, encoding="utf-8")
    head = 'name = "rows"\nsource = "made"\ndate = "2026"\n[fleet]\nlaw = "table"\n'
    rest = 'file = "rows.csv"\nrtt = "9 ms"\ncompute_per_example = "1 ms"\n'
    Path("rows.toml").write_text(head + rest, encoding="utf-8")
    record(sparse_digits, "rows.toml")
    code, out, err = account("runs/made", "--network", "rows.toml")
    assert code == 0, err
    assert f"client {slowest} (1 kbit/s down, 1 Mbit/s up, round trip 9 ms, 1 ms an" in out
    code, out, err = account("runs/made", "--network", "rows.toml", "--json")
    assert json.loads(out)["straggler"]["client"] == slowest
    assert json.loads(out)["notes"][0].startswith(f"client {slowest} (1 kbit/s down")
    _, out, _ = account("runs/made", "--network", "paper-200-20", "--json")
    assert json.loads(out)["straggler"] is None


def test_a_straggler_of_a_drawn_fleet_is_that_of_one_fleet(account, sparse_digits: RunConfig):
    """The profile's seed is one with a straggler, among fleets that are very unequal."""
    for seed in range(20):
        text = DRAWN.replace("sigma = 0.8", "sigma = 3.0")
        Path("wild.toml").write_text(text.replace("[fleet]", f"seed = {seed}\n[fleet]"), "utf-8")
        if seed == 0:
            record(sparse_digits, "wild.toml")
        told = json.loads(account("runs/made", "--network", "wild.toml", "--json")[1])
        if told["straggler"]:
            break
    start = f"on the one fleet of seed {seed}, client {told['straggler']['client']} ("
    assert told["notes"][0].startswith(start)
    shutil.rmtree("runs")
    record(sparse_digits, "wild.toml")
    told = json.loads(account("runs/made", "--json")[1])  # a network that is not packaged
    start = f"on the one recorded fleet, client {told['straggler']['client']} "
    assert told["notes"][0].startswith(start)
