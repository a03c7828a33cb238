from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from floss_sim.errors import LayoutError
from floss_sim.families.config_sizes import unstated_sizes


@dataclass
class Vision:
    attribute_map: ClassVar = {}
    sub_configs: ClassVar = {}
    patch_size: int = 16
    hidden_size: int = 32


@dataclass
class Model:
    """A config as the model library writes them: fields with defaults, and other names of some."""

    attribute_map: ClassVar = {"hidden_size": "d_model"}
    sub_configs: ClassVar = {}
    model_type = "t"
    d_model: int = 64
    num_hidden_layers: int = 2
    vocab_size: int = 100
    head_dim: int = 8
    rotary_dim: int | None = None
    pad_token_id: int = 3
    chunk_size_feed_forward: int = 4
    dropout_layers: float = 0.5


@dataclass
class Parts:
    attribute_map: ClassVar = {}
    sub_configs: ClassVar = {"vision_config": Vision, "text_config": Model}
    model_type: ClassVar = "p"
    vision_config: Vision = field(default_factory=Vision)
    text_config: Model = field(default_factory=Model)


WHOLE = {"d_model": 64, "num_hidden_layers": 2, "vocab_size": 100, "head_dim": 8}


def test_sizes_that_a_config_leaves_out_are_named_with_their_defaults():
    assert unstated_sizes(Model(), WHOLE) == {}
    without = {key: value for key, value in WHOLE.items() if key != "head_dim"}
    assert unstated_sizes(Model(), without) == {"head_dim": 8}


def test_a_size_under_another_name_is_stated():
    renamed = {**WHOLE, "hidden_size": WHOLE["d_model"]}
    del renamed["d_model"]
    assert unstated_sizes(Model(), renamed) == {}
    assert unstated_sizes(Model(d_model=7), {**renamed, "hidden_size": None}) == {}
    del renamed["hidden_size"]
    assert unstated_sizes(Model(d_model=7), {**renamed, "n_embed": 7}) == {}


@pytest.mark.parametrize("name", ["d_model", "num_hidden_layers", "vocab_size"])
def test_a_main_size_must_be_stated(name):
    without = {key: value for key, value in WHOLE.items() if key != name}
    with pytest.raises(LayoutError, match=f"config of this t model lacks {name}"):
        unstated_sizes(Model(), without)


def test_a_part_may_leave_out_any_size_but_not_all_parts_everything():
    stated = {"text_config": {"d_model": 64, "vocab_size": 100}}
    assert unstated_sizes(Parts(), stated) == {
        "vision_config": None, "text_config.num_hidden_layers": 2, "text_config.head_dim": 8,
    }  # fmt: skip
    beside = {**WHOLE, "vision_config": {"hidden_size": 32}}  # as older files do
    assert unstated_sizes(Parts(), beside) == {"vision_config.patch_size": 16}
    with pytest.raises(LayoutError, match="lacks vision_config and text_config"):
        unstated_sizes(Parts(), {"vision_config": {}})
