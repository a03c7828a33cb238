"""Golden data: what this version wrote, other versions and machines must still read and repeat.

To write the files anew after an intended change:
    python tests/golden/test_golden.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run, size_only
from floss_sim.layout import Layout, TensorSpec
from floss_sim.rng import stream
from floss_sim.training import KIND
from floss_sim.wire import VALUE_CODES, decode, encode

HERE = Path(__file__).parent
LAYOUT = Layout((TensorSpec("head.bias", (3,), "head_bias"), TensorSpec("x", (8, 16), "lora_A")))


def messages() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return values and masks that take each index code."""
    n = LAYOUT.entries
    values = (np.arange(n) - 60).astype(np.float32) / 7
    every = np.ones(n, bool)
    return {
        "dense": (np.where(values == 0, np.float32(1), values), every),
        "bitmap": (values, np.arange(n) % 3 == 0),
        "index32": (values, np.isin(np.arange(n), (2, 99))),
        "empty": (np.zeros(n, np.float32), every),
    }


def encoded() -> dict[str, bytes]:
    """Return the messages: every index code, every value code, and one with a known mask."""
    blobs = {name: encode(LAYOUT, *pair) for name, pair in messages().items()}
    values, mask = messages()["bitmap"]
    for code in VALUE_CODES:
        draw = stream(0, "golden", code)
        blobs[f"bitmap of {code}"] = encode(LAYOUT, values, mask, values=code, draw=draw)
    draw = stream(0, "golden", "known")
    blobs["within a known mask"] = encode(
        LAYOUT, values, known(), values="int8", known_N=mask, keep_zeros=True, draw=draw
    )
    return blobs


def known() -> np.ndarray:
    return np.arange(LAYOUT.entries) % 12 == 0


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
        "environment": chosen.trajectory(KIND, "cpu", 1)["versions"],
        "loss": curve["loss"].to_pylist(),
        "total_bytes": curve["total_bytes"].to_pylist(),
    }


def golden(name: str) -> dict:
    return json.loads((HERE / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["dense", "bitmap", "index32", "empty"])
def test_messages_of_format_1_are_read_and_written_to_the_byte(name: str):
    blob = bytes.fromhex(golden("messages.json")[name])
    values, mask = messages()[name]
    assert encode(LAYOUT, values, mask) == blob
    decoded, sent = decode(LAYOUT, blob)
    assert np.array_equal(decoded, np.where(mask, values, 0))
    assert np.array_equal(sent, mask & (values != 0))


@pytest.mark.parametrize("code", VALUE_CODES)
def test_messages_of_every_value_code_are_read_and_written_to_the_byte(code: str):
    blob = bytes.fromhex(golden("messages.json")[f"bitmap of {code}"])
    values, mask = messages()["bitmap"]
    assert encoded()[f"bitmap of {code}"] == blob
    decoded, sent = decode(LAYOUT, blob)
    assert np.array_equal(sent, mask & (values != 0))
    largest = np.abs(values[mask]).max()
    step = {"fp32": 0, "fp16": 2**-10, "bf16": 2**-7, "int8": 1 / 127, "int4": 1 / 7}[code]
    assert np.abs(decoded - np.where(mask, values, 0)).max() <= step * largest


def test_a_message_within_a_known_mask_is_read_and_written_to_the_byte():
    blob = bytes.fromhex(golden("messages.json")["within a known mask"])
    values, mask = messages()["bitmap"]
    assert encoded()["within a known mask"] == blob
    decoded, sent = decode(LAYOUT, blob, mask)
    assert np.array_equal(sent, known())
    assert (
        np.abs(decoded - np.where(known(), values, 0)).max() <= np.abs(values[known()]).max() / 127
    )


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
    """Write all golden files."""
    blobs = {name: blob.hex() for name, blob in encoded().items()}
    for name, content in (("messages", blobs), ("sizes", sizes()), ("trained", trained())):
        text = json.dumps(content, indent=1) + "\n"
        (HERE / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
