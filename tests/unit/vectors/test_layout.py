from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from floss_sim.errors import ConfigError, LayoutError
from floss_sim.vectors.layout import Layout, TensorSpec, build_layout

VIT = {
    "model_type": "vit",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
}


def lora_layout(backbone: dict, targets: tuple[str, ...], rank: int, labels: int) -> Layout:
    return build_layout(backbone, trains="lora", targets=targets, rank=rank, labels=labels)


def pair() -> Layout:
    return Layout(
        (TensorSpec("a", (2, 3), "lora_A"), TensorSpec("b", (4,), "head_bias")),
    )


def test_tensors_lie_end_to_end_in_the_order_of_their_names():
    layout = pair()
    assert layout.entries == 10
    assert layout.slices == {"a": slice(0, 6), "b": slice(6, 10)}


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a"), ("a", "c", "b")])
def test_names_out_of_order_or_twice_are_refused(names: tuple[str, ...]):
    with pytest.raises(LayoutError, match="unique names in sorted order"):
        Layout(tuple(TensorSpec(name, (1,), "lora_A") for name in names))


def test_the_digest_is_the_start_of_a_sha256_over_names_shapes_and_kinds():
    """It stands in every stored message, so it is pinned."""
    text = '[["a", [2, 3], "lora_A"], ["b", [4], "head_bias"]]'
    assert pair().digest == hashlib.sha256(text.encode()).digest()[:8]
    assert pair().digest.hex() == "98c7ff57ba378324"


@pytest.mark.parametrize(
    "other",
    [
        (TensorSpec("a", (3, 2), "lora_A"), TensorSpec("b", (4,), "head_bias")),
        (TensorSpec("a", (2, 3), "lora_B"), TensorSpec("b", (4,), "head_bias")),
        (TensorSpec("aa", (2, 3), "lora_A"), TensorSpec("b", (4,), "head_bias")),
        (TensorSpec("a", (2, 3), "lora_A"), TensorSpec("b", (4, 1), "head_bias")),
        (TensorSpec("a", (2, 3), "lora_A"),),
    ],
)
def test_another_name_shape_or_kind_makes_another_digest(other: tuple[TensorSpec, ...]):
    assert Layout(other).digest != pair().digest


@pytest.mark.parametrize("rank", [1, 4, 16, 64])
def test_lora_on_square_projections_has_2_r_d_entries_a_layer_and_role_plus_the_head(rank: int):
    layout = lora_layout(VIT, ("q", "v"), rank, 10)
    assert layout.entries == 4 * 2 * (2 * rank * 64) + 10 * 64 + 10


@pytest.mark.parametrize("role", ["mlp_in", "mlp_out"])
def test_lora_on_an_mlp_has_r_times_the_sum_of_both_widths(role: str):
    layout = lora_layout(VIT, (role,), 8, 10)
    assert layout.entries == 4 * 8 * (64 + 128) + 650


def test_a_maps_into_the_rank_and_b_out_of_it():
    shapes = {
        t.name: (t.shape, t.kind) for t in lora_layout(VIT, ("mlp_in", "mlp_out"), 8, 10).tensors
    }
    assert shapes["layer.002.mlp_in.lora_A"] == ((8, 64), "lora_A")
    assert shapes["layer.002.mlp_in.lora_B"] == ((128, 8), "lora_B")
    assert shapes["layer.002.mlp_out.lora_A"] == ((8, 128), "lora_A")
    assert shapes["layer.002.mlp_out.lora_B"] == ((64, 8), "lora_B")
    assert shapes["head.weight"] == ((10, 64), "head_weight")
    assert shapes["head.bias"] == ((10,), "head_bias")
    assert len(shapes) == 2 + 4 * 2 * 2


def test_the_order_of_the_roles_does_not_matter():
    one, other = (lora_layout(VIT, roles, 4, 10) for roles in (("q", "v", "o"), ("o", "v", "q")))
    assert one == other
    assert one.digest == other.digest


def test_names_stay_sorted_by_layer_past_ten_layers():
    deep = lora_layout({**VIT, "num_hidden_layers": 12}, ("q",), 1, 10)
    layers = [int(t.name.split(".")[1]) for t in deep.tensors if t.kind == "lora_A"]
    assert layers == list(range(12))


def test_every_entry_belongs_to_exactly_one_tensor():
    layout = lora_layout(VIT, ("q", "k", "mlp_out"), 3, 10)
    owners = np.zeros(layout.entries, dtype=int)
    for tensor in layout.tensors:
        assert owners[layout.slices[tensor.name]].size == math.prod(tensor.shape)
        owners[layout.slices[tensor.name]] += 1
    assert (owners == 1).all()


@pytest.mark.parametrize("rank", [-1, 0, 65])
def test_a_rank_that_does_not_fit_is_refused_with_the_valid_range(rank: int):
    with pytest.raises(LayoutError, match=rf"rank {rank} .*valid: 1 to 64"):
        lora_layout(VIT, ("q",), rank, 10)


def test_an_unknown_role_is_refused_with_the_valid_ones():
    with pytest.raises(LayoutError, match="'c_attn' of family 'vit'; valid: all, q, k"):
        lora_layout(VIT, ("c_attn",), 4, 10)


def test_a_role_named_twice_is_refused():
    with pytest.raises(LayoutError):
        lora_layout(VIT, ("q", "q"), 4, 10)


@pytest.mark.parametrize("family", ["resnet", "", None, ["vit"]])
def test_an_unknown_backbone_family_is_refused(family: object):
    with pytest.raises(LayoutError, match="not supported; valid: vit"):
        lora_layout({**VIT, "model_type": family}, ("q",), 4, 10)


@pytest.mark.parametrize("missing", ["hidden_size", "num_hidden_layers", "intermediate_size"])
def test_a_backbone_config_without_a_size_is_refused_by_the_name_of_the_key(missing: str):
    config = {key: value for key, value in VIT.items() if key != missing}
    with pytest.raises(LayoutError, match=missing):
        lora_layout(config, ("q", "mlp_in"), 4, 10)


@pytest.mark.parametrize("value", ["64", None, 64.0, 0, -3, True])
def test_a_backbone_size_that_is_no_whole_number_is_refused(value: object):
    with pytest.raises(LayoutError, match="hidden_size"):
        lora_layout({**VIT, "hidden_size": value}, ("q",), 1, 10)


def test_a_layout_error_is_a_config_error():
    assert issubclass(LayoutError, ConfigError)


def initial_of(kind: str, seed: int = 0) -> np.ndarray:
    layout = lora_layout(VIT, ("q", "k", "v", "o"), 16, 1000)
    vector = layout.initial_vector(seed)
    assert vector.dtype == np.float32
    assert vector.shape == (layout.entries,)
    return np.concatenate(
        [vector[layout.slices[t.name]] for t in layout.tensors if t.kind == kind]
    ).astype(np.float64)


@pytest.mark.parametrize("kind", ["lora_B", "head_bias"])
def test_b_and_the_bias_begin_at_zero_so_that_training_begins_at_the_backbone(kind: str):
    assert not initial_of(kind).any()


def test_a_begins_uniform_within_one_over_the_root_of_its_fan_in():
    """Moments of U(-b, b): mean 0, variance b^2/3, fourth moment b^4/5; |z| stays below 4."""
    a, bound = initial_of("lora_A"), 1 / math.sqrt(64)
    assert np.abs(a).max() <= bound * (1 + 1e-6)
    assert np.abs(a).max() > bound * 0.99
    variance = bound**2 / 3
    assert abs(a.mean()) < 4 * math.sqrt(variance / a.size)
    spread = math.sqrt((bound**4 / 5 - variance**2) / a.size)
    assert abs((a**2).mean() - variance) < 4 * spread


def test_the_bound_of_a_follows_the_width_that_it_reads():
    layout = lora_layout(VIT, ("mlp_out",), 16, 10)
    a = np.abs(layout.initial_vector(0)[layout.slices["layer.000.mlp_out.lora_A"]])
    assert 0.99 / math.sqrt(128) < a.max() <= (1 + 1e-6) / math.sqrt(128)


def test_the_head_begins_normal_with_deviation_two_hundredths():
    """Mean 0, variance 0.02^2 with relative error sqrt(2/n); |z| stays below 4."""
    head = initial_of("head_weight")
    assert abs(head.mean()) < 4 * 0.02 / math.sqrt(head.size)
    assert abs((head**2).mean() / 0.02**2 - 1) < 4 * math.sqrt(2 / head.size)
    assert abs((head**4).mean() / 0.02**4 - 3) < 4 * math.sqrt(96 / head.size)


def test_the_first_vector_follows_the_seed_alone():
    layout = lora_layout(VIT, ("q",), 4, 10)
    assert np.array_equal(layout.initial_vector(3), layout.initial_vector(3))
    assert not np.array_equal(layout.initial_vector(3), layout.initial_vector(4))


def test_a_tensor_begins_the_same_whatever_else_is_trained():
    few, many = (lora_layout(VIT, roles, 4, 10) for roles in (("q",), ("k", "q", "mlp_in")))
    for tensor in few.tensors:
        assert np.array_equal(
            few.initial_vector(0)[few.slices[tensor.name]],
            many.initial_vector(0)[many.slices[tensor.name]],
        )


def test_tensors_of_one_layout_begin_with_different_values():
    layout = lora_layout(VIT, ("q", "v"), 4, 10)
    vector = layout.initial_vector(0)
    drawn = {vector[layout.slices[t.name]].tobytes() for t in layout.tensors if t.kind == "lora_A"}
    assert len(drawn) == 8


# rows


@pytest.mark.parametrize(
    ("shape", "kind", "rows"),
    [
        ((4, 6), "lora_A", 4),
        ((6, 4), "lora_B", 4),
        ((1, 6), "lora_A", 1),
        ((6, 1), "lora_B", 1),
        ((10, 6), "head_weight", 10),
        ((10,), "head_bias", 1),
        ((6,), "bias", 1),
        ((6, 4), "weight", 1),
    ],
)
def test_rows_are_the_ranks_of_an_adapter_and_the_classes_of_the_head(
    shape: tuple[int, ...], kind: str, rows: int
):
    tensor = TensorSpec("t", shape, kind)
    assert tensor.rows == rows
    assert tensor.size % rows == 0


def test_sizes_of_tensors_and_rows_by_hand():
    layout = Layout(
        (
            TensorSpec("a", (2, 3), "lora_A"),
            TensorSpec("b", (4, 2), "lora_B"),
            TensorSpec("c", (5,), "bias"),
            TensorSpec("d", (3, 2), "head_weight"),
        )
    )
    assert layout.tensor_sizes.tolist() == [6, 8, 5, 6]
    assert layout.row_sizes.tolist() == [3, 3, 4, 4, 5, 2, 2, 2]
    assert layout.row_order is not None
    columns = [6, 8, 10, 12, 7, 9, 11, 13]  # of b, which begins at 6
    assert layout.row_order.tolist() == [*range(6), *columns, *range(14, 25)]


def test_rows_of_a_layout_without_b_are_in_the_order_of_the_vector():
    assert pair().row_order is None
    assert pair().row_sizes.tolist() == [3, 3, 4]


@pytest.mark.parametrize("targets", [("q",), ("mlp_in", "mlp_out"), ("k", "o", "mlp_in")])
@pytest.mark.parametrize("rank", [1, 3, 64])
def test_every_entry_is_in_the_row_of_its_rank_or_class(targets: tuple[str, ...], rank: int):
    """A row is one rank of A, one column of B, one class of the head."""
    layout = lora_layout(VIT, targets, rank, 10)
    order = np.arange(layout.entries) if layout.row_order is None else layout.row_order
    assert np.array_equal(np.sort(order), np.arange(layout.entries))
    assert layout.row_sizes.sum() == layout.tensor_sizes.sum() == layout.entries
    assert layout.row_sizes.size == sum(tensor.rows for tensor in layout.tensors)
    rows = iter(np.split(order, np.cumsum(layout.row_sizes)[:-1]))
    for tensor in layout.tensors:
        entries = np.arange(layout.entries)[layout.slices[tensor.name]].reshape(tensor.shape)
        by_row = {"lora_B": entries.T, "head_bias": entries[None]}.get(tensor.kind, entries)
        for expected in by_row:
            assert np.array_equal(next(rows), expected)
