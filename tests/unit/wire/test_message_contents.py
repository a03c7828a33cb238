"""What is in a message, the floor of positions, and the survey of all codes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from floss_sim import load_task
from floss_sim.errors import PayloadError
from floss_sim.training.torch_save_bytes import torch_bytes
from floss_sim.vectors.layout import (
    LORA_A,
    Layout,
    TensorSpec,
    build_layout,
)
from floss_sim.vectors.top_k import top_k_mask
from floss_sim.wire import INDEX_CODES, VALUE_CODES, encode
from floss_sim.wire.entropy_bound import floor_bits
from floss_sim.wire.framing import OVERHEAD_BYTES
from floss_sim.wire.message_contents import contents, parts
from floss_sim.wire.size_table import layout_of, survey


def digits(trains: str = "lora", rank: int = 4) -> Layout:
    task = load_task("digits")
    return build_layout(
        task.backbone_config, trains=trains, targets=task.lora.targets, rank=rank, labels=10
    )


def normal(entries: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(entries, dtype=np.float32)


@pytest.mark.parametrize(("universe", "count"), [(1, 0), (7, 7), (10, 3), (5000, 1), (4000, 1234)])
def test_the_floor_counts_the_ways_to_choose(universe: int, count: int):
    ways = math.comb(universe, count)
    exact = math.log2(ways) if ways < 1 << 1000 else ways.bit_length()
    assert floor_bits(universe, count) == pytest.approx(exact, abs=1 if ways >= 1 << 1000 else 1e-6)


def test_the_floor_of_a_huge_universe_is_exact_enough():
    exact = math.log2(1e8) + math.log2(1e8 - 1) - 1
    assert floor_bits(10**8, 2) == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("index", ["bitmap", "rice", "range", "tensors", "rows"])
def test_contents_say_what_was_encoded(values: str, index: str):
    layout = digits()
    vector_N = normal(layout.entries)
    mask_N = top_k_mask(vector_N, 900)
    blob = encode(
        layout, vector_N, mask_N, values=values, index=index, draw=np.random.default_rng(0)
    )
    found = contents(blob)
    assert (found.index, found.values, found.entries) == (index, values, 900)
    assert found.digest == layout.digest
    assert found.needs == ()
    assert found.nbytes == found.payload_bytes + OVERHEAD_BYTES == len(blob)
    assert found.kind == VALUE_CODES[values].kind


def test_contents_name_the_masks_without_which_a_message_cannot_be_read():
    layout = digits()
    vector_N = normal(layout.entries)
    mask_N, wide_N = top_k_mask(vector_N, 500), top_k_mask(vector_N, 2000)
    within = encode(layout, vector_N, mask_N, known_N=wide_N)
    beside = encode(layout, vector_N, mask_N, held_N=mask_N, index="held")
    both = encode(layout, vector_N, mask_N, known_N=wide_N, held_N=mask_N, index="held")
    assert [contents(blob).needs for blob in (within, beside, both)] == [
        ("known",), ("held",), ("known", "held"),
    ]  # fmt: skip
    held = contents(beside)
    assert (held.index, INDEX_CODES[held.index]) == ("held", 6)


def test_damage_is_found_where_the_checksum_covers_no_mask():
    layout = digits()
    blob = bytearray(encode(layout, normal(layout.entries), np.ones(layout.entries, bool)))
    blob[100] ^= 1
    with pytest.raises(PayloadError, match="damaged"):
        contents(bytes(blob))
    blob[5] = 99
    with pytest.raises(PayloadError, match="unknown index or value code: 99, 0"):
        contents(bytes(blob))


def test_parts_are_head_adapter_a_and_b_each_encoded_alone():
    layout = digits()
    vector_N = normal(layout.entries)
    mask_N = top_k_mask(vector_N, layout.entries // 16)
    head_N = np.concatenate([np.full(t.size, t.name.startswith("head.")) for t in layout.tensors])
    blob = encode(layout, vector_N, mask_N | head_N, values="fp16", draw=np.random.default_rng(0))
    found = {part.name: part for part in parts(layout, blob)}
    assert list(found) == ["head", "adapter", "A", "B"]
    head, adapter = found["head"], found["adapter"]
    assert head.universe == head.alone.entries == np.count_nonzero(head_N)
    assert (head.alone.index, head.alone.index_bytes) == ("none", 0)
    assert adapter.alone.entries == np.count_nonzero(mask_N & ~head_N)
    assert adapter.alone.entries == found["A"].alone.entries + found["B"].alone.entries
    assert adapter.universe == found["A"].universe + found["B"].universe
    assert head.universe + adapter.universe == layout.entries
    assert {part.alone.values for part in found.values()} == {"fp16"}


def test_a_parts_message_is_what_an_encoder_makes_of_its_tensors():
    layout = digits()
    vector_N = normal(layout.entries)
    mask_N = top_k_mask(vector_N, 700)
    (a,) = (part for part in parts(layout, encode(layout, vector_N, mask_N)) if part.name == "A")
    chosen = [tensor for tensor in layout.tensors if tensor.kind == LORA_A]
    slices = [layout.slices[tensor.name] for tensor in chosen]
    values_M = np.concatenate([vector_N[part] for part in slices])
    mask_M = np.concatenate([mask_N[part] for part in slices])
    assert a.alone.nbytes == len(encode(Layout(tuple(chosen)), values_M, mask_M))


def test_zeros_that_were_sent_are_counted_in_their_part():
    layout = digits("bitfit")
    zeros_N, all_N = np.zeros(layout.entries, np.float32), np.ones(layout.entries, bool)
    found = parts(layout, encode(layout, zeros_N, all_N, keep_zeros=True))
    assert [part.name for part in found] == ["head", "biases"]
    assert sum(part.alone.entries for part in found) == layout.entries


def test_a_survey_is_of_lora_where_entries_divide_and_of_one_tensor_otherwise():
    assert layout_of(589_824).entries == 589_824
    assert len(layout_of(589_824).tensors) == 48
    assert layout_of(589_825).tensors == (TensorSpec("plain", (589_825,), "weight"),)
    assert layout_of(1).entries == 1
    (plain,) = survey(layout_of(1000), [1 / 4], 0)
    assert list(plain.index_bytes) == ["bitmap", "rice", "range"]


def test_a_survey_encodes_every_code_at_and_above_the_floor():
    found = survey(layout_of(98_304), [1.0, 1 / 16], 0)
    assert [one.kept for one in found] == [98_304, 6144]
    dense, sparse = found
    assert dense.messages["fp32"].index == "none"
    assert dense.floor_bits == pytest.approx(0, abs=1e-6)
    for nbytes in sparse.index_bytes.values():
        assert 8 * nbytes >= sparse.floor_bits
    assert 8 * sparse.index_bytes["range"] <= 1.005 * sparse.floor_bits
    smallest = min(sparse.index_bytes.values())
    assert {one.index_bytes for one in sparse.messages.values()} == {smallest}
    assert list(sparse.messages) == list(VALUE_CODES)
    fp32 = sparse.messages["fp32"]
    assert sparse.floor_bytes("fp32") == pytest.approx(sparse.floor_bits / 8 + fp32.value_bytes)
    assert sparse.peers == {"bitmap + fp32": 98_304 // 8 + 4 * 6144, "32-bit COO + fp32": 8 * 6144}
    assert sparse.formats(["fp32"]) == {"framed, fp32": fp32.nbytes, **sparse.peers}
    assert sparse.bits_per_entry(8 * 6144) == 64


def test_a_survey_is_a_pure_function_of_its_seed():
    once, again, other = (survey(layout_of(5000), [1 / 4], seed) for seed in (0, 0, 1))
    assert once == again
    assert once != other


def test_torchs_files_hold_twelve_bytes_an_entry_or_four_of_the_layout():
    values_N = normal(50_000)
    mask_N = top_k_mask(values_N, 5000)
    sizes = torch_bytes(values_N, mask_N)
    assert 12 * 5000 < sizes["torch.save, sparse COO"] < 12 * 5000 + 4000
    assert 4 * 50_000 < sizes["torch.save, dense"] < 4 * 50_000 + 4000
