"""Golden messages: what this version wrote, other versions and machines must still read.

To write them anew after an intended change of the format:
    PYTHONPATH=tests/support python tests/golden/test_golden_messages.py
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from sample_messages import LAYOUTS, Sample, sample

from floss_sim.vectors.layout import Layout, TensorSpec
from floss_sim.wire import INDEX_CODES, VALUE_CODES, decode

HERE = Path(__file__).parent / "messages"
LIBRARIES = ("constriction", "numpy", "pcodec")


def chosen() -> list[Sample]:
    """Every index code with three value codes, every value code plain and packed."""
    codes = ("fp32", "tail", "sign")
    made = [
        sample("small", index, code, has_known=i % 2 == 1)
        for index in INDEX_CODES
        for i, code in enumerate(codes)
    ]
    made += [sample("small", "rows", code, True) for code in VALUE_CODES if code != "tail"]
    made += [sample("middle", "rice", code, False) for code in VALUE_CODES]
    return made


def manifest() -> dict:
    return json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))


RECORDED = manifest() if (HERE / "manifest.json").exists() else {"layouts": {}, "messages": {}}


def hex_of(mask: np.ndarray | None) -> str | None:
    return None if mask is None else np.packbits(mask).tobytes().hex()


def mask_of(text: str | None, entries: int) -> np.ndarray | None:
    if text is None:
        return None
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[:entries].astype(bool)


def fingerprint(values: np.ndarray, mask: np.ndarray) -> str:
    return hashlib.sha256(values.astype("<f4").tobytes() + np.packbits(mask).tobytes()).hexdigest()


@pytest.mark.parametrize("name", RECORDED["messages"])
def test_a_recorded_message_is_read_to_the_recorded_values(name: str):
    recorded = RECORDED["messages"][name]
    tensors = RECORDED["layouts"][recorded["layout"]]
    layout = Layout(tuple(TensorSpec(t[0], tuple(t[1]), t[2]) for t in tensors))
    masks = (mask_of(recorded[mask], layout.entries) for mask in ("known", "held"))
    blob = (HERE / f"{name}.bin").read_bytes()
    assert [blob[5], blob[6], blob[7]] == recorded["codes_and_flags"]
    values, mask = decode(layout, blob, *masks)
    assert int(mask.sum()) == recorded["sent"]
    assert fingerprint(values, mask) == recorded["sha256"]


def test_every_code_is_recorded_and_packed_where_it_can_be():
    codes = [recorded["codes_and_flags"] for recorded in RECORDED["messages"].values()]
    assert {index for index, _, _ in codes} == set(INDEX_CODES.values())
    assert {value for _, value, _ in codes} == {code.code for code in VALUE_CODES.values()}
    packable = {code.code for code in VALUE_CODES.values() if code.dtype}
    assert {value for _, value, flags in codes if flags & 2} == packable
    assert {path.stem for path in HERE.glob("*.bin")} == set(RECORDED["messages"])


def test_the_same_libraries_write_the_same_bytes():
    """No promise of the format: it tells that a change of the encoder was one of bytes."""
    if versions() != RECORDED["versions"]:
        pytest.skip(f"golden messages were written with {RECORDED['versions']}")
    for made in chosen():
        assert made.encoded() == (HERE / f"{made.name}.bin").read_bytes(), made.name


def versions() -> dict[str, str]:
    return {library: version(library) for library in LIBRARIES}


def write() -> None:
    """Write all messages and the manifest."""
    HERE.mkdir(exist_ok=True)
    for old in HERE.glob("*.bin"):
        old.unlink()
    messages = {}
    for made in chosen():
        blob = made.encoded()
        values, mask = decode(made.layout, blob, made.known, made.held)
        (HERE / f"{made.name}.bin").write_bytes(blob)
        messages[made.name] = {
            "layout": made.name.split("-")[0],
            "known": hex_of(made.known),
            "held": hex_of(made.held),
            "codes_and_flags": [*blob[5:8]],
            "sent": int(mask.sum()),
            "sha256": fingerprint(values, mask),
        }
    names = {recorded["layout"] for recorded in messages.values()}
    layouts = {
        name: [[t.name, t.shape, t.kind] for t in LAYOUTS[name].tensors] for name in sorted(names)
    }
    content = {"versions": versions(), "layouts": layouts, "messages": messages}
    text = json.dumps(content, indent=1) + "\n"
    (HERE / "manifest.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
