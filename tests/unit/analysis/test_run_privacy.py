"""Epsilon of runs, against closed forms, other bounds and what a record holds."""

from __future__ import annotations

import math
from dataclasses import replace

import pyarrow.compute as pc
import pytest
from commands import call
from scipy.optimize import brentq
from scipy.stats import norm

from floss_sim import RunConfig, load_profile, load_task, run, size_only
from floss_sim.analysis.privacy_accountant import composed_epsilon, noise_for, sampled_epsilon
from floss_sim.analysis.privacy_of_config import privacy_of_config
from floss_sim.analysis.recorded_privacy import recorded_privacy, told_privacy
from floss_sim.analysis.run_privacy import check_planned, with_epsilon
from floss_sim.errors import ConfigError
from floss_sim.methods import DifferentialPrivacy, method_from_name
from floss_sim.network import NetworkProfile
from floss_sim.records.measured_clock import measured_clock
from floss_sim.runs.size_only_learner import SizeOnlyLearner
from floss_sim.simulator import first_k

dp_accounting = pytest.importorskip("dp_accounting")
DELTA = 1e-5


def delta_of(epsilon: float, mean: float) -> float:
    """Balle and Wang 2018, theorem 5, for a Gaussian whose mean moves by some deviations."""
    below = norm.cdf(mean / 2 - epsilon / mean)
    return below - math.exp(epsilon) * norm.cdf(-mean / 2 - epsilon / mean)


def config_of(privacy: DifferentialPrivacy, name: str = "dense", **options) -> RunConfig:
    method = method_from_name(name, privacy=privacy, **options)
    return RunConfig.of(load_task("digits"), method, rank=1)


@pytest.mark.parametrize("multipliers", [[3.0], [4.0] * 60, [2.0, 5.0, 9.0]])
def test_known_rounds_compose_like_one_gaussian(multipliers: list[float]):
    mean = sum((2 / s) ** 2 for s in multipliers) ** 0.5
    expected = brentq(lambda epsilon: delta_of(epsilon, mean) - DELTA, 0, 100)
    assert composed_epsilon(multipliers, DELTA) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("multiplier", "share"), [(1.0, 0.2), (4.0, 0.01), (2.0, 0.5)])
def test_one_round_of_sampled_clients_has_the_profile_of_its_theorem(multiplier, share: float):
    def excess(epsilon: float) -> float:
        inner = math.log1p(math.expm1(epsilon) / share)
        return share * delta_of(inner, 2 / multiplier) - DELTA

    expected = brentq(excess, 0, 100)
    found = sampled_epsilon(multiplier, share, 1, DELTA)
    assert expected <= found <= 1.01 * expected + 2e-3  # the library rounds up


@pytest.mark.parametrize("multiplier", [2.0, 8.0])
def test_rounds_of_sampled_clients_lie_between_other_bounds(multiplier: float):
    """Above clients drawn one by one and added or removed; below the library's looser bound."""
    drawn = dp_accounting.pld.PLDAccountant()
    event = dp_accounting.GaussianDpEvent(multiplier)
    drawn.compose(dp_accounting.PoissonSampledDpEvent(0.2, event), 60)
    looser = dp_accounting.rdp.RdpAccountant(
        orders=range(2, 64), neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE
    )
    event = dp_accounting.GaussianDpEvent(multiplier / 2)
    looser.compose(dp_accounting.SampledWithoutReplacementDpEvent(50, 10, event), 60)
    found = sampled_epsilon(multiplier, 0.2, 60, DELTA)
    assert drawn.get_epsilon(DELTA) < found < looser.get_epsilon(DELTA)
    assert sampled_epsilon(multiplier, 1.0, 60, DELTA) == composed_epsilon([multiplier] * 60, DELTA)


def test_epsilon_rises_with_rounds_and_share_and_falls_with_noise():
    for values in (
        [sampled_epsilon(4.0, 0.2, rounds, DELTA) for rounds in (0, 1, 10, 60, 61)],
        [sampled_epsilon(4.0, share, 60, DELTA) for share in (0.02, 0.2, 0.9, 1.0)],
        [sampled_epsilon(noise, 0.2, 60, DELTA) for noise in (1e5, 8.0, 1.0, 0.05, 1e-5)],
    ):
        assert values == sorted(set(values))


@pytest.mark.parametrize("trust", ["sum", "local"])
def test_the_noise_for_an_epsilon_is_the_least_one(trust: str):
    planned = privacy_of_config(config_of(DifferentialPrivacy(1.0, 0.0, trust)), 20)
    private = with_epsilon(planned, 8.0)
    assert 7.9 < private.epsilon <= 8.0
    less = replace(private.settings, noise=0.998 * private.settings.noise)
    assert replace(planned, settings=less).epsilon > 8.0


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_epsilon_that_no_noise_has_is_refused(epsilon: float):
    with pytest.raises(ConfigError, match="epsilon"):
        noise_for(epsilon, lambda noise: 1 / noise)
    with pytest.raises(ConfigError, match="no noise multiplier up to 100000"):
        noise_for(1.0, lambda noise: 2.0)
    with pytest.raises(ConfigError, match="no finite epsilon after 3 rounds"):
        check_planned(privacy_of_config(config_of(DifferentialPrivacy(1.0, 1e-7)), 3))


@pytest.mark.parametrize("trust", ["sum", "server", "local"])
def test_a_record_tells_what_was_planned_if_all_clients_report(trust: str, paper: NetworkProfile):
    config = config_of(DifferentialPrivacy(1.0, 4.0, trust))
    planned = privacy_of_config(config, 12)
    recorded = recorded_privacy(size_only(config, paper, rounds=12))
    assert recorded.to_json() == planned.to_json()
    assert (recorded.epsilon == recorded.epsilon_of_known) == (trust == "local")


@pytest.mark.parametrize("trust", ["sum", "server", "local"])
def test_nodes_of_a_deployed_run_know_its_cohorts_and_its_server_sees_uploads(
    trust: str, paper: NetworkProfile
):
    config = config_of(DifferentialPrivacy(1.0, 4.0, trust))
    record = size_only(config, paper, rounds=12)
    deployed = replace(record, description={**record.description, **measured_clock("flwr 1")})
    simulated, found = recorded_privacy(record), recorded_privacy(deployed)
    assert found.epsilon == found.epsilon_of_known == simulated.epsilon_of_known
    assert ("the server is trusted" in found.text) == (trust != "local")
    # An upload that the record lacks may still have reached the server.
    is_upload = pc.equal(record.transfers["direction"], "up")
    lost = replace(deployed, transfers=record.transfers.filter(pc.invert(is_upload)))
    assert recorded_privacy(lost).busiest == (found.busiest if trust == "local" else 0)


def test_missing_clients_take_their_noise_along():
    """Three of five report: the sum has less noise, and fast clients take part more often."""
    config = config_of(DifferentialPrivacy(1.0, 4.0, "sum"))
    learner = SizeOnlyLearner(config.sizes, config.client_examples())
    record = run(config, load_profile("lte"), learner, rounds=12, policy=first_k(3))
    lossy = recorded_privacy(record)
    assert lossy.reports == [3] * 12
    mean = lossy.busiest**0.5 * 2 / (4 * 0.6**0.5)
    expected = brentq(lambda epsilon: delta_of(epsilon, mean) - DELTA, 0, 100)
    assert lossy.epsilon == pytest.approx(expected)
    assert "against all who see versions" in lossy.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dp-noise", "1"], "--dp-noise needs --dp-clip"),
        (["--dp-clip", "1"], "--dp-noise (0: clipping alone) and --dp-epsilon"),
        (["--dp-clip", "1", "--dp-noise", "1", "--dp-epsilon", "8"], "one of --dp-noise"),
        (["--dp-clip", "1", "--dp-noise", "1", "--dp-trust", "me"], "valid: sum, server, local"),
        (["--dp-clip", "0", "--dp-noise", "1"], "clip 0"),
        (
            ["--dp-clip", "1", "--dp-epsilon", "8", "--policy", "first-k:3"],
            "needs rounds that wait for all clients",
        ),
    ],
)
def test_impossible_options_are_refused_in_one_line(options, said: str, monkeypatch, capfd):
    code, _, err = call(monkeypatch, capfd, "floss-sim", "run", "--rounds", "1", *options)
    assert code == 2
    (line,) = err.splitlines()
    assert said in line


def test_a_run_says_what_its_noise_reaches_round_by_round(paper: NetworkProfile):
    record = size_only(config_of(DifferentialPrivacy(1.0, 4.0)), paper, rounds=8)
    told = told_privacy(record, 8, [7, 8])
    assert list(told["epsilon_by_round"]) == [7, 8]
    assert 0 < told["epsilon_by_round"][7] < told["epsilon_by_round"][8] == told["epsilon"]
    assert told["epsilon"] < told["epsilon_of_known_cohorts"]
    assert told["text"].startswith(f"epsilon {told['epsilon']:.3g} at delta 1e-05 after 8 rounds")
    assert told_privacy(size_only(config_of(None), paper, rounds=1), 1, [1]) is None
    bare = told_privacy(size_only(config_of(DifferentialPrivacy(2.0, 0.0)), paper, 1), 1, [1])
    assert (bare["epsilon"], bare["text"][:5]) == (None, "none:")
