"""Golden fingerprints: a stored run or plan of an earlier version is found again by this one.

Versions of installed packages and of this code's training are ingredients of a trajectory. They are
set to fixed values here: an update of a package is no change of a fingerprint's making.

To write the file anew after an intended change:
    python tests/golden/test_golden_fingerprints.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from floss_sim import RunConfig, load_profile, load_task
from floss_sim.fingerprints import fingerprint
from floss_sim.methods import method_from_name
from floss_sim.network import NetworkProfile, packaged_profiles
from floss_sim.protocol import LearnerIdentity
from floss_sim.runs.conditions import conditions, timing_of
from floss_sim.simulator import buffered, deadline, first_k, wait_all
from planner.question.origin import Origin

FILE = Path(__file__).parent / "fingerprints.json"
EARLIER = {"data.split": "random", "data.split_seed": 0}  # the split of digits in earlier versions
METHODS: dict[str, dict[str, Any]] = {
    "dense": {},
    "floss": {"down_density": 1 / 4, "up_density": 1 / 16},
    "floss-tiers": {},
    "sparse-adapter": {"scope": "tensor"},
    "adapter-lth": {"mask_ledger": True},
    "hetlora": {"divisor": "covering"},
    "ffa": {"up_density": 1 / 4, "error_feedback": True},
    "bitfit": {},
    "full": {"up_density": 1 / 64, "up_values": "int8"},
    "head": {"pick": "random", "up_density": 1 / 2},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "epochs": {"client": {"epochs": 2}},
    "bf16": {"client": {"precision": "bf16"}},
    "cohort": {"server": {"cohort": 8}},
    "iid": {"fleet": {"law": "iid"}},
}
ORIGINS: dict[str, tuple[dict[str, Any], str, float | None]] = {
    "plain": ({}, "paper-200-20", None),
    "ratio": ({}, "paper-200-20", 16),
    "fleet": ({"partition.clients": 20}, "lte", None),
    "targets": ({"lora.targets": "all"}, "5g", 4),
}


def trajectories() -> dict[str, str]:
    task = load_task("digits", changes=EARLIER)

    def mark(config: RunConfig, learner: str, network: dict[str, Any] | None = None) -> str:
        found = config.trajectory(LearnerIdentity(learner)) | (network or {})
        return fingerprint({**found, "versions": {}, "code_schema": 0})

    runs = {
        name: RunConfig.of(task, method_from_name(name, **options), rank=4, seed=3)
        for name, options in METHODS.items()
    }
    floss = runs["floss"]
    marks = {name: mark(config, "torch-bank-32") for name, config in runs.items()}
    marks |= {
        name: mark(floss.with_(**change), "torch-sequential") for name, change in SETTINGS.items()
    }
    late = conditions(load_profile("lte"), first_k(3))
    marks["first-k"] = mark(floss, "torch-bank-32", late)
    own = RunConfig.of(load_task("digits"), floss.method, rank=4, seed=3)
    return {**marks, "stratified": mark(own, "torch-bank-32")}


def timings() -> dict[str, str]:
    profiles: dict[str, NetworkProfile] = {name: load_profile(name) for name in packaged_profiles()}
    marks = {name: timing_of(profile, wait_all().settings()) for name, profile in profiles.items()}
    ordered = load_profile("broadband").model_copy(update={"class_order": "by-number"})
    marks["broadband by-number"] = timing_of(ordered, wait_all().settings())
    policies = (first_k(3), deadline(10.0), buffered(2))
    return marks | {
        f"lte {policy.name}": timing_of(profiles["lte"], policy.settings()) for policy in policies
    }


def origins() -> dict[str, str]:
    def mark(changes: dict[str, Any], network: str, ratio: float | None) -> str:
        task, profile = load_task("digits", changes=changes), load_profile(network)
        if ratio:
            profile = profile.with_upload_ratio(ratio)
        names = ("digits", network)
        origin = Origin.of(task, profile, names=names, changes=changes, upload_ratio=ratio)
        return fingerprint(origin.model_dump(mode="json"))

    return {name: mark(*asked) for name, asked in ORIGINS.items()}


def found() -> dict[str, dict[str, str]]:
    return {"trajectories": trajectories(), "timings": timings(), "origins": origins()}


def test_fingerprints_are_those_of_earlier_versions():
    kept = json.loads(FILE.read_text(encoding="utf-8"))
    assert sum(map(len, kept.values())) >= 30
    assert found() == kept


if __name__ == "__main__":
    FILE.write_text(json.dumps(found(), indent=1) + "\n", encoding="utf-8")
