"""Report on a fit: figures side by side, distances, and a verdict that follows from them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_speed_tests import (
    drawn,
    made,
    narrow_lognormal,
    three_kinds,
    wide_lognormal,
    with_absurd,
)

from floss_sim.network.measured.fit_figures import ROUNDS
from floss_sim.network.measured.fit_report import MOST_SLOW_TESTS, quantity_text, report
from floss_sim.network.measured.fitting import LAWS, fit_classes, fit_law, fit_lognormal, fit_rows


def test_the_report_puts_percentiles_of_data_and_fit_side_by_side():
    tests = made(np.arange(1, 101), left_out=3, filtered=7)
    found = report(fit_classes(tests, 4))
    assert (found["rows_used"], found["rows_left_out"], found["rows_filtered"]) == (100, 3, 7)
    down = found["percentiles"]["down_bits_per_s"]
    assert down["data"] == pytest.approx(
        {"1": 1.5e6, "5": 5.5e6, "50": 50.5e6, "95": 95.5e6, "99": 99.5e6}
    )
    assert down["fit"] == pytest.approx(
        {"1": 13e6, "5": 13e6, "50": 50.5e6, "95": 88e6, "99": 88e6}
    )
    ratio = found["percentiles"]["down_up_ratio"]
    assert ratio["data"] == pytest.approx(dict.fromkeys(("1", "5", "50", "95", "99"), 10))
    assert found["rank_correlation"] == pytest.approx({"data": 1, "fit": 1})
    assert [each["down_bits_per_s"] for each in found["classes"]] == [13e6, 38e6, 63e6, 88e6]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("classes", [1, 2, 4, 10])
def test_the_distances_are_never_below_half_a_class(classes: int):
    found = report(fit_classes(drawn(), classes))
    assert found["ks_down"] == pytest.approx(1 / (2 * classes), abs=0.02)
    assert found["ks_up"] >= 1 / (2 * classes) - 1e-9


def test_more_classes_lose_less():
    losses = [report(fit_classes(drawn(), classes))["ks_down"] for classes in (1, 2, 4, 8, 16)]
    assert losses == sorted(losses, reverse=True)


def test_rows_are_the_data_and_lose_nothing():
    found = report(fit_rows(drawn()))
    assert (found["law"], found["classes"]) == ("rows", [])
    assert found["ks_down"] == pytest.approx(0, abs=1e-12)
    assert found["ks_up"] == pytest.approx(0, abs=1e-12)
    for values in found["percentiles"].values():
        assert values["fit"] == values["data"]
    assert found["rank_correlation"]["fit"] == pytest.approx(found["rank_correlation"]["data"])
    assert found["largest_deviation"]["relative"] == 0
    assert found["verdict"] == "The law is rows, the tests themselves."


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("tests", [wide_lognormal(200), narrow_lognormal(400)])
def test_deviations_follow_from_the_figures(tests, law: str):
    found = report(fit_law(tests, law))
    largest = 0.0
    for quantity, deviation in found["largest_deviations"].items():
        values = found["percentiles"][quantity]
        ratios = {p: values["fit"][p] / values["data"][p] for p in values["data"]}
        ratio = ratios[str(deviation["percent"])]
        assert deviation["relative"] == pytest.approx(ratio - 1)
        assert abs(np.log(ratio)) == max(abs(np.log(each)) for each in ratios.values())
        largest = max(largest, abs(np.log(ratio)))
    assert abs(np.log1p(found["largest_deviation"]["relative"])) == pytest.approx(largest)
    within = all(abs(d["relative"]) <= 0.1 for d in found["largest_deviations"].values())
    assert found["is_acceptable"] is within
    assert found["verdict"].startswith("The fit is bad") is not within


def test_a_bad_fit_is_called_so_with_its_worst_figure_and_a_way_out():
    tests = made(np.repeat([1.0, 100.0], [1, 99]))
    found = report(fit_classes(tests, 4))
    worst = found["largest_deviation"]
    seconds = found["percentiles"][worst["quantity"]]
    assert worst["quantity"].startswith("round_")
    assert found["verdict"] == (
        "The fit is bad: 4 classes cannot keep all figures within 10 %; the largest deviation is "
        "-99 % (round of 5 clients, 5 MB, 99 %: 4.43 s instead of 7.33 min). "
        "Give --law rows, or no --law and no --classes."
    )
    assert seconds["data"]["99"] == pytest.approx(40 + 400 + 0.03)


def test_a_chosen_law_is_called_the_simplest():
    two = made(np.repeat([10.0, 100.0], 20))
    assert report(fit_law(two))["verdict"].startswith(
        "The law is 2 classes, the simplest law that keeps all figures within 10 %; the largest"
    )
    assert report(fit_law(narrow_lognormal()))["verdict"].startswith("The law is a lognormal law,")
    assert report(fit_law(wide_lognormal()))["verdict"] == (
        "The law is rows, the tests themselves: neither classes nor lognormal laws keep all "
        "figures within 10 %."
    )
    assert report(fit_law(three_kinds()))["verdict"].startswith(
        "The law is 3 classes with a spread,"
    )
    assert " and keeps all" in report(fit_lognormal(narrow_lognormal()))["verdict"]


def test_slow_tests_are_counted_and_at_most_a_hundred_are_listed():
    found = report(fit_rows(with_absurd(4000, absurd=150)))["slow_tests"]
    assert found["count"] == 150
    assert len(found["tests"]) == MOST_SLOW_TESTS
    assert found["weight"] == pytest.approx(150 / 4000)
    name = ROUNDS[-1].name
    parts = [each["parts"][name]["rounds"] for each in found["tests"]]
    assert sum(parts) < found["parts"][name]["rounds"] == pytest.approx(1 - 0.9625**50)
    assert found["expected_without_s"][name] < found["expected_s"][name]


def test_quantities_have_names():
    names = [quantity_text(name) for name in report(fit_rows(drawn(30)))["largest_deviations"]]
    assert names[:3] == ["download", "upload", "round trip"]
    assert names[3:] == [
        "round of 5 clients, 50 kB", "round of 5 clients, 5 MB", "round of 50 clients, 50 kB",
        "round of 50 clients, 5 MB",
    ]  # fmt: skip
