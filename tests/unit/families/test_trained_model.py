import sys

import pytest

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.layout_cache import cache_folder
from floss_sim.families.model_table import ModelTable
from floss_sim.families.trained_model import model_of_config, model_of_table
from floss_sim.families.trained_tensors import trained_tensors

TINY = {"model_type": "qwen2", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 12, "vocab_size": 20}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOSS_SIM_LAYOUTS", str(tmp_path / "layouts"))


def asked(**settings):
    return model_of_config(TINY, "next-token", 0, AdapterSettings(rank=2, **settings))


def forbid_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "floss_sim.families.from_library", None)


def test_the_second_answer_needs_no_library(monkeypatch):
    first = asked()
    forbid_library(monkeypatch)

    assert asked() == first
    with pytest.raises(ImportError):
        asked(dora=True)


def test_a_config_of_a_new_family_has_the_tensors_of_peft():
    shapes = {tensor.part: tensor.shape for tensor in asked(dora=True).tensors}

    assert shapes == {"lora_A": (2, 8), "lora_B": (4, 2), "lora_magnitude": (4,)}
    assert len(asked(dora=True).tensors) == 2 * 2 * 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"answer": 1}', '{"answer": {}, "sha256": 1}',
                                  "[" * 100_000])  # fmt: skip
def test_a_damaged_answer_is_asked_for_again(text):
    first = asked()
    (file,) = cache_folder().iterdir()
    whole = file.read_text()
    file.write_text(text)

    assert asked() == first
    assert file.read_text() == whole


@pytest.mark.parametrize(
    ("old", "new"), [("[2, 8]", "[2, 80]"), ("[2, 8]", "[-2, 8]"), ("[2, 8]", f"[2, {10**30}]")]
)
def test_an_edited_answer_is_asked_for_again(old, new):
    first = asked()
    (file,) = cache_folder().iterdir()
    whole = file.read_text()
    assert old in whole
    file.write_text(whole.replace(old, new, 1))

    assert asked() == first
    assert file.read_text() == whole


def test_the_answer_to_another_question_is_none():
    asked()
    (file,) = cache_folder().iterdir()
    other = asked(dora=True)
    (second,) = set(cache_folder().iterdir()) - {file}
    second.write_text(file.read_text())

    assert asked(dora=True) == other


def test_a_cache_that_cannot_be_written_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLOSS_SIM_LAYOUTS", str(tmp_path / "file"))

    assert asked().entries == 2 * (2 * (8 + 8) + 2 * (8 + 4))


def test_the_new_version_of_a_library_asks_again(monkeypatch):
    asked()
    monkeypatch.setattr("floss_sim.families.layout_cache.version", lambda name: "next")

    asked()
    assert len(list(cache_folder().iterdir())) == 2


def table(shape, kind="linear"):
    return ModelTable("t", {"m.layers.0.fc1.weight": shape}, {"m.layers.0.fc1": kind})


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("linear", (6, 4), {"lora_A": (2, 4), "lora_B": (6, 2), "lora_magnitude": (6,)}),
        ("conv1d", (4, 6), {"lora_A": (2, 4), "lora_B": (6, 2), "lora_magnitude": (6,)}),
        ("embedding", (9, 6), {"lora_A": (2, 9), "lora_B": (6, 2), "lora_magnitude": (6,)}),
        (
            "conv2d",
            (6, 3, 5, 5),
            {"lora_A": (2, 3, 5, 5), "lora_B": (6, 2, 1, 1), "lora_magnitude": (1, 6, 1, 1)},
        ),
    ],
)
def test_shapes_by_class_of_module(kind, shape, expected):
    settings = AdapterSettings(rank=2, targets=("fc1",), dora=True)

    made = {t.part: t.shape for t in trained_tensors(table(shape, kind), settings)}
    assert made == expected


def test_a_rank_above_a_side_of_its_module_is_refused():
    settings = AdapterSettings(rank=5, targets=("fc1",))
    with pytest.raises(LayoutError, match=r"rank 5 does not fit .* of shape 6 x 4; valid: 1 to 4"):
        trained_tensors(table((6, 4)), settings)


def test_a_module_to_save_that_matches_nothing_is_refused():
    settings = AdapterSettings(rank=2, targets=("fc1",), modules_to_save=("lm_head",))
    with pytest.raises(LayoutError, match="module to save 'lm_head' matches no module"):
        trained_tensors(table((6, 4)), settings)


def test_counts_of_a_model():
    model = model_of_table(table((6, 4)), 0, AdapterSettings(rank=2, targets=("fc1",)))

    assert (model.parameters, model.entries) == (24, 2 * (6 + 4))
