"""Golden data: what this version wrote, other versions and machines must still read and repeat.

To write the files anew after an intended change:
    python tests/golden/test_golden.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run, size_only
from floss_sim.training import learner_identity

HERE = Path(__file__).parent


def config() -> RunConfig:
    return RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=2, seed=5)


def sizes() -> dict[str, list]:
    record = size_only(config(), load_profile("lte"), 3)
    return {name: record.rounds[name].to_pylist() for name in ("closed_at_s", "down_bytes")} | {
        "clients": record.transfers["client"].to_pylist()
    }


def trained() -> dict[str, object]:
    chosen = config()
    record = run(chosen, load_profile("lte"), open_learner(chosen, "cpu"), rounds=12, eval_every=4)
    curve = record.evaluated()
    return {
        "environment": chosen.trajectory(learner_identity(chosen))["versions"],
        "loss": curve["loss"].to_pylist(),
        "total_bytes": curve["total_bytes"].to_pylist(),
    }


def golden(name: str) -> dict:
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def test_cohorts_sizes_and_times_are_the_same_on_every_machine():
    found, kept = sizes(), golden("sizes.json")
    assert found["clients"] == kept["clients"]
    assert found["down_bytes"] == kept["down_bytes"]
    assert found["closed_at_s"] == pytest.approx(kept["closed_at_s"], rel=1e-12)


def test_a_trained_run_repeats_its_golden_curve():
    kept = golden("trained.json")
    found = trained()
    if found["environment"] != kept["environment"]:
        pytest.skip(f"golden curve was made with {kept['environment']}")
    # Processors differ in the last bits; near ties of the top-k then differ in a few entries.
    assert found["loss"] == pytest.approx(kept["loss"], rel=2e-2)
    assert found["total_bytes"] == pytest.approx(kept["total_bytes"], rel=1e-2)


def write() -> None:
    """Write all golden files but those of the messages (``test_golden_messages.py``)."""
    for name, content in (("sizes", sizes()), ("trained", trained())):
        text = json.dumps(content, indent=1) + "\n"
        (HERE / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
