from __future__ import annotations

import numpy as np
import pytest

from floss_sim.network.availability import Availability, Presence

DAY_S = 86_400.0
RHYTHM = Availability(on_s=1800, off_s=5400, swing=0.6, peak_hour=20, start_hour=6)


def switches(presence: Presence, client: int, to_s: float) -> list[float]:
    """Return every switch of a client up to an instant, asked one after the other."""
    instants_s = [presence.until(client, 0.0)]
    while instants_s[-1] <= to_s:
        instants_s.append(presence.until(client, instants_s[-1]))
    return instants_s[:-1]


def test_states_alternate_and_a_switch_belongs_to_the_state_that_it_starts():
    presence = Presence(RHYTHM, seed=3)
    instants_s = switches(presence, 7, 3 * DAY_S)
    assert len(instants_s) > 20
    on = presence.is_on(7, 0.0)
    for a_s, b_s in zip([0.0, *instants_s], instants_s, strict=False):
        inside_s = (a_s, (a_s + b_s) / 2, np.nextafter(b_s, 0))
        assert a_s < b_s
        assert [presence.is_on(7, at_s) for at_s in inside_s] == [on] * 3
        assert [presence.until(7, at_s) for at_s in inside_s] == [b_s] * 3
        on = not on


def test_answers_depend_neither_on_the_order_of_clients_nor_on_when_they_are_asked():
    asked = [(client, at_s) for client in range(5) for at_s in np.linspace(0, 2 * DAY_S, 41)]
    plain = Presence(RHYTHM, seed=1)
    expected = {(c, t): (plain.is_on(c, t), plain.until(c, t)) for c, t in asked}
    np.random.default_rng(0).shuffle(asked)
    shuffled = Presence(RHYTHM, seed=1)
    found = {(c, t): (shuffled.is_on(c, t), shuffled.until(c, t)) for c, t in asked}
    assert found == expected
    late = Presence(RHYTHM, seed=1)
    assert late.until(4, 2 * DAY_S) == expected[4, 2 * DAY_S][1]


def test_clients_and_seeds_differ():
    first = Presence(RHYTHM, seed=1)
    instants_s = {first.until(client, 0.0) for client in range(50)}
    instants_s |= {Presence(RHYTHM, seed=2).until(client, 0.0) for client in range(50)}
    assert len(instants_s) == 100


def test_the_rates_at_which_clients_switch():
    assert RHYTHM.switches_per_s(True, 14 * 3600) == pytest.approx(0.4 / 1800)  # 20 o'clock
    assert RHYTHM.switches_per_s(False, 14 * 3600) == pytest.approx(1.6 / 5400)
    assert RHYTHM.switches_per_s(True, 2 * 3600) == pytest.approx(1.6 / 1800)  # 8 o'clock
    assert RHYTHM.switches_per_s(False, 8 * 3600) == pytest.approx(1 / 5400)  # 14 o'clock
    assert RHYTHM.switches_per_s(False, 12345.0 + 9 * DAY_S) == pytest.approx(
        RHYTHM.switches_per_s(False, 12345.0), rel=1e-9
    )
    steady = Availability(on_s=10, off_s=40)
    assert steady.switches_per_s(True, 5e5) == 1 / 10
    assert steady.switches_per_s(False, 5e5) == 1 / 40
