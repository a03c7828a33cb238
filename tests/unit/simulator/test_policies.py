"""Round policies: who is aggregated, who is late, who is busy; with links chosen by hand.

Payloads take 8 * 1000 bits down and 8 * 100 bits up; at R bit/s a client with R = 8000 takes 1 s
down and 0.1 s up, without delay and compute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from stand_in_learners import FakeLearner

from floss_sim import load_profile
from floss_sim.errors import ConfigError
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.profile import AvailabilitySection
from floss_sim.protocol import Arrival, ClientState, Dispatch, Upload
from floss_sim.protocol.sampling import order_of_clients
from floss_sim.simulator import (
    RoundOutcome,
    RoundPolicy,
    buffered,
    deadline,
    first_k,
    parse_policy,
    simulate,
    wait_all,
)


class Recorder(FakeLearner):
    """Remembers every arrival, by round."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: list[list[Arrival]] = []

    def aggregate(self, arrivals: Sequence[Arrival]) -> int:
        self.arrivals.append(list(arrivals))
        return super().aggregate(arrivals)


def links(*seconds: float, **flaws: float) -> list[ClientLink]:
    """Return links on which a download takes so many seconds, and an upload a tenth."""
    return [ClientLink(8000 / s, 8000 / s, 0, 0, **flaws) for s in seconds]


def play(
    fleet: Sequence[ClientLink],
    policy: RoundPolicy,
    rounds: int,
    cohort: int,
    profile: NetworkProfile | None = None,
) -> tuple[Recorder, list[RoundOutcome]]:
    learner = Recorder()
    outcomes = simulate(
        learner, profile or load_profile("paper-200-20"), fleet, policy,
        lambda r, attempt: range(len(fleet)), cohort, rounds,
    )  # fmt: skip
    return learner, list(outcomes)


def fates(outcome: RoundOutcome) -> dict[int, str]:
    return {t.client: t.fate for t in outcome.transfers}


def test_the_learner_hears_of_every_dispatch_that_is_over_and_of_no_other():
    """The cancelled one too; what is still under way in a buffered round is not over."""
    learner, _ = play(links(1, 3, 2, 4), first_k(2), 2, 4)
    assert sorted(learner.forgotten) == list(range(8))
    learner, outcomes = play(links(1, 30, 2, 40), buffered(2), 2, 4)
    under_way = {dispatch.sequence for dispatch in outcomes[-1].in_flight}
    sent = sum(call == "dispatch" for call, _ in learner.calls)
    assert under_way
    assert sorted(learner.forgotten) == sorted(set(range(sent)) - under_way)


class Keeper(FakeLearner):
    """Its clients keep whether their upload arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, dict] = {}

    def train(self, dispatch: Dispatch, client_state: ClientState) -> Upload:
        made = super().train(dispatch, client_state)
        arrived, lost = np.ones(1, np.float32), np.zeros(1, np.float32)
        return made._replace(client_state={"own": arrived}, lost_state={"own": lost})

    def forget(self, dispatch: Dispatch, kept: ClientState) -> None:
        self.kept[dispatch.client] = {name: row.item() for name, row in kept.items()}


def test_a_client_that_is_stopped_before_its_training_ends_keeps_what_it_had():
    learner = Keeper()
    fleet = [
        ClientLink(8000, 8000, 0, 0),  # aggregated
        ClientLink(8000, 8000, 0, 10),  # stopped while it trains
        ClientLink(8000, 80, 0, 0),  # stopped while it uploads
        ClientLink(80, 8000, 0, 0),  # stopped while it downloads
    ]
    paper = load_profile("paper-200-20")
    (outcome,) = simulate(learner, paper, fleet, first_k(1), lambda r, attempt: range(4), 4, 1)
    assert fates(outcome) == {0: "aggregated", 1: "cancelled", 2: "cancelled", 3: "cancelled"}
    assert learner.kept == {0: {"own": 1}, 1: {}, 2: {"own": 0}, 3: {}}
    assert sorted(outcome.client_states) == [0, 2]


# first k


def test_the_first_k_reports_close_a_round_and_the_others_are_cancelled():
    learner, (outcome,) = play(links(1, 3, 2, 4), first_k(2), 1, 4)
    assert learner.aggregated == [(0, 2)]
    assert outcome.closed_at_s == pytest.approx(2.2)
    assert fates(outcome) == {0: "aggregated", 1: "cancelled", 2: "aggregated", 3: "cancelled"}
    assert outcome.reports == 2


def test_what_a_cancelled_client_has_received_is_spent_and_counted_as_wasted():
    _, (outcome,) = play(links(1, 3, 2, 4), first_k(2), 1, 4)
    sent = {t.client: t.sent_bytes for t in outcome.transfers if t.direction == "down"}
    assert sent == {0: 1000, 1: round(1000 * 2.2 / 3), 2: 1000, 3: round(1000 * 2.2 / 4)}
    assert outcome.wasted_bytes() == sent[1] + sent[3]
    assert outcome.nbytes("down") == sum(sent.values())
    assert outcome.nbytes("up") == 200


def test_reports_of_one_instant_are_taken_in_the_order_of_dispatch():
    for order in ((0, 1, 2), (2, 0, 1)):
        learner = Recorder()
        paper = load_profile("paper-200-20")
        fleet = links(1, 1, 1)
        (outcome,) = simulate(learner, paper, fleet, first_k(2), lambda r, a, o=order: o, 3, 1)
        assert learner.aggregated == [order[:2]]
        assert fates(outcome)[order[2]] == "late"


def test_a_cancelled_client_is_free_in_the_next_round_and_a_finishing_one_is_busy():
    fleet = links(1, 9.5, 1, 1, 1)
    cancelled, _ = play(fleet, first_k(1), 2, 2)
    assert [client for call, client in cancelled.calls if call == "dispatch"] == [0, 1, 0, 1]
    finishing, outcomes = play(fleet, first_k(1, late="finish"), 12, 2)
    sent = [client for call, client in finishing.calls if call == "dispatch"]
    assert sent[:8] == [0, 1, 0, 2, 0, 2, 0, 2]  # of two that finish together, the first counts
    late = [o.round for o in outcomes if fates(o).get(1) == "late"]
    assert late == [10]  # 1.1 s a round; client 1 is done after 10.45 s
    assert 1 in sent[20:]


def test_a_finishing_transfer_contends_with_the_next_round():
    shared = load_profile("paper-200-20").with_changes("one pipe", egress=8000.0)
    fleet = links(1, 4, 1)
    alone, _ = play(fleet, first_k(1), 2, 2, shared)
    contended, after = play(fleet, first_k(1, late="finish"), 2, 2, shared)
    _, free = play(fleet, first_k(1), 2, 2, shared)
    assert alone.aggregated == contended.aggregated == [(0,), (0,)]
    assert after[0].closed_at_s == free[0].closed_at_s
    assert after[1].closed_at_s > free[1].closed_at_s + 0.1


# deadline


def test_a_deadline_closes_a_round_with_what_has_arrived():
    learner, (outcome,) = play(links(1, 3, 2, 4), deadline(2.5), 1, 4)
    assert learner.aggregated == [(0, 2)]
    assert outcome.closed_at_s == 2.5


def test_a_round_closes_before_its_deadline_when_all_have_reported():
    learner, (outcome,) = play(links(1, 3), deadline(60), 1, 2)
    assert learner.aggregated == [(0, 1)]
    assert outcome.closed_at_s == pytest.approx(3.3)


def test_a_deadline_waits_for_its_minimum():
    learner, (outcome,) = play(links(1, 3, 2, 4), deadline(0.5, minimum=3), 1, 4)
    assert learner.aggregated == [(0, 1, 2)]
    assert outcome.closed_at_s == pytest.approx(3.3)


def test_a_report_at_the_deadline_counts():
    learner, _ = play([ClientLink(8000, 800, 0, 0), *links(9)], deadline(2.0), 1, 2)
    assert learner.aggregated == [(0,)]  # 1 s down and 1 s up


def test_each_rounds_deadline_is_its_own():
    _, outcomes = play(links(1, 9), deadline(2.0), 3, 2)
    assert [o.closed_at_s for o in outcomes] == [2.0, 4.0, 6.0]


# buffered


def test_buffered_rounds_take_k_reports_and_replace_whoever_reports():
    learner, outcomes = play(links(1, 10, 1, 1), buffered(2), 3, 2)
    assert learner.aggregated == [(0, 2), (0, 2), (0, 2)]
    assert outcomes[0].closed_at_s == pytest.approx(2.2)  # 0, then 2, one after the other
    dispatched = [client for call, client in learner.calls if call == "dispatch"]
    assert dispatched[:4] == [0, 1, 2, 0]


def test_an_asynchronous_client_trains_from_the_version_that_it_downloaded():
    learner, outcomes = play(links(1, 4.5, 1, 1), buffered(1), 5, 2)
    (slow,) = [a for taken in learner.arrivals for a in taken if a.upload.client == 1]
    assert slow.dispatch.version == 0
    assert slow.staleness == 4  # four versions of the others were made meanwhile
    assert slow.weight == pytest.approx(1 / math.sqrt(5))
    assert [o.version for o in outcomes] == [1, 2, 3, 4, 5]
    fresh = [a for taken in learner.arrivals for a in taken if a.upload.client != 1]
    assert all(a.weight == (1 + a.staleness) ** -0.5 for a in fresh)
    assert {a.staleness for a in fresh} <= {0, 1}


def test_what_is_in_flight_at_the_end_of_a_round_is_named():
    _, outcomes = play(links(1, 4, 1, 1), buffered(1), 2, 2)
    assert [d.client for d in outcomes[0].in_flight] == [1]
    assert wait_all() == RoundPolicy("wait-all")
    assert play(links(1, 4), wait_all(), 1, 2)[1][0].in_flight == ()


# clients that are lost or away


def with_presence(on: float, off: float) -> NetworkProfile:
    section = AvailabilitySection.model_validate({"on": f"{on} s", "off": f"{off} s"})
    return load_profile("paper-200-20").model_copy(update={"availability": section})


def test_a_client_that_drops_out_wastes_its_download_and_the_round_goes_on():
    fleet = [*links(1, dropout=0.999999), *links(2)]
    learner, (outcome,) = play(fleet, wait_all(), 1, 2)
    assert learner.aggregated == [(1,)]
    assert fates(outcome) == {0: "dropped", 1: "aggregated"}
    assert outcome.wasted_bytes() == 1000
    assert ("train", 0) not in learner.calls


def test_where_all_drop_out_the_server_begins_anew():
    fleet = links(*[1] * 40, dropout=0.9)
    learner, outcomes = play(fleet, wait_all(), 5, 2)
    assert all(1 <= len(taken) <= 2 for taken in learner.arrivals)
    assert any(o.closed_at_s - o.opened_at_s > 3 for o in outcomes)
    drops = [t for o in outcomes for t in o.transfers if t.fate == "dropped"]
    share = len(drops) / (len(drops) + sum(map(len, learner.arrivals)))
    assert 0.75 < share < 0.99


@pytest.mark.parametrize(("policy", "least"), [(deadline(30, 4), 4), (first_k(5), 5)])
def test_reports_that_a_policy_needs_are_had_from_others_where_clients_are_lost(policy, least):
    learner, outcomes = play(links(*[1] * 40, dropout=0.6), policy, 12, 5)
    assert all(least <= len(taken) <= 5 for taken in learner.arrivals)
    assert all(o.closed_at_s - o.opened_at_s < 30 for o in outcomes)


def test_where_too_few_clients_are_left_to_ask_a_round_makes_do():
    learner, _ = play([*links(1), *links(1, dropout=0.999999)], deadline(1000, 2), 1, 2)
    assert learner.aggregated == [(0,)]


def test_a_fleet_of_which_nobody_reports_is_an_error():
    with pytest.raises(
        ConfigError, match="after 1000 attempts too few clients were available or reported"
    ):
        play(links(1, 1, dropout=0.9999999), wait_all(), 1, 2)


def test_clients_that_go_off_are_interrupted_and_only_those_on_are_asked():
    fleet = links(*[5] * 60)
    learner, outcomes = play(fleet, wait_all(), 40, 5, with_presence(20, 20))
    all_fates = [t.fate for o in outcomes for t in o.transfers if t.direction == "down"]
    lost = all_fates.count("offline") / len(all_fates)
    # A participation of 5.5 s meets the end of an exponential time on of 20 s.
    assert lost == pytest.approx(1 - math.exp(-5.5 / 20), abs=0.1)
    assert learner.version == 40


def test_runs_repeat_bit_for_bit_whatever_the_policy():
    fleet = links(*[1 + i / 7 for i in range(30)], jitter_s=0.3, dropout=0.2)
    for policy in (wait_all(), first_k(3), deadline(3, 2, "finish"), buffered(2)):
        both = [play(fleet, policy, 10, 5, with_presence(30, 10))[1] for _ in range(2)]
        assert both[0] == both[1]


# settings


@pytest.mark.parametrize(
    ("text", "late", "policy"),
    [
        ("wait-all", None, wait_all()),
        ("first-k:3", None, first_k(3)),
        ("first-k:3", "finish", first_k(3, "finish")),
        ("deadline:30s", "cancel", deadline(30)),
        ("deadline:2min:4", None, deadline(120, 4)),
        ("buffered:7", None, buffered(7)),
    ],
)
def test_policies_are_read(text: str, late: str | None, policy: RoundPolicy):
    assert parse_policy(text, late) == policy


@pytest.mark.parametrize(
    ("text", "late", "says"),
    [
        ("soon", None, "cannot read policy 'soon'; valid: wait-all"),
        ("first-k", None, "cannot read policy"),
        ("first-k:x", None, "cannot read policy"),
        ("first-k:3:4", None, "cannot read policy"),
        ("deadline:30", None, "not a number with a unit"),
        ("deadline:0s", None, "above zero"),
        ("wait-all", "finish", "late 'finish' with policy wait-all"),
        ("buffered:3", "cancel", "late 'cancel' with policy buffered"),
        ("first-k:3", "kept", "valid: cancel or finish"),
    ],
)
def test_policies_that_make_no_sense_are_refused(text: str, late: str | None, says: str):
    with pytest.raises(ConfigError) as caught:
        parse_policy(text, late)
    assert says in str(caught.value)


@pytest.mark.parametrize("policy", [first_k(6), first_k(0), deadline(1, 6), buffered(-1)])
def test_a_policy_that_no_cohort_can_satisfy_is_refused(policy: RoundPolicy):
    with pytest.raises(ConfigError, match="is invalid; valid: 1 to 5, the size of the cohort"):
        policy.checked(5)


def test_only_waiting_for_all_leaves_training_to_itself():
    policies = (first_k(3), first_k(3, "finish"), deadline(1), buffered(2))
    assert not wait_all().shapes_training
    assert all(policy.shapes_training for policy in policies)
    settings = [str(policy.settings()) for policy in (wait_all(), *policies)]
    assert len(set(settings)) == 5


def test_clients_are_asked_in_an_order_that_begins_with_the_cohort_and_has_each_once():
    first = list(order_of_clients(3, 7, 0, 50, 5))
    again = list(order_of_clients(3, 7, 1, 50, 5))
    assert sorted(first) == sorted(again) == list(range(50))
    assert first != again
    positions = [list(order_of_clients(s, 1, 1, 20, 5)).index(0) for s in range(400)]
    assert sum(positions) / 400 == pytest.approx(9.5, abs=4 * math.sqrt(399 / 12 / 400))
