import json
import subprocess
import sys
from pathlib import Path

import commands
import pytest
from networks import write_rows

from floss_sim.families.packaged import packaged_backbones

APP = """
[project]
name = "my-app"
[tool.flwr.app.config]
model.name = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
model.lora.peft-lora-r = 8
strategy.fraction-fit = 0.2
num-server-rounds = 200
[tool.flwr.federations.local]
options.num-supernodes = 10
"""

UNSTEADY = """
name = "unsteady"
source = "made"
date = "2026"
[[clients]]
share = 1.0
down = "8 Mbit/s"
up = "8 Mbit/s"
rtt = "0 ms"
compute_per_example = "1 ms"
MORE
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOSS_SIM_LAYOUTS", str(tmp_path / "layouts"))
    Path("pyproject.toml").write_text(APP, encoding="utf-8")

    def run(*words):
        return commands.call(monkeypatch, capfd, "floss-sim", *words)

    return run


def answer(ran):
    code, out, err = ran
    assert code == 0, err
    return json.loads(out)


def text(ran):
    code, out, err = ran
    assert code == 0, err
    return " ".join(out.split())


def test_the_table_shows_what_json_says(call):
    words = ("estimate", "--rank", "8", "--dora", "--up-density", "1/16", "--network", "lte")
    told = answer(call(*words, "--json"))
    shown = text(call(*words))

    assert f"{told['trained_entries']:,} entries in {told['trained_tensors']} tensors" in shown
    assert told["run_time"]["draws"] == 40
    assert f"{told['binds']} takes most of a round" in shown
    words = (*words, "--precision", "int4", "--checkpointing")
    less = answer(call(*words, "--json"))["memory"]
    assert less["weights"] < told["memory"]["weights"] / 4
    assert less["activations"] < told["memory"]["activations"] / 2
    assert "in int4 with checkpointing" in text(call(*words))
    assert told["energy_j"] is told["money"] is None
    assert f"{told['memory']['total'] / 1e9:.3g} GB: weights" in shown
    framed, on_links = told["bytes_of_run"] / 1e9, told["link_bytes_of_run"] / 1e9
    assert f"{framed:.3g} GB framed, {on_links:.3g} GB on the links; dense NumPy" in shown


def test_fleets_with_one_slow_client_explain_the_interval(call):
    words = ("estimate", "--network", str(write_rows(Path(), equal=200)))
    slow = answer(call(*words, "--json"))["slow_fleets"]

    assert 0 < slow["fleets"] < slow["draws"] == 40
    assert slow["worst_link"]["up_bits_per_s"] == 100
    assert (
        f"slow fleets on {slow['fleets']} of 40 fleets a single client takes more than half of the "
        "time, at worst one with 10 Mbit/s down, 100 bit/s up"
    ) in text(call(*words))


def test_a_sweep_has_a_row_for_each_value_and_a_picture(call):
    words = ("estimate", "--targets", "q", "--sweep", "rank=4,8", "--out", "ranks.png")
    told = answer(call(*words, "--json"))

    assert [row["value"] for row in told["rows"]] == ["4", "8"]
    first, second = (row["trained_entries"] for row in told["rows"])
    assert second == 2 * first
    assert Path("ranks.png").read_bytes().startswith(b"\x89PNG")
    shown = text(call(*words))
    assert f"{first:,}" in shown
    assert f"{second:,}" in shown


def test_values_of_a_sweep_that_hold_commas_are_parted_by_semicolons(call):
    told = answer(call("estimate", "--sweep", "targets=q,v;all-linear", "--json"))

    assert [row["value"] for row in told["rows"]] == ["q,v", "all-linear"]
    assert told["picture"] == "estimate.png"
    assert Path("estimate.png").exists()


def write_config(model_type, **sizes):
    Path("config.json").write_text(json.dumps({"model_type": model_type, **sizes}), "utf-8")


SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 12, "vocab_size": 20}  # fmt: skip


def test_sizes_that_a_config_leaves_out_are_said(call):
    write_config("qwen2", **SIZES, num_key_value_heads=1)
    words = ("estimate", "--backbone", "config.json", "--rank", "2")
    told = answer(call(*words, "--json"))

    assert told["sizes_not_in_config"] == {"max_position_embeddings": 32768}
    said = "Not in the config, so that the model library's defaults are used: max_position_embed"
    assert said in text(call(*words))
    assert "Not in the config" not in text(call("estimate"))


def test_experts_without_an_adapter_are_said(call):
    write_config("granitemoe", **SIZES, num_local_experts=4)
    words = ("estimate", "--backbone", "config.json", "--rank", "2", "--targets", "all-linear")
    told = answer(call(*words, "--json"))

    entries = 2 * 4 * (24 * 8 + 8 * 12)
    assert told["expert_entries_without_adapter"] == entries
    assert f"With these targets {entries:,} entries of experts get no adapter" in text(call(*words))


@pytest.mark.parametrize(
    ("sizes", "words", "said"),
    [
        ({**SIZES, "hidden_size": None}, (), "cannot build a next-token model of llama"),
        ({"vocab_size": 20}, (), "lacks hidden_size, num_hidden_layers, num_attention_heads"),
        (SIZES, ("--targets", "re:(?:(?:.|..)+)+[A-Z]"), "takes more than 2 s to match"),
        (SIZES, ("--rank-pattern", "k_proj=1"), "rank pattern 'k_proj' matches no module"),
    ],
)
def test_a_config_or_a_pattern_that_does_not_fit_is_one_line(call, sizes, words, said):
    write_config("llama", **sizes)
    code, out, err = call("estimate", "--backbone", "config.json", "--rank", "2", *words)

    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


def test_packaged_backbones_are_listed(call):
    told = answer(call("estimate", "--backbones", "--json"))

    assert [row["name"] for row in told] == list(packaged_backbones())
    assert "134,515,008" in text(call("estimate", "--backbones"))


def loaded(*words):
    """Return the heavy libraries that a command has loaded when it ends."""
    code = (
        "import sys\n"
        "from floss_sim.cli.app import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*{m.split('.')[0] for m in sys.modules})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "transformers", "peft", "pandas", "matplotlib", "pyarrow", "sklearn", "scipy"}
    return heavy & set(ran.stdout.splitlines()[-1].split())


def test_a_packaged_backbone_loads_no_framework():
    assert not loaded("estimate", "--json")


def test_a_config_loads_the_frameworks_the_first_time_only(call):
    write_config("qwen2", **SIZES, num_key_value_heads=1)
    words = ("estimate", "--backbone", "config.json", "--rank", "2", "--json")

    assert {"torch", "transformers", "peft"} <= loaded(*words)
    assert not loaded(*words)


@pytest.mark.parametrize("more", ["dropout = 0.1", "[availability]\non = '1 h'\noff = '1 h'"])
def test_times_without_dropout_and_availability_say_so(call, more):
    said = "of unsteady drop out or are off at times. Bytes and times here are those of clients"
    Path("net.toml").write_text(UNSTEADY.replace("MORE", more), encoding="utf-8")
    words = ("--network", "net.toml")
    for command in (("estimate", "--rank", "2"), ("check-app", ".")):
        assert said in text(call(*command, *words))
        assert answer(call(*command, *words, "--json"))["assumes_presence"]
        assert said not in text(call(*command, "--network", "wifi"))
        assert not answer(call(*command, "--network", "wifi", "--json"))["assumes_presence"]
    assert said in text(call("estimate", "--sweep", "rank=2,4", *words))


def test_an_app_is_checked(call):
    told = answer(call("check-app", ".", "--budget", "200GB", "--json"))

    assert told["trained_entries"] == 1_126_400
    assert told["dense_numpy_bytes"] == 4 * 1_126_400 + 128 * 88
    assert told["dense_numpy_bytes_of_run"] == 2 * 2 * 200 * told["dense_numpy_bytes"]
    assert told["budget_share"] == told["dense_numpy_bytes_of_run"] / 200e9
    shown = text(call("check-app", "."))
    assert "3.61 GB (3,446.09 MiB): 2 of 10 clients, 200 rounds" in shown
    assert "1.81 %" in shown
    assert "on q, v (assumed)" in shown
    assert "of a client: 16 examples of 128 tokens at a time, in bf16" in shown


def test_constants_in_the_code_of_an_app_replace_its_settings(call):
    call_of_peft = "LoraConfig(r=cfg.r, use_dora=True, target_modules=['down_proj', 'o_proj'])"
    Path("models.py").write_text(call_of_peft, encoding="utf-8")
    told = answer(call("check-app", ".", "--json"))

    assert told["from_code"] == {"dora": True, "targets": "down_proj,o_proj"}
    one = 8 * (5632 + 2048) + 2048 + 8 * (2048 + 2048) + 2048
    assert (told["trained_entries"], told["trained_tensors"]) == (22 * one, 22 * 6)
    assert not told["targets_assumed"]
    shown = text(call("check-app", "."))
    assert "DoRA of rank 8 on down_proj, o_proj" in shown
    assert "from its code targets, dora" in shown or "from its code dora, targets" in shown
    assert "LoRA of rank 8 on q" not in text(call("check-app", ".", "--targets", "q"))
    assert answer(call("check-app", ".", "--targets", "q", "--json"))["trained_tensors"] == 22 * 3


def test_layers_and_ranks_in_the_code_of_an_app_decide_its_bytes(call):
    call_of_peft = (
        "LoraConfig(target_modules=['q_proj', 'v_proj'], layers_to_transform=[20, 21], "
        "rank_pattern={'v_proj': 4}, lora_bias=True, layers_pattern='layers')"
    )
    Path("models.py").write_text(call_of_peft, encoding="utf-8")
    told = answer(call("check-app", ".", "--json"))

    one = 8 * (2048 + 2048) + 2048 + 4 * (2048 + 256) + 256
    assert (told["trained_entries"], told["trained_tensors"]) == (2 * one, 2 * 6)
    assert told["unread_arguments"] == ["layers_pattern"]
    assert "may differ: layers_pattern of its LoraConfig" in text(call("check-app", "."))


def test_options_replace_what_an_app_states(call):
    told = answer(
        call("check-app", "pyproject.toml", "--backbone", "gpt2", "--targets", "qkv", "--rank", "2",
             "--clients", "50", "--rounds", "3", "--dora", "--json")
    )  # fmt: skip

    assert (told["cohort"], told["clients"], told["rounds"]) == (10, 50, 3)
    assert told["trained_entries"] == 12 * (2 * (768 + 2304) + 2304)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("estimate", "--sweep", "rank"), "is not OPTION=VALUE"),
        (("estimate", "--sweep", "rank=4,4"), "is not OPTION=VALUE"),
        (("estimate", "--sweep", "rank=4,8,04"), "--sweep rank: 04 is there twice"),
        (("estimate", "--sweep", "up-density=1/4,0.25"), "--sweep up-density: 0.25 is there twice"),
        (("estimate", "--sweep", "seed=1,2"), "this option has no sweep"),
        (("estimate", "--sweep", "colour=1,2"), "unknown option 'colour'"),
        (("estimate", "--out", "x.png"), "--out draws a sweep"),
        (("estimate", "--sweep", "rank=1,2", "--out", "x.pdf"), "must end in .png"),
        (("estimate", "--targets", "q,foo"), "'foo' matches no module"),
        (("estimate", "--rank", "0"), "rank 0 is out of range"),
        (("estimate", "--method", "full"), "method 'full' trains no adapters"),
        (("check-app", "nowhere"), "nowhere"),
        (("check-app", ".", "--targets", "q,foo"), "'foo' matches no module"),
        (("check-app", ".", "--budget", "many"), "many"),
    ],
)
def test_bad_input_is_one_line(call, words, said):
    code, out, err = call(*words)

    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


def test_an_app_that_leaves_something_out_says_which_option_to_give(call):
    Path("pyproject.toml").write_text(APP.split("[tool.flwr.federations")[0], encoding="utf-8")
    code, _, err = call("check-app", ".")

    assert code == 2
    assert "does not state options.num-supernodes" in err
    assert "give --clients" in err
