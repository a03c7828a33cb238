"""Real data, where the folder ``shared`` lies beside the repository; no text is ever shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from places import SHARED

from floss_sim.network import load_profile
from floss_sim.network.measured.fit_report import report
from floss_sim.network.measured.fitting import fit_classes, fit_law
from floss_sim.network.measured.speed_tests import ReadOptions, read_speed_tests
from floss_sim.tasks import load_task, partition

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real data at {SHARED}")
STORIES = SHARED / "stories260K-hf"


@needs_shared
def test_twenty_newsgroups_are_split_by_date_without_their_empty_posts():
    changes = {"data.split_column": "split", "data.limit": 500, "preprocess.max_length": 32}
    task = load_task(
        "20newsgroups",
        dataset=str(SHARED / "20news" / "20news-bydate.jsonl.gz"),
        backbone=str(STORIES),
        changes=changes,
    )
    content = task.content
    assert [len(y) for _, y in (content.train, content.validation)] == [500, 1131]
    assert 7532 - 49 <= len(content.test[1]) < 7532
    assert set(content.test[1].tolist()) == set(range(20))
    x, _ = content.train
    assert (x.dtype, x.shape) == (np.int32, (500, 32))
    assert x.max() < 512
    assert (x[:, 0] == json.loads((STORIES / "config.json").read_text())["bos_token_id"]).all()


@needs_shared
def test_chat_messages_are_dealt_by_user():
    changes = {
        "data.input": "text", "data.group": "user", "data.limit": 3000, "data.validation": 100,
        "data.test": 100, "partition.min_examples": 20, "partition.clients": 30,
    }  # fmt: skip
    task = load_task(
        "reddit",
        dataset=str(SHARED / "irc_ubuntu" / "irc_users_min10.jsonl.gz"),
        backbone=str(STORIES),
        changes=changes,
    )
    content, fleet = task.content, task.partition
    assert content.groups is not None
    assert len(content.groups) == len(content.train[0]) <= 3000
    parts = partition(
        content.train[1], fleet.clients, fleet.law, 1.0, 0, content.groups, fleet.min_examples
    )
    assert len(parts) == 30
    assert min(part.size for part in parts) >= 20


@needs_shared
@pytest.mark.parametrize(
    ("network", "down", "up", "ratio"), [("mobile", 46.6, 7.9, 6.0), ("fixed", 130, 23, 3.9)]
)
def test_percentiles_of_speed_tests_are_those_that_the_data_state(network, down, up, ratio):
    tests = read_speed_tests(
        SHARED / "network_traces" / "ookla_tiles.csv.gz", ReadOptions(where=(f"network={network}",))
    )
    found = report(fit_classes(tests, 8))["percentiles"]
    data = [found[name]["data"]["50"] for name in ("down_bits_per_s", "up_bits_per_s")]
    assert data == pytest.approx([down * 1e6, up * 1e6], rel=0.01)
    assert found["down_up_ratio"]["data"]["50"] == pytest.approx(ratio, rel=0.01)
    assert found["down_bits_per_s"]["fit"]["50"] == pytest.approx(down * 1e6, rel=0.02)


@needs_shared
def test_weights_by_device_move_the_fit_of_speed_tests_with_the_data():
    path = SHARED / "network_traces" / "ookla_tiles.csv.gz"
    tests = read_speed_tests(path, ReadOptions(where=("network=mobile",), weight="devices"))
    found = report(fit_classes(tests, 8))
    down = found["percentiles"]["down_bits_per_s"]
    assert down["data"]["50"] > 60e6  # tiles with many devices are faster: unweighted 46.6
    assert down["fit"]["50"] == pytest.approx(down["data"]["50"], rel=0.02)
    assert (found["rows_used"], found["rows_filtered"]) == (32040, 20175)


@needs_shared
@pytest.mark.parametrize(
    ("name", "rat", "percents", "error", "median_error"),
    [("lte", "4G", (1, 5, 50, 95, 99), 0.15, 0.2), ("3g", "3G", (5, 50, 95), 0.25, 0.3)],
)
def test_packaged_mobile_profiles_have_the_spread_of_their_speed_tests(
    name, rat, percents, error, median_error
):
    path = SHARED / "network_traces" / "errant_monroe_speedtests.csv.gz"
    tests = read_speed_tests(path, ReadOptions(where=(f"rat={rat}",))).links
    kept = (tests.down_bits_per_s >= 1e5) & (tests.up_bits_per_s >= 1e5)  # the others stalled
    links = load_profile(name).links(50_000)[:]
    for figure in ("down_bits_per_s", "up_bits_per_s", "rtt_s"):
        data = np.percentile(getattr(tests, figure)[kept], percents)
        drawn = np.percentile([getattr(link, figure) for link in links], percents)
        assert drawn == pytest.approx(data, rel=error), figure
        mean = np.mean([getattr(link, figure) for link in links])
        assert mean == pytest.approx(getattr(tests, figure)[kept].mean(), rel=0.05), figure
    sorted_by_down = np.argsort(tests.down_bits_per_s[kept])
    quarters = np.array_split(sorted_by_down, 4)
    found = np.array_split(np.array(sorted(links, key=lambda link: link.down_bits_per_s)), 4)
    for rows, part in zip(quarters, found, strict=True):  # the figures of the quarters stay
        for figure in ("down_bits_per_s", "up_bits_per_s", "rtt_s"):
            median = np.median(getattr(tests, figure)[kept][rows])
            drawn_median = np.median([getattr(link, figure) for link in part])
            assert drawn_median == pytest.approx(median, rel=median_error), figure


@needs_shared
@pytest.mark.parametrize(
    ("where", "slow_lines"),
    [((), [447, 472, 110, 441, 232]), (("rat=3G",), [232])],
)
def test_the_default_fit_keeps_the_tail_of_mobile_speed_tests(where, slow_lines):
    path = SHARED / "network_traces" / "errant_monroe_speedtests.csv.gz"
    tests = read_speed_tests(path, ReadOptions(where=where))
    found, classes = (report(fit_law(tests, law)) for law in (None, "classes"))
    assert (found["law"], found["is_acceptable"], classes["is_acceptable"]) == ("rows", True, False)
    assert [each["line"] for each in found["slow_tests"]["tests"]] == slow_lines
    name = "round_50_clients_5000000_bytes_s"
    rounds = classes["percentiles"][name]
    assert rounds["fit"]["50"] < rounds["data"]["50"] / 6  # what four classes lose
