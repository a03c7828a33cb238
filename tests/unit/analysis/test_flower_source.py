import os

import pytest

from floss_sim.analysis.flower_source import lora_arguments

TEMPLATE = """
from peft import LoraConfig, get_peft_model
raise SystemExit("nothing of an app is run")
def get_model(cfg):
    return LoraConfig(r=cfg.lora.peft_lora_r, lora_alpha=cfg.alpha, lora_dropout=0.1{more})
"""


def read(tmp_path, more="", name="app/models.py"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEMPLATE.format(more=more), encoding="utf-8")
    return lora_arguments(tmp_path).stated


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", {}),
        (", use_dora=True", {"dora": True}),
        (", target_modules=['down_proj', 'o_proj']", {"targets": "down_proj,o_proj"}),
        (", target_modules=('q', 'k')", {"targets": "k,q"}),
        (", target_modules='all-linear'", {"targets": "all-linear"}),
        (", target_modules=r'.*q_proj'", {"targets": "re:.*q_proj"}),
        (", modules_to_save=['lm_head'], bias='all'", {"save": "lm_head", "bias": "all"}),
        (", layers_to_transform=[10, 9], use_rslora=True", {"layers": "9,10", "rslora": True}),
        (", layers_to_transform=3, lora_bias=True", {"layers": "3", "lora_bias": True}),
        (", rank_pattern={'v_proj': 4}", {"rank_pattern": {"v_proj": 4}}),
        (", alpha_pattern={'v_proj': 4.5}", {"alpha_pattern": {"v_proj": 4.5}}),
        (", target_modules={'q_proj', 3}, modules_to_save=[4]", {}),
        (", target_modules=names, use_dora=1, bias=f'{x}', **more", {}),
    ],
)
def test_constants_of_the_lora_configuration_are_read(tmp_path, more, found):
    assert read(tmp_path, more) == found


def test_a_constant_rank_is_read_whatever_the_call_is_named(tmp_path):
    (tmp_path / "a.py").write_text("c = peft.LoraConfig(r=4, lora_alpha=8)", encoding="utf-8")

    assert lora_arguments(tmp_path).stated == {"rank": 4, "alpha": 8}


def test_configurations_that_disagree_say_nothing_but_that(tmp_path):
    read(tmp_path, ", use_dora=True, bias='all'")

    assert read(tmp_path, ", use_dora=False, bias='all'", "other.py") == {"bias": "all"}
    assert lora_arguments(tmp_path).unread == ("use_dora",)


@pytest.mark.parametrize(
    ("more", "unread"),
    [
        (", target_modules=names, use_dora=cfg.dora", ()),  # the template has these in its settings
        (", rank_pattern=None, layers_to_transform=[], modules_to_save=()", ()),
        (", rank_pattern=ranks, exclude_modules=['v']", ("exclude_modules", "rank_pattern")),
        (", layers_to_transform=['1']", ("layers_to_transform",)),
    ],
)
def test_arguments_that_decide_what_trains_and_are_not_known_are_named(tmp_path, more, unread):
    read(tmp_path, more)

    assert lora_arguments(tmp_path).unread == unread


@pytest.mark.parametrize("text", ["def (", "\0", "(" * 10_000, "x = LoraConfig"])
def test_a_file_that_is_no_python_says_nothing(tmp_path, text):
    (tmp_path / "a.py").write_text(text, encoding="utf-8")

    assert lora_arguments(tmp_path).stated == {}


def test_what_is_no_regular_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "endless.py").symlink_to("/dev/zero")
    (tmp_path / "long.py").write_text("LoraConfig(r=4)" + " " * 1_000_000, encoding="utf-8")

    assert read(tmp_path, ", use_dora=True") == {"dora": True}


@pytest.mark.parametrize("place", [".hidden", "env", "lib/site-packages"])
def test_code_of_environments_is_not_that_of_the_app(tmp_path, place):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").write_text("", encoding="utf-8")

    assert read(tmp_path, ", use_dora=True", f"{place}/models.py") == {}
