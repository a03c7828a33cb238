"""The clients' own models in tables, pages and pictures of recorded runs, made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import printed
from made_runs import cache_test_metrics, make_run

from floss_sim import RunFolder, load_profile
from floss_sim.analysis.comparison import compare
from floss_sim.plots.accuracy import OWN, comparison_frame, draw_comparison, draw_run
from floss_sim.runs.own_data import OWN_LABEL

ROWS = [(0.5, 10_000, 2000, 1.0), (0.75, 10_000, 2000, 2.0)]
BY_LABELS = {"fleet": {"clients": 2, "law": "dirichlet", "alpha": 0.1}}
LEGEND = f"own: {OWN_LABEL}, on examples weighted by the client's label shares"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seeds of a method whose clients have models of their own, and a run without that."""
    monkeypatch.chdir(tmp_path)
    network = load_profile("lte")
    for seed, end in ((0, 0.875), (1, 0.625)):
        kept = {"seed": seed, "own": {1: 0.5, 2: end}, "test": {2: 0.5}, **BY_LABELS}
        path = make_run(tmp_path / f"runs/own-s{seed}", ROWS, method="feddpa", on=network, **kept)
        cache_test_metrics(RunFolder.read(path), 2, {"accuracy": 0.5, "loss": 1.0, OWN: end - 0.25})
    make_run(tmp_path / "runs/plain", ROWS, rank=8, on=network, **BY_LABELS)
    return tmp_path


def test_compare_tells_them_beside_the_global_model(home: Path, monkeypatch: pytest.MonkeyPatch):
    out = printed(monkeypatch, "floss-sim", "compare", "runs", "--csv", "curves.csv")
    rows = [line.split() for line in out.splitlines()]
    ours, theirs = (next(r for r in rows if r[:1] == [name]) for name in ("feddpa", "floss"))
    assert {"0.750", "0.500"} < set(ours)  # own models on validation and test, of two seeds
    assert theirs[-3:-1] == ["-", "-"]
    assert f"{LEGEND}; -: not measured (floss-sim run --own-accuracy does)" in " ".join(out.split())
    told = json.loads(printed(monkeypatch, "floss-sim", "compare", "runs", "--json"))
    one, other = told["configurations"]
    assert (one["read_at"]["own_accuracy"], one["own_test_accuracy"]) == (0.75, 0.5)
    assert "own_accuracy" not in other["read_at"]
    assert "own_test_accuracy" not in other


def test_a_replay_and_its_page_tell_them(home: Path, monkeypatch: pytest.MonkeyPatch):
    out = printed(monkeypatch, "floss-sim", "replay", "runs", "--network", "lte", "--report")
    words = " ".join(out.split())
    assert LEGEND in words
    assert "0.750 0.750" in words  # the global model, and those of the clients
    (page,) = home.glob("*.html")
    text = page.read_text(encoding="utf-8")
    assert OWN_LABEL.partition("'")[0] in text
    assert ">own</th>" in text


def test_pictures_have_a_line_of_their_own(home: Path):
    frame = comparison_frame(compare(sorted(home.glob("runs/*"))).configurations)
    own = frame[frame["label"].str.startswith("feddpa")]
    assert own[OWN].tolist() == [0.5, 0.75]
    assert frame[OWN].isna().sum() == 2
    axes = draw_comparison(frame, "round", "made").axes[0]
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert 75.0 in [line.get_ydata()[-1] for line in dotted]
    assert OWN_LABEL in axes.get_ylabel()
    curve = RunFolder.read(home / "runs/own-s0").record().evaluated().to_pandas()
    panels = draw_run(curve, "made", "feddpa").axes
    assert [line.get_ydata()[-1] for line in panels[0].lines] == [75.0, 87.5]
    assert OWN_LABEL in [text.get_text() for text in panels[0].get_legend().get_texts()]
