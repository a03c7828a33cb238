"""What is drawn, read back from matplotlib's objects."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import made_speed_tests
import numpy as np
import pandas as pd
import pytest
from made_runs import make_run, one_time
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from floss_sim import load_profile
from floss_sim.analysis.comparison import compare
from floss_sim.analysis.crossover import Crossover, Sweep
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.analysis.what_if import replay_comparison, scenarios
from floss_sim.network.measured.fitting import fit_classes, fit_law
from floss_sim.plots.accuracy import comparison_frame, draw_comparison
from floss_sim.plots.network_fit import draw_fit, fit_frame
from floss_sim.plots.replayed_runs import (
    crossover_frame,
    draw_crossovers,
    draw_replay,
    replay_frame,
)
from floss_sim.plots.wire_sizes import draw_formats, formats_frame
from floss_sim.wire.size_table import layout_of, survey


def frame(
    ends: dict[str, float], x: str = "total_bytes", seeds: int = 3, points: int = 4
) -> pd.DataFrame:
    """Return straight curves from a quarter of each end to the end."""
    rows = [
        {
            "label": label, "seeds": seeds, "round": i, "closed_at_s": 1.0, "total_bytes": 1.0,
            "accuracy": 0.5 + i / 100, "lowest": 0.5, "highest": 0.75, "low_s": 1.0, "high_s": 1.0,
            x: end * i / points,
        }
        for label, end in ends.items()
        for i in range(1, points + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_frame_has_a_row_for_each_point(tmp_path: Path):
    low, high = [(0.5, 10, 2, 1.0)], [(0.75, 10, 4, 2.0)]
    runs = [make_run(tmp_path / "0", low), make_run(tmp_path / "1", high, seed=1)]
    runs.append(make_run(tmp_path / "2", high, rank=8))
    made = comparison_frame(compare(runs).configurations)
    assert made["label"].tolist() == ["floss r4", "floss r8"]
    assert made["seeds"].tolist() == [2, 1]
    assert made["total_bytes"].tolist() == [13.0, 14.0]
    assert made["lowest"].tolist() == [0.5, 0.75]


def test_lines_and_bands_are_the_data_in_percent_and_the_unit_of_the_axis():
    figure = draw_comparison(frame({"a": 4e6, "b": 8e6}), "total_bytes", "digits")
    (axes,) = figure.axes
    first, second = axes.lines
    assert first.get_xdata().tolist() == pytest.approx([1, 2, 3, 4])
    assert second.get_xdata().tolist() == pytest.approx([2, 4, 6, 8])
    assert first.get_ydata().tolist() == pytest.approx([51, 52, 53, 54])
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((50, 75))
    assert (band[:, 0].min(), band[:, 0].max()) == pytest.approx((1, 4))
    assert len(axes.collections) == 2
    assert axes.get_xlabel() == "bytes of all clients, both directions (MB)"
    assert axes.get_xscale() == "linear"
    assert axes.get_xlim()[0] == 0
    assert axes.get_title() == "digits: mean of 3 seeds, band from the lowest to the highest"
    assert legend(figure) == ["a", "b"]


@pytest.mark.parametrize(
    ("x", "end", "label"),
    [
        ("round", 200, "round"),
        ("closed_at_s", 0.5, "simulated time (ms)"),
        ("closed_at_s", 1.0, "simulated time (s)"),
        ("closed_at_s", 7200, "simulated time (h)"),
        ("total_bytes", 999, "bytes of all clients, both directions (B)"),
        ("total_bytes", 5e12, "bytes of all clients, both directions (TB)"),
    ],
)
def test_the_unit_follows_the_largest_value(x: str, end: float, label: str):
    (axes,) = draw_comparison(frame({"a": end}, x), x, "digits").axes
    assert axes.get_xlabel() == label
    assert axes.get_xlim()[1] >= axes.lines[0].get_xdata().max()


def test_one_seed_has_no_band():
    figure = draw_comparison(frame({"a": 1.0}, seeds=1), "total_bytes", "digits")
    assert len(figure.axes[0].collections) == 0
    assert figure.axes[0].get_title() == "digits: one seed each"


def test_a_time_axis_has_the_interval_over_fleets_at_the_end():
    curves = frame({"a": 4.0}, "closed_at_s", seeds=1)
    wide = curves.assign(low_s=0.5 * curves["closed_at_s"], high_s=2 * curves["closed_at_s"])
    (axes,) = draw_comparison(wide, "closed_at_s", "digits").axes
    (bar,) = axes.collections
    assert bar.get_segments()[0].ravel().tolist() == pytest.approx([2, 54, 8, 54])
    assert axes.get_xlim()[1] >= 8
    assert axes.get_xlabel() == (
        "simulated time (s), median over fleets, bar from 5 to 95 % at the end"
    )
    (plain,) = draw_comparison(wide, "round", "digits").axes
    assert not plain.collections


def test_the_title_counts_the_seeds():
    both = pd.concat([frame({"a": 1.0}, seeds=1), frame({"b": 1.0}, seeds=5)])
    title = draw_comparison(both, "total_bytes", "digits").axes[0].get_title()
    assert "mean of 1 to 5 seeds" in title


def test_far_apart_ends_make_the_axis_logarithmic():
    near = draw_comparison(frame({"a": 1e6, "b": 8e6}), "total_bytes", "digits").axes[0]
    far = draw_comparison(frame({"a": 1e6, "b": 9e6}), "total_bytes", "digits").axes[0]
    assert near.get_xscale() == "linear"
    assert far.get_xscale() == "log"
    assert far.get_xlabel().endswith("(MB), logarithmic")


def test_marks_of_target_and_limit_stand_at_their_values():
    figure = draw_comparison(frame({"a": 4e6}), "total_bytes", "digits", target=0.9, at=3e6)
    _, across, upright = figure.axes[0].lines
    assert np.unique(across.get_ydata()) == pytest.approx([90])
    assert np.unique(upright.get_xdata()) == pytest.approx([3])
    assert legend(figure) == ["a"]


def test_a_hundred_configurations_look_different_and_neighbours_in_every_way():
    figure = draw_comparison(frame({f"m{i}": 1.0 for i in range(100)}), "total_bytes", "digits")
    looks = [
        (to_hex(line.get_color()), str(line._unscaled_dash_pattern), line.get_marker())
        for line in figure.axes[0].lines
    ]
    assert len(set(looks)) == 100
    for one, next_one in pairwise(looks):
        assert all(a != b for a, b in zip(one, next_one, strict=True))


@pytest.mark.parametrize("lines", [2, 12, 30])
def test_the_legend_covers_no_axes_and_fits_the_figure(lines: int):
    ends = {f"floss-tiers r{i} down 1/4 up 1/16 per-tensor int8": 1.0 for i in range(lines)}
    figure = draw_comparison(frame(ends), "total_bytes", "digits")
    figure.draw_without_rendering()  # lays it out
    box, axes = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
    assert box.x0 > axes.x1
    assert box.y0 >= 0
    assert [text.replace("\n", " ") for text in legend(figure)] == list(ends)


def test_a_fit_is_drawn_as_two_distributions_of_each_quantity():
    down = np.arange(1.0, 41.0)
    tests = made_speed_tests.made(down, up=down[::-1] / 10, rtt=np.full(40, 1000.0))
    fit = fit_classes(tests, 4)
    made = fit_frame(fit)
    sizes = made.groupby(["kind", "quantity"], sort=False).size()
    assert sizes.to_dict() == {
        ("tests", "down"): 40, ("tests", "up"): 40, ("tests", "rtt"): 1, ("tests", "round"): 40,
        ("fit", "down"): 4, ("fit", "up"): 4, ("fit", "rtt"): 1, ("fit", "round"): 4,
    }  # fmt: skip
    figure = draw_fit(made, fit)
    for axes, title, scale in zip(figure.axes, ("down", "up"), (1, 0.1), strict=False):
        data, classes = axes.lines
        assert axes.get_xlabel().startswith(f"{title}load rate (Mbit/s)")
        assert axes.get_xscale() == "log"
        assert classes.get_drawstyle() == "steps-post"
        assert data.get_xdata()[1:-1] == pytest.approx(np.arange(1, 41) * scale)
        assert data.get_ydata()[1:-1] == pytest.approx(np.arange(1, 41) * 2.5)
        rates = np.array([1, 5.5, 15.5, 25.5, 35.5, 40]) * scale
        assert classes.get_xdata() == pytest.approx(rates)
        assert classes.get_ydata().tolist() == [0, 25, 50, 75, 100, 100]
    rounds = figure.axes[3]
    assert rounds.get_xlabel().startswith("round of 50 clients, 5 MB each way (s)")
    seconds = np.sort(40 / down + 40 / (down[::-1] / 10) + 1)
    assert rounds.lines[0].get_xdata()[1:-1] == pytest.approx(seconds)
    shares = (np.arange(1, 41) / 40) ** 50
    assert rounds.lines[0].get_ydata()[1:-1] == pytest.approx(100 * shares)
    low, high = rounds.get_xlim()
    assert seconds[0] < low < seconds[shares >= 5e-4][0]  # nearly no round is that short
    assert high > seconds[-1]


@pytest.mark.parametrize(
    ("law", "says"),
    [
        ("classes", "fit: 4 classes"),
        ("lognormal", "fit: a lognormal law"),
        ("spread-classes", "fit: 4 classes with a spread"),
        ("rows", "fit: rows, a test drawn for each client"),
    ],
)
def test_the_legend_of_a_fit_names_the_law_that_is_drawn(law: str, says: str):
    fit = fit_law(made_speed_tests.wide_lognormal(2000), law)
    figure = draw_fit(fit_frame(fit), fit)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["the 2,000 speed tests", says]
    assert figure.get_suptitle() == "Network fitted to made.csv"


def replayed(tmp_path: Path, *networks: str) -> pd.DataFrame:
    """Return the frame of two configurations on the network of their record and on others."""
    rows = [(0.5, 10_000, 2000, 0.0), (0.75, 10_000, 2000, 0.0)]
    paper = load_profile("paper-200-20")
    paths = [make_run(tmp_path / str(i), rows, rank=4 * i + 4, on=paper) for i in range(2)]
    profiles = [load_profile(name) for name in networks]
    configurations = replay_comparison(paths, "lte").configurations
    return replay_frame(line for one in configurations for line in scenarios(one, profiles))


def test_a_replay_has_axes_for_each_configuration_and_a_line_for_each_network(tmp_path: Path):
    frame = replayed(tmp_path, "lte")
    figure = draw_replay(frame, "digits", target=0.9)
    assert [axes.get_title() for axes in figure.axes] == ["floss r4", "floss r8"]
    assert legend(figure) == ["paper-200-20 (recorded)", "lte"]
    for axes in figure.axes:
        recorded, lte, mark = axes.lines
        assert recorded.get_ydata().tolist() == [50, 75]
        assert recorded.get_xdata()[-1] == pytest.approx(16e3 * (7500 / 200e6 + 1500 / 20e6))
        assert recorded.get_color() != lte.get_color()
        assert np.unique(mark.get_ydata()) == pytest.approx([90])
        assert axes.get_xscale() == "log"
    assert figure.get_supxlabel().startswith("simulated time (ms), logarithmic")
    assert figure.get_suptitle() == "digits: one seed each"


def test_a_replay_on_one_network_starts_at_zero(tmp_path: Path):
    figure = draw_replay(replayed(tmp_path), "digits")
    assert figure.axes[0].get_xscale() == "linear"
    assert figure.axes[0].get_xlim()[0] == 0
    assert figure.get_supxlabel() == "simulated time (ms)"


def test_crossovers_have_axes_for_each_network_and_a_line_for_each_configuration():
    sweep = Sweep("up", ("1Mbit/s", "2Mbit/s"))
    made = [
        Crossover(
            name,
            sweep,
            0.9,
            ("a", "b", "c"),
            ((one_time(2 * s), one_time(s), None), (one_time(s), one_time(3 * s), None)),
        )
        for name, s in (("near", 1.0), ("far", 20.0))
    ]
    frame = crossover_frame(made)
    assert len(frame) == 8
    figure = draw_crossovers(frame, "digits", "up")
    assert [axes.get_title() for axes in figure.axes] == ["near", "far"]
    assert legend(figure) == ["a", "b"]
    first, second = figure.axes[1].lines
    assert first.get_ydata().tolist() == pytest.approx([40 / 60, 20 / 60])
    assert second.get_xdata().tolist() == [0, 1]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1Mbit/s", "2Mbit/s"]
    assert figure.get_supylabel() == "simulated time to the target (min), logarithmic"


def test_a_sweep_has_a_band_from_5_to_95_percent():
    sweep = Sweep("up", ("1Mbit/s", "2Mbit/s"))
    times = tuple((TimeSpread((s, 2 * s, 3 * s), "simulated"),) for s in (2.0, 1.0))
    figure = draw_crossovers(
        crossover_frame([Crossover("n", sweep, 0.9, ("a",), times)]), "digits", "up"
    )
    (axes,) = figure.axes
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([4, 2])
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((1, 6))
    assert figure.get_suptitle() == "digits\nmedian over fleets, band from 5 to 95 %"


@pytest.mark.parametrize("lines", [1, 4, 7])
def test_every_configuration_has_its_axes_and_no_others_show(lines: int):
    rows = pd.concat([frame({f"m{i}": 1.0}).assign(network="lte") for i in range(lines)])
    figure = draw_replay(rows, "digits")
    figure.draw_without_rendering()
    assert sum(axes.get_visible() for axes in figure.axes) == lines
    box = figure.legends[0].get_window_extent()
    assert box.x0 > max(axes.get_window_extent().x1 for axes in figure.axes)


def test_formats_are_drawn_one_line_each_over_their_floor():
    found = formats_frame(survey(layout_of(5000), [1 / 2, 1 / 256], 0), ["fp32", "sign"])
    assert len(found) == 2 * 6
    figure = draw_formats(found, "made")
    (axes,) = figure.axes
    assert legend(figure) == [
        "floor + fp32 values", "floor + sign values", "framed, fp32", "framed, sign",
        "bitmap + fp32", "32-bit COO + fp32",
    ]  # fmt: skip
    floor, _, framed, *_ = axes.lines
    assert list(framed.get_xdata()) == [1 / 256, 1 / 2]
    assert (floor.get_ydata() < framed.get_ydata()).all()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1/256", "1/2"]
    assert axes.get_ylim() == (0, 128)
    assert axes.get_ylabel().endswith("cut above")
    small = draw_formats(found[found["bits"] < 128], "made")
    assert not small.axes[0].get_ylabel().endswith("cut above")


def test_formats_at_one_density_are_seen():
    figure = draw_formats(formats_frame(survey(layout_of(5000), [1 / 16], 0), ["fp32"]), "made")
    floor, *others = figure.axes[0].lines
    assert all(line.get_marker() not in (None, "None", "") for line in (floor, *others))
    assert floor.get_markersize() > max(line.get_markersize() for line in others)
