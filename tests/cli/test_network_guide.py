"""The network guide: its profile, its snippets and its commands do what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import commands
import pytest
from made_runs import make_run

import floss_sim.network
from floss_sim.errors import ProfileError
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.devices.compute import EFFICIENCY
from floss_sim.network.fleets.classes import TraceSection
from floss_sim.network.profile import (
    AvailabilitySection,
    CellsSection,
    EnergySection,
    PricesSection,
    ServerCapacitySection,
)
from floss_sim.network.transport import Transport
from floss_sim.simulator.rounds import ASK_AGAIN_S

GUIDE = Path(floss_sim.network.__file__).with_name("GUIDE.md").read_text(encoding="utf-8")
EXAMPLE, COMPUTE, TRACE, MAHIMAHI, LAW, ROWS = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = [line.strip() for line in GUIDE.splitlines() if line.startswith("    floss-sim")]
HEAD = re.sub("class_order.*\n", "", EXAMPLE.split("[[clients]]")[0])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the guide's commands and snippets speak of."""
    rows = [f"{down},{down / 10},{40 - down}" for down in range(1, 31)]
    files = {
        "mine.toml": EXAMPLE,
        "tests.csv": "\n".join(["download_mbps,upload_mbps,rtt_ms", *rows]),
        "train.csv": "seconds,kbit/s\n0,1000\n10,5000\n",
        "lte.up": "5\n10\n30\n",
        "rows.csv": "down_bits_per_s,up_bits_per_s,rtt_s\n1e6,1e5,0.1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    make_run(tmp_path / "runs" / "first", [(0.5, 4000, 4000, 1.0)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch, capfd, command: str) -> tuple[int, str, str]:
    return commands.call(monkeypatch, capfd, *shlex.split(command, comments=True))


def command_of(*words: str) -> str:
    (found,) = (line for line in COMMANDS if all(word in line for word in words))
    return found


def test_the_guides_profile_loads_and_every_section_has_every_key(home: Path):
    profile = load_profile("mine.toml")
    assert [group.share for group in profile.clients] == [0.6, 0.4]
    assert profile.availability.law().on_s == 8 * 3600
    sections = {
        "server": ServerCapacitySection, "cells": CellsSection, "transport": Transport,
        "availability": AvailabilitySection, "energy": EnergySection, "prices": PricesSection,
    }  # fmt: skip
    instead = {"framework"}  # in place of framing, which the profile has
    for name, section in sections.items():
        assert getattr(profile, name).model_fields_set == section.model_fields.keys() - instead
    assert 'framework = "flower-1.42"' in GUIDE
    assert profile.model_fields_set == NetworkProfile.model_fields.keys() - {"fleet"}


def test_the_guides_trace_takes_the_place_of_a_rate(home: Path):
    head, tail = EXAMPLE.split('down = "200 Mbit/s"\n')
    (home / "mine.toml").write_text(head + TRACE + tail, encoding="utf-8")
    link = load_profile("mine.toml").links(10)[0]
    assert (link.down_bits_per_s, link.down_trace.at_end) == (3e6, "repeat")
    assert link.trace_offset_s > 0


def test_the_guides_mahimahi_trace_takes_the_place_of_a_rate(home: Path):
    head, tail = EXAMPLE.split('up = "20 Mbit/s"\n')
    (home / "mine.toml").write_text(head + MAHIMAHI + tail, encoding="utf-8")
    trace = load_profile("mine.toml").links(10)[0].up_trace
    assert (trace.starts_s, trace.length_s) == ((0, 0.02), 0.03)
    assert trace.bits_per_s == pytest.approx((1.2e6, 1.2e6))
    (home / "lte.up").write_text("1\n", encoding="utf-8")
    rate = load_profile("mine.toml").links(10)[0].up_bits_per_s
    assert f"the line `1` alone is {rate / 1e6:g} Mbit/s" in GUIDE
    assert f"by default {1000 * TraceSection.model_fields['bin'].default:g} ms" in GUIDE
    (home / "lte.up").write_text("0\n0\n", encoding="utf-8")
    with pytest.raises(ProfileError, match="the trace lasts 0 ms"):
        load_profile("mine.toml")


@pytest.mark.parametrize("line", COMPUTE.splitlines())
def test_the_guides_devices_take_the_place_of_a_time(home: Path, line: str):
    device = Path(floss_sim.network.__file__).with_name("devices") / "epyc-1-core.toml"
    (home / "phone.toml").write_text(device.read_text(encoding="utf-8"), encoding="utf-8")
    head, tail = EXAMPLE.split('compute_per_example = "8 ms"\n')
    (home / "mine.toml").write_text(f"{head}{line}\n{tail}", encoding="utf-8")
    links = load_profile("mine.toml").links(20)
    assert len([link for link in links if link.device]) == 8


def test_the_guides_commands_for_devices(monkeypatch, capfd, home: Path):
    code, out, _ = call(monkeypatch, capfd, command_of("device list"))
    assert (code, "snapdragon-778g" in out) == (0, True)
    assert str(EFFICIENCY) in GUIDE
    assert "--out phone.toml" in command_of("device measure")  # run in test_device.py


@pytest.mark.parametrize("fleet", [LAW, ROWS, ROWS.replace('"rows"', '"table"', 1)])
def test_the_guides_laws_take_the_place_of_classes(home: Path, fleet: str):
    (home / "mine.toml").write_text(HEAD + fleet, encoding="utf-8")
    assert load_profile("mine.toml").links(1)[0].jitter_s == (0.005 if fleet == LAW else 0)


def test_the_guides_commands_for_a_profile(monkeypatch, capfd, home: Path):
    code, out, err = call(monkeypatch, capfd, command_of("profiles check"))
    assert (code, err, out.count("\n")) == (0, "", 1)
    code, out, err = call(monkeypatch, capfd, command_of("profiles show"))
    assert (code, err) == (0, "")
    assert "server: egress 1 Gbit/s, ingress 500 Mbit/s" in out


@pytest.mark.parametrize("law", ["--classes 5", "--law rows", "# the simplest"])
def test_the_guides_commands_for_speed_tests(monkeypatch, capfd, home: Path, law: str):
    (home / "mine.toml").unlink()
    code, _, err = call(monkeypatch, capfd, command_of("profiles fit", law))
    assert (code, err) == (0, "")
    assert (home / "mine.rows.csv").exists() is ("classes" not in law)
    assert len(load_profile("mine.toml").clients) == (5 if "classes" in law else 0)


@pytest.mark.parametrize(
    ("header", "options", "says"),
    [
        ("download_mbps,Upload (MB/s),ping (\u00b5s)", "", "Upload (MB/s) in MB/s, ping (\u00b5s)"),
        ("download_MBPS,upload_mbps,rtt_ms", "", "no clear unit"),
        ("download_mbps,upload_mb/s,rtt_ms", "", "no clear unit"),
        ("download_MBPS,upload_mbps,rtt_ms", "--rate-unit Mbit/s", "download_MBPS in Mbit/s"),
        ("download_mbps,upload_mbps,lat", "", "no column name fits latency"),
        ("download_mbps;upload_mbps;rtt_ms", '--delimiter ";" --decimal ,', "delimiter ;, decimal"),
        ("download_mbps;upload_mbps;rtt_ms", "", "delimiter ;, decimal comma"),
    ],
)  # fmt: skip
def test_what_the_guide_says_of_speed_tests(monkeypatch, capfd, home, header, options, says):
    rows = [f"{down},{down / 10},{40 - down}" for down in range(1, 31)]
    text = "\n".join([header, *rows])
    if ";" in header:
        text = text.replace(",", ";").replace(".", ",")
    (home / "tests.csv").write_text(text, encoding="utf-8")
    asked = f'floss-sim profiles fit tests.csv --out ours.toml --source "us" {options}'
    _, out, err = call(monkeypatch, capfd, asked)
    assert says in out + err


def test_the_guides_run(monkeypatch, capfd, home: Path):
    asked = command_of("floss-sim run").replace("--rounds 50", "--rounds 1 --rank 1")
    code, _, err = call(monkeypatch, capfd, asked)
    assert code == 0, err
    assert (home / "runs" / "mine" / "run.json").exists()


def test_the_guides_replay_is_refused_where_clients_are_lost_and_works_elsewhere(
    monkeypatch, capfd, home: Path
):
    code, _, err = call(monkeypatch, capfd, command_of("replay"))
    assert code == 2
    assert "clients can be lost or offline, which changes training; train there" in err
    assert ": floss-sim run --task" in err
    steady = re.sub(r"\[availability\].*(?=\[energy\])", "", EXAMPLE, flags=re.DOTALL)
    (home / "mine.toml").write_text(re.sub(r"dropout = .*\n", "", steady), encoding="utf-8")
    code, out, err = call(monkeypatch, capfd, command_of("replay"))
    assert (code, err) == (0, "")
    assert "two-sites" in out


def test_every_command_of_the_guide_is_tried_here():
    assert len(COMMANDS) == 9
    assert f"asks again {ASK_AGAIN_S:.0f} s later" in " ".join(GUIDE.split())
