"""What the seed of a profile draws: what the profile says, and what really changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from floss_sim.network import NetworkProfile, load_profile, packaged_profiles

PLAIN = {"share": 0.5, "down": "20 Mbit/s", "up": "5 Mbit/s", "rtt": "10 ms",
         "compute_per_example": "1 ms"}  # fmt: skip
OTHER = PLAIN | {"down": "3 Mbit/s"}
SPREAD = PLAIN | {"up": {"median": "5 Mbit/s", "sigma": 0.5}}
TRACED = PLAIN | {"down": None, "down_trace": {"file": "t.csv"}, "trace_start": "random"}
LAW = {"law": "lognormal", "down": "20 Mbit/s", "up": "5 Mbit/s", "rtt": "10 ms",
       "compute_per_example": "1 ms"}  # fmt: skip
ROWS = {"law": "rows", "file": "rows.csv"}
ON = {"on": "1 h", "off": "1 h"}


@pytest.fixture
def made(tmp_path: Path):
    """Return a function that makes a profile, which may name files of rows and of a trace."""
    columns = "down_bits_per_s,up_bits_per_s,rtt_s,compute_s_per_example"
    (tmp_path / "rows.csv").write_text(f"{columns}\n1e6,1e6,0,0\n2e6,1e6,0,0\n")
    (tmp_path / "same.csv").write_text(f"{columns}\n1e6,1e6,0,0\n1e6,1e6,0,0\n")
    (tmp_path / "t.csv").write_text("seconds,Mbit/s\n0,1\n10,3\n")

    def make(*clients: dict[str, Any], **keys: Any) -> NetworkProfile:
        head = {"name": "n", "source": "s", "date": "d", "clients": clients}
        return NetworkProfile.model_validate(head | keys, context={"folder": tmp_path})

    return make


def seed_changes_links(profile: NetworkProfile, clients: int = 40) -> bool:
    links = profile.links(clients)
    others = (profile.model_copy(update={"seed": seed}).links(clients) for seed in (101, 102))
    return any(list(other) != list(links) for other in others)


@pytest.mark.parametrize(
    ("clients", "keys", "draws"),
    [
        ([PLAIN, PLAIN], {}, ()),
        ([PLAIN, OTHER], {}, ("classes",)),
        ([PLAIN, OTHER], {"class_order": "by-number"}, ()),
        ([SPREAD, SPREAD], {}, ("links",)),
        ([SPREAD, OTHER], {}, ("classes", "links")),
        ([SPREAD, OTHER], {"class_order": "by-number"}, ("links",)),
        ([SPREAD, SPREAD | {"correlation": 0.5}], {}, ("classes", "links")),
        ([TRACED, TRACED], {}, ("trace starts",)),
        ([TRACED, PLAIN], {}, ("classes", "trace starts")),
        ([TRACED | {"trace_start": "same"}, PLAIN], {}, ("classes",)),
        ([PLAIN | {"trace_start": "random"}] * 2, {}, ()),
        ([], {"fleet": LAW}, ()),
        ([], {"fleet": LAW | {"rtt": {"median": "10 ms", "sigma": 0.1}}}, ("links",)),
        ([], {"fleet": ROWS}, ("links",)),
        ([], {"fleet": ROWS | {"file": "same.csv"}}, ()),
        ([], {"fleet": ROWS | {"law": "table"}}, ()),
    ],
)
def test_a_profile_says_which_of_its_links_the_seed_draws(made, clients, keys, draws):
    profile = made(*clients, **keys)
    assert profile.draws == draws
    size = 2 if profile.fleet and profile.fleet.law == "table" else 40
    assert seed_changes_links(profile, size) is bool(draws)


def test_jitter_dropout_and_availability_are_drawn_too(made):
    late = PLAIN | {"jitter": "1 ms", "dropout": 0.1}
    assert made(late, late, availability=ON).draws == ("jitter", "dropout", "availability")
    assert made(fleet=LAW | {"jitter": "1 ms"}).draws == ("jitter",)


@pytest.mark.parametrize(
    ("changes", "draws"),
    [
        ({"down": 1e6}, ("links",)),
        ({"up": 1e6}, ("classes",)),
        ({"upload_ratio": 4}, ("classes",)),
        ({"down": 1e6, "up": 1e6}, ()),
        ({"rtt": 0.1}, ("classes", "links")),
    ],
)
def test_a_change_to_every_link_takes_away_what_it_sets(made, changes, draws):
    profile = made(SPREAD, SPREAD | {"down": "3 Mbit/s"}).with_changes("x", **changes)
    assert profile.draws == draws
    assert seed_changes_links(profile) is bool(draws)


@pytest.mark.parametrize("name", packaged_profiles())
def test_every_packaged_network_draws_what_it_says(name: str):
    profile = load_profile(name)
    assert seed_changes_links(profile) is bool(profile.draws)
    assert (profile.draws == ()) is (name in ("paper-200-20", "phone-wifi"))
