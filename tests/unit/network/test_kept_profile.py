"""Networks as one text: equal again, link by link, with none of their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from floss_sim import load_profile
from floss_sim.errors import ProfileError
from floss_sim.network import NetworkProfile, packaged_profiles
from floss_sim.network.kept_profile import profile_of_text, profile_text

HEAD = 'name = "own"\nsource = "made"\ndate = "2026"\nseed = 3\n'
ROWS = """[fleet]
law = "LAW"
file = "rows.csv"
rtt = "20 ms"
compute_per_example = "1.1 ms"
[cells]
count = 7
down = "150 Mbit/s"
[prices]
currency = "EUR"
per_gb_up = 0.3
"""
TRACES = """[[clients]]
share = 1.0
down_trace = { file = "rates.csv" }
up_trace = { file = "sent.txt", at_end = "repeat", bin = "30 ms" }
trace_start = "random"
rtt = { median = "51 ms", sigma = 0.3 }
compute_per_example = "2 ms"
jitter = "5 ms"
loss = 0.013
dropout = 0.02
[transport]
framing = "grpc"
[availability]
on = "2 h"
off = "7.3 h"
"""


def write(folder: Path, text: str) -> NetworkProfile:
    """Return the profile of a text, read from a folder with its files, which is then emptied."""
    (folder / "rows.csv").write_text(
        "down_bits_per_s,up_bits_per_s,rtt_s,weight,loss,cell\n"
        "12345678.9,1e6,0.1,0.3,0,1\n0.1e9,333333.333,0.07,2,0.01,6\n",
        encoding="utf-8",
    )
    (folder / "rates.csv").write_text("seconds,kbit/s\n0,900\n0.7,0\n2.2,1234.5\n")
    (folder / "sent.txt").write_text("1\n7\n7\n44\n61\n")  # whose last bin is shorter
    (folder / "own.toml").write_text(HEAD + text, encoding="utf-8")
    made = load_profile(str(folder / "own.toml"))
    for file in folder.iterdir():
        file.unlink()
    return made


def check_equal(profile: NetworkProfile, size: int) -> None:
    text = profile_text(profile)
    again = profile_of_text(text, "text")
    assert again == profile
    assert again.settings() == profile.settings()
    assert [*again.links(size)] == [*profile.links(size)]
    assert (again.energy, again.prices) == (profile.energy, profile.prices)
    other = again.model_copy(update={"seed": 11})
    assert [*other.links(size)] == [*profile.model_copy(update={"seed": 11}).links(size)]
    assert profile_text(again) == text


@pytest.mark.parametrize("name", packaged_profiles())
def test_packaged_networks_are_equal_again_with_their_changes(name: str):
    profile = load_profile(name)
    changed = profile.with_changes("all", down=1e9 / 3, rtt=0.0123, egress=7e8, first_download=88)
    for one in (profile, profile.with_upload_ratio(3.3), changed):
        check_equal(one, 60)


@pytest.mark.parametrize(
    ("text", "size"),
    [(ROWS.replace("LAW", "rows"), 60), (ROWS.replace("LAW", "table"), 2), (TRACES, 60)],
    ids=["rows", "table", "traces"],
)
def test_rows_and_traces_need_no_file(tmp_path: Path, text: str, size: int):
    profile = write(tmp_path, text)
    for one in (profile, profile.with_changes("rtt", rtt=0.5), profile.with_upload_ratio(8)):
        check_equal(one, size)


def test_a_text_of_another_network_is_another_network(tmp_path: Path):
    profile = write(tmp_path, ROWS.replace("LAW", "rows"))
    text = profile_text(profile).replace("333333.333", "333333.334")
    assert profile_of_text(text, "text").settings() != profile.settings()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{", "[", "text holds no network profile"),
        ('"traces"', '"lines"', "text holds no network profile"),
        ('"traces": {', '"traces": 3, "x": {', "text holds no network profile"),
        (
            '"loss": 0.013',
            '"loss": 0.7',
            "clients.0.loss: Input should be less than",
        ),
        ('"median": 0.05', '"median": -0.05', "duration '-0.05"),
        ('"loss"', '"lost"', "text: clients.0.lost: unknown key"),
        (
            "rates.csv, repeat",
            "rates.csv, hold",
            "clients.0.down_trace: no values of a trace",
        ),
        ('"length_s": 3.7', '"length_s": 1', "a trace's times must be finite and ascend"),
        ('"length_s": 3.7', '"length_s": "long"', "no values of a trace"),
    ],
)
def test_a_text_that_is_none_is_refused_in_one_line(tmp_path: Path, old: str, new: str, says: str):
    text = profile_text(write(tmp_path, TRACES))
    assert old in text
    with pytest.raises(ProfileError) as error:
        profile_of_text(text.replace(old, new, 1), "text")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_rows_that_are_none_are_refused(tmp_path: Path):
    kept = json.loads(profile_text(write(tmp_path, ROWS.replace("LAW", "rows"))))
    kept["rows"] = kept["rows"].replace("12345678.9", "-1")
    with pytest.raises(ProfileError, match=r"rows\.csv, line 2: down_bits_per_s '-1'"):
        profile_of_text(json.dumps(kept), "text")
    del kept["rows"]
    with pytest.raises(ProfileError, match=r"rows\.csv lacks column"):
        profile_of_text(json.dumps(kept), "text")


@pytest.mark.parametrize("text", [TRACES, ROWS.replace("LAW", "rows")])
def test_an_absolute_path_of_a_file_is_not_kept(text: str, tmp_path: Path):
    for name in ("rows.csv", "rates.csv", "sent.txt"):
        text = text.replace(f'"{name}"', f'"{tmp_path / name}"')
    made = write(tmp_path, text)
    kept = profile_text(made)
    assert str(tmp_path) not in kept
    again = profile_of_text(kept, "a text")
    assert again.settings() == made.settings()
    assert [again.links(9)[n] for n in range(9)] == [made.links(9)[n] for n in range(9)]
