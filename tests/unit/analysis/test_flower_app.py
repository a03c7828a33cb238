import os

import pytest

from floss_sim.analysis.flower_app import read_flower_app
from floss_sim.errors import ConfigError

APP = """
[project]
name = "my-app"

[tool.flwr.app.config]
model.name = "HuggingFaceTB/SmolLM2-135M"
model.quantization = 4
model.lora.peft-lora-r = 8
model.lora.peft-lora-alpha = 64
train.seq-length = 512
train.training-arguments.per-device-train-batch-size = 16
train.training-arguments.max-steps = 10
strategy.fraction-fit = 0.1
strategy.fraction-evaluate = 0.0
num-server-rounds = 100

[tool.flwr.app.config.static]
dataset.name = "a/b"

[tool.flwr.federations]
default = "local-simulation"

[tool.flwr.federations.local-simulation]
options.num-supernodes = 20
"""


def read(tmp_path, text=APP, **changes):
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    return read_flower_app(tmp_path)


def test_an_app_of_the_template_is_read(tmp_path):
    app = read(tmp_path)

    assert app.settings() == {
        "backbone": "HuggingFaceTB/SmolLM2-135M", "rank": 8, "alpha": 64.0, "dora": False,
        "rounds": 100, "clients": 20, "tokens": 512, "batch": 16, "examples": 160,
        "precision": "int4", "checkpointing": False,
    }  # fmt: skip
    assert (app.name, app.fraction, app.cohort(20)) == ("my-app", 0.1, 2)


@pytest.mark.parametrize(
    ("clients", "fraction", "cohort"),
    [(20, "0.1", 2), (10, "0.1", 2), (1, "0.5", 1), (50, "0.15", 7), (20, "1", 20), (20, "0", 2)],
)
def test_a_cohort_is_the_fraction_rounded_down_but_at_least_two(
    tmp_path, clients, fraction, cohort
):
    text = APP.replace("fraction-fit = 0.1", f"fraction-fit = {fraction}")

    assert read(tmp_path, text).cohort(clients) == cohort


def test_a_fraction_of_zero_asks_two(tmp_path):
    text = APP.replace("fraction-fit = 0.1", "fraction-train = 0.0\nstrategy.fraction-fit = 0.5")

    assert read(tmp_path, text).cohort(100) == 2


def test_the_key_itself_counts_before_keys_that_end_like_it(tmp_path):
    text = APP.replace("model.name =", 'aaa.model.name = "gpt2"\nmodel.name =')

    assert read(tmp_path, text).model == "HuggingFaceTB/SmolLM2-135M"


def test_gradient_accumulation_multiplies_the_batches_of_a_step(tmp_path):
    more = "train.training-arguments.gradient-accumulation-steps = 8\nnum-server-rounds"

    assert read(tmp_path, APP.replace("num-server-rounds", more)).steps == 80
    assert read(tmp_path, APP.replace("max-steps = 10", "max-steps = -1")).steps is None


@pytest.mark.parametrize("name", ["./model", "model", "../model"])
def test_a_relative_path_of_a_model_starts_at_the_folder_of_the_app(tmp_path, name):
    (tmp_path / "model").mkdir()
    app = read(tmp_path, **{"HuggingFaceTB/SmolLM2-135M": name})

    assert app.model == str(tmp_path / name)
    assert read(tmp_path, **{"HuggingFaceTB/SmolLM2-135M": "n" * 5000}).model == "n" * 5000


@pytest.mark.parametrize(("bits", "precision"), [(4, "int4"), (8, "int8"), (0, "bf16")])
def test_quantisation_is_the_precision_of_the_weights(tmp_path, bits, precision):
    text = APP.replace("quantization = 4", f"quantization = {bits}")

    assert read(tmp_path, text).settings()["precision"] == precision


def test_gradient_checkpointing_is_read(tmp_path):
    more = "model.gradient-checkpointing = true\nmodel.quantization"

    assert read(tmp_path, APP.replace("model.quantization", more)).settings()["checkpointing"]


def test_no_fraction_means_all_clients(tmp_path):
    assert read(tmp_path, APP.replace("strategy.fraction-fit = 0.1\n", "")).cohort(20) == 20


def test_newer_spellings_are_read(tmp_path):
    text = APP.replace("fraction-fit", "fraction_train").replace("peft-lora-r", "peft_lora_r")
    more = 'model.lora.peft-use-dora = true\nmodel.lora.target_modules = "q_proj, v_proj"\n'

    app = read(tmp_path, text.replace("num-server-rounds", more + "num-server-rounds"))
    assert (app.fraction, app.rank, app.dora, app.targets) == (0.1, 8, True, ("q_proj", "v_proj"))


def test_the_only_federation_is_the_default(tmp_path):
    assert read(tmp_path, APP.replace('default = "local-simulation"\n', "")).clients == 20


def test_an_app_without_federations_leaves_the_clients_open(tmp_path):
    app = read(tmp_path, APP[: APP.index("[tool.flwr.federations]")])

    assert app.clients is None
    assert "clients" not in app.settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no Flower app"),
        ("[tool.flwr.app]\nconfig = 3", "no Flower app"),
        (APP.replace("peft-lora-r = 8", "peft-lora-r = 0"), "peft-lora-r is 0"),
        (APP.replace("peft-lora-r = 8", "peft-lora-r = 2.5"), "lora-r is 2.5, not a whole number"),
        (APP.replace("peft-lora-r = 8", "peft-lora-r = true"), "lora-r is True, not a whole numb"),
        (APP.replace('"HuggingFaceTB/SmolLM2-135M"', "3"), "model.name is 3, not a text"),
        (APP.replace("fraction-fit = 0.1", 'fraction-fit = "x"'), "'x', not a number"),
        (APP.replace("fraction-fit = 0.1", "fraction-fit = 7"), "fraction of 7 of the clients"),
        (APP.replace("fraction-fit = 0.1", "fraction-fit = inf"), "fraction-fit is inf"),
        (APP.replace("peft-lora-r = 8", "peft-lora-r = inf"), "peft-lora-r is inf"),
        (APP.replace("quantization = 4", "quantization = 5"), "is 5; valid: 4 or 8 bits"),
        (APP.replace("num-supernodes = 20", "num-supernodes = 0"), "num-supernodes is 0"),
        (
            APP.replace("num-server", "lora.target-modules = [1]\nnum-server"),
            r"target-modules is \[1\], not a list of names",
        ),
    ],
)
def test_an_app_that_cannot_be_read_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said) as raised:
        read(tmp_path, text)
    assert "pyproject.toml" in str(raised.value)


def test_a_folder_without_an_app_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"pyproject\.toml"):
        read_flower_app(tmp_path)


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_of_a_model_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"model.name is empty; valid: a hub id or a path"):
        read(tmp_path, **{"HuggingFaceTB/SmolLM2-135M": name})


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pyproject.toml")

    with pytest.raises(ConfigError, match=r"pyproject.toml is not a regular file"):
        read_flower_app(tmp_path)
