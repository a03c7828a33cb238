"""Noise from the operating system: its law, its grid, and that nothing repeats it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from floss_sim import RunConfig, load_task
from floss_sim.errors import ConfigError
from floss_sim.methods import DifferentialPrivacy, Exchange, method_from_name, system_noise
from floss_sim.methods.system_noise import normal_draws, with_system_noise

COUNT = 20_000
ERRORS = 7  # standard errors: a true law misses them once in 4e11 tests


def test_draws_are_normal_and_independent():
    one, other = normal_draws(COUNT), normal_draws(COUNT)
    assert abs(one.mean()) < ERRORS / COUNT**0.5
    assert abs(one.std() - 1) < ERRORS / (2 * COUNT) ** 0.5
    assert abs(np.corrcoef(one, other)[0, 1]) < ERRORS / COUNT**0.5
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < ERRORS / COUNT**0.5
    assert kstest(one, "norm").pvalue > 1e-11
    assert normal_draws(0).size == 0


@pytest.mark.parametrize("deviation", [0.3, 1.0, 7e-5])
def test_values_are_cut_to_a_grid_and_noise_has_whole_steps(
    deviation: float, monkeypatch: pytest.MonkeyPatch
):
    values_N = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    where_N = np.arange(1000) % 3 > 0
    step = 2.0 ** (math.floor(math.log2(deviation)) - 32)
    noisy_N = with_system_noise(values_N, deviation, where_N)
    assert np.array_equal(noisy_N[~where_N], values_N[~where_N])
    steps = noisy_N[where_N].astype(np.float64) / step
    assert np.array_equal(steps, np.rint(steps))
    noise = (noisy_N - values_N)[where_N].astype(np.float64)
    assert abs(noise.std() / deviation - 1) < ERRORS / (2 * where_N.sum()) ** 0.5
    assert not np.array_equal(with_system_noise(values_N, deviation, where_N), noisy_N)
    monkeypatch.setattr(system_noise, "normal_draws", lambda count: np.full(count, 0.4 / 2**33))
    fine_N = np.float32(step) * np.float32([1.9, -1.9, 0.5, -0.5])
    found_N = with_system_noise(fine_N, deviation, np.ones(4, dtype=bool))
    assert (found_N / step).tolist() == [1, -1, 0, 0]


@pytest.mark.parametrize("trust", ["sum", "server", "local"])
def test_a_method_with_the_systems_noise_has_that_of_its_trust_and_never_the_same_twice(trust):
    privacy = DifferentialPrivacy(2.0, 1.5, trust, source="system")
    config = RunConfig.of(load_task("digits"), method_from_name("dense", privacy=privacy), rank=2)
    exchange = Exchange(config.method, config.layout, 0, cohort=4)
    nothing_N = np.zeros(config.layout.entries, np.float32)
    made = [exchange.upload(nothing_N, 0, 1, 7, None, {}).blob for _ in range(2)]
    sent_N = exchange.decode_upload(made[0], None)
    noisy_N = exchange.with_server_noise(sent_N, 0, 4)
    deviation = {"sum": 3 / 2, "server": 3 / 4, "local": 3.0}[trust]
    found = noisy_N.std() / deviation
    assert abs(found - 1) < ERRORS / (2 * nothing_N.size) ** 0.5
    assert (made[0] == made[1]) == (trust == "server")
    assert config.method.settings()["privacy"]["source"] == "system"
    assert config.method.describe().endswith(f"noise 1.5 by {trust} from the system")


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match="unknown noise 'dice'; valid: seed, system"):
        DifferentialPrivacy(1.0, 1.0, source="dice")
