import json
from dataclasses import replace

import numpy as np
import pytest

from floss_sim.analysis.backbone_lookup import backbone_model
from floss_sim.analysis.deployment import Deployment
from floss_sim.analysis.deployment_settings import deployment_of
from floss_sim.analysis.estimate import estimate
from floss_sim.errors import ConfigError, FlossError, LayoutError
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.methods import dense, floss
from floss_sim.network import load_profile
from floss_sim.network.profile import EnergySection, PricesSection
from floss_sim.runs.config import RunConfig
from floss_sim.runs.lockstep import size_only
from floss_sim.runs.size_only_learner import SameExamples
from floss_sim.tasks import load_task

SMALL = {"backbone": "smollm2-135m", "rank": 4, "network": "paper-200-20", "rounds": 7,
         "clients": 20, "cohort": 5}  # fmt: skip


def estimated(**settings):
    return estimate(deployment_of({**SMALL, **settings}))


def test_entries_and_dense_bytes_are_those_of_the_shapes():
    made = estimated(targets="q,v", dora=True)

    q, v = 4 * (576 + 576) + 576, 4 * (576 + 192) + 192
    assert made.trained.entries == 30 * (q + v)
    assert made.dense_numpy_bytes == 4 * 30 * (q + v) + 128 * 180


def test_bytes_and_seconds_are_those_of_a_size_only_run():
    task = load_task("digits")
    method = floss(1 / 4, 1 / 16)
    config = RunConfig.of(task, method, rank=4).with_(fleet={"clients": 30}, server={"cohort": 6})
    profile = load_profile("lte")
    record = size_only(config, profile, rounds=9, examples=SameExamples(30, 40))
    model = replace(
        backbone_model(str(task.backbone_path), "image-classification", task.labels),
        name="digits",
    )
    given = replace(
        deployment_of({**SMALL, "rounds": 9, "examples": 40}),
        model=model, method=method, profile=profile, clients=30, cohort=6, seed=config.seed,
        adapters=deployment_of({**SMALL, "targets": ",".join(task.lora.targets)}).adapters,
    )  # fmt: skip
    made = estimate(given)

    down = record.transfers.filter(np.asarray(record.transfers["direction"]) == "down")
    assert made.traffic.down.ravel().tolist() == down["nbytes"].to_pylist()
    assert made.time.seconds[0] == pytest.approx(
        record.rounds["closed_at_s"].to_pylist()[-1], rel=1e-9
    )


def test_patterns_change_ranks_of_some_modules():
    made = estimated(rank_pattern="v_proj=2", targets="q,v")

    assert made.trained.entries == 30 * (4 * (576 + 576) + 2 * (576 + 192))


def test_a_round_of_equal_links_takes_its_bytes_over_their_rates():
    made = estimated(down_density="1/4", up_density="1/16", examples=1)

    down, up = made.message("down"), made.message("up")
    round_s = 8 * down.link / 200e6 + 8 * up.link / 20e6
    assert made.time.median_s == pytest.approx(7 * round_s)
    assert made.shares["download"] == pytest.approx(8 * down.link / 200e6 / round_s)
    assert sum(made.shares.values()) == pytest.approx(1)
    assert made.time.draws == 1
    assert estimated(up_density="1").binding == "upload"


def test_steps_that_are_no_passes_over_examples_are_compute():
    made = estimated(method="fedkseed", candidate_seeds=64, local_steps=8, network="phone-wifi")

    assert made.binding == "compute"
    assert made.shares["compute"] == pytest.approx(7 * made.client_compute_s / made.time.median_s)


def test_totals_are_sums_of_messages():
    made = estimated(down_density="1/4")

    sent = made.traffic.down.sum() + made.traffic.up.sum()
    told = made.to_json()
    assert told["bytes_of_run"] == sent
    assert told["bytes_per_round"] == sent / 7
    assert told["bytes_per_client_round"] == sent / 35
    assert told["bytes_per_client"] == sent / 20
    assert told["dense_numpy_bytes_of_run"] == 70 * made.dense_numpy_bytes


def test_energy_and_money_follow_the_profile():
    profile = load_profile("wifi").model_copy(
        update={
            "energy": EnergySection(joules_per_mb_down=2, joules_per_mb_up=3, compute_watts=4),
            "prices": PricesSection(currency="EUR", per_gb_down=5, per_gb_up=7, per_joule=0.01),
        }
    )
    made = estimate(replace(deployment_of(SMALL), profile=profile, examples=10))

    down, up = made.traffic.down.sum(), made.traffic.up.sum()
    compute_s = 35 * 10 * 0.005
    energy_j = down / 1e6 * 2 + up / 1e6 * 3 + compute_s * 4
    assert made.energy_j == pytest.approx(energy_j)
    assert made.money == pytest.approx(down / 1e9 * 5 + up / 1e9 * 7 + energy_j * 0.01)


def test_tiers_have_messages_of_their_own():
    made = estimated(method="hetlora", tiers="1:4,1:1", clients=20, cohort=20)

    first, *later = made.traffic.down
    assert len(np.unique(first)) == len(np.unique(later)) == 2
    for sizes, clients in zip(made.traffic.down, made.traffic.clients, strict=True):
        assert (sizes[clients < 10] > sizes[clients >= 10].max()).all()
    assert first.max() < np.max(later)  # B is zero at first, and is not sent


def test_an_estimate_beyond_the_recorded_runs_says_so():
    assert estimated(rank=16).is_beyond_recorded
    assert not estimated(rank=1, targets="q", depth=2).is_beyond_recorded


def test_ffa_sends_no_a():
    assert estimated(method="ffa").trained.entries == 30 * 4 * (576 + 192)


@pytest.mark.parametrize(("method", "entries"), [("fed-sb", 16), ("ravan", 4)])
def test_square_layouts_send_the_blocks_of_r(method: str, entries: int):
    """Fed-SB of rank 4 has 4 x 4 values a module, four heads of Ravan have one each."""
    made, low = estimated(method=method), estimated(method="ffa")
    assert made.trained.entries == 60 * entries
    # The products of R and B, and of their gradients, are once a step: B has 576 or 192 rows.
    extra = 4 * entries * 30 * (576 + 192)
    assert made.traffic.work.operations.per_step == extra
    assert made.traffic.work.operations.of_example == low.traffic.work.operations.of_example


@pytest.mark.parametrize("method", ["flora", "fedex-lora"])
def test_changes_of_the_backbone_travel_down_and_do_not_train(method: str):
    """A client of the first round misses nothing; later ones get factors or the weights."""
    made, lora = estimated(method=method), estimated(method="dense")
    assert made.trained.entries == lora.trained.entries
    assert made.traffic.work == lora.traffic.work
    down = made.traffic.down
    weights = 4 * 30 * 576 * (576 + 192)
    assert down[0].max() <= 4 * lora.trained.entries
    assert lora.traffic.down.max() < down[-1].max() < 1.2 * weights
    assert made.traffic.up.max() <= 1.01 * lora.traffic.up.max()


def test_numpy_messages_are_dense_both_ways():
    made = estimated(up_density="1/64").with_numpy_messages()

    assert set(made.traffic.down.ravel()) == set(made.traffic.up.ravel())
    assert made.run_bytes == 70 * made.dense_numpy_bytes


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backbone": "gpt5"}, "'gpt5' is not packaged .* or add --fetch"),
        (
            {"backbone": "someone/Qwen2.5-0.5B-tuned"},
            "of the same sizes may be 'qwen2.5-0.5b', which is packaged",
        ),
        ({"backbone": "vit-base-16", "kind": "next-token"}, "does not support next-token; valid"),
        ({"kind": "speech"}, "unknown kind 'speech'"),
        ({"cohort": 21}, "cohort of 21 clients; valid: 1 to the fleet's 20"),
        ({"rank": 577}, "rank 577 does not fit"),
        ({"rank": "x"}, "rank 'x' is not a number"),
        ({"dora": "maybe"}, "dora 'maybe' is neither yes nor no"),
        ({"rank_pattern": "q"}, "rank-pattern 'q' is not NAME=NUMBER"),
        ({"rank_pattern": "q=x"}, "rank-pattern 'q=x' is not NAME=NUMBER"),
        ({"layers": "a"}, "layers 'a' are not numbers"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; valid: fp32, bf16, int8, int4"),
        ({"method": "bitfit"}, "method 'bitfit' trains no adapters"),
        ({"method": "ffa", "dora": True}, "method 'ffa' cannot hold DoRA"),
        ({"method": "hetlora", "dora": True}, "method 'hetlora' cannot hold DoRA"),
        ({"method": "dense", "density": "1/4"}, "has no option 'density'"),
        ({"method": "ravan", "heads": "3"}, "no multiple of 3 heads; valid heads: 1, 2"),
        ({"method": "ecolora", "segments": 10**9}, "1000000000 segments; valid: 1 to "),
        ({"method": "fedex-lora", "residual_rank": "577"}, "residual rank 577; valid: 0 to 576"),
        ({"method": "ecolora", "half_life": "soon"}, "--half-life 'soon' is not a number"),
        ({"colour": "red"}, "unknown option 'colour'; valid: a_density, alpha, alph"),
        ({"rounds": 0}, "rounds 0; valid: whole numbers from 1 to 100000"),
        ({"tokens": 10**8}, "tokens 100000000; valid: whole numbers from 1 to 10000000"),
        ({"clients": 10**5, "cohort": 10**4, "rounds": 1000}, "more than 2,000,000 dispatches"),
        ({"alpha": "nan"}, "alpha nan is out of range"),
        ({"alpha": 0}, "alpha 0 is out of range"),
        ({"dora": True, "lora_bias": True}, "DoRA adapters cannot have a bias of B"),
        ({"targets": "embed_tokens", "lora_bias": True}, "cannot have a bias"),
        ({"labels": -3, "kind": "text-classification"}, "-3 classes; valid: 1 to 100000"),
        ({"depth": 31}, "more than the model's 30 layers"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(FlossError, match=said) as raised:
        estimated(**settings)
    assert isinstance(raised.value, ConfigError)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rounds": 1.5}, "rounds 1.5; valid: whole numbers from 1"),
        ({"clients": "5"}, "clients '5'; valid: whole numbers from 1"),
        ({"cohort": True}, "cohort True; valid: whole numbers from 1"),
        ({"seed": -1}, "seed -1; valid: whole numbers from 0"),
    ],
)
def test_numbers_of_a_wrong_type_are_refused(settings, said):
    model, adapters = backbone_model("gpt2"), AdapterSettings(targets=("qkv",))
    with pytest.raises(ConfigError, match=said):
        Deployment(model, adapters, dense(), load_profile("lte"), **settings)


def test_a_local_config_serves_too(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOSS_SIM_LAYOUTS", str(tmp_path / "layouts"))
    config = {"model_type": "qwen2", "hidden_size": 8, "num_hidden_layers": 2,
              "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 12,
              "vocab_size": 20}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    for name in (tmp_path, tmp_path / "config.json"):
        made = estimated(backbone=str(name), rank=2)
        assert made.trained.entries == 2 * (2 * (8 + 8) + 2 * (8 + 4))
        assert made.deployment.model.kind == "next-token"


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, "next-token"),
        ({"architectures": ["Qwen2ForSequenceClassification"]}, "text-classification"),
        ({"patch_size": 4}, "image-classification"),
        ({"vision_config": {}, "architectures": ["GemmaForConditionalGeneration"]}, "next-token"),
        ({"architectures": 5}, "next-token"),
    ],
)
def test_the_kind_of_a_config_is_guessed_from_its_keys(tmp_path, more, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", **more}))

    assert backbone_model(str(tmp_path)).kind == kind


def test_labels_must_fit_the_kind():
    with pytest.raises(LayoutError, match="next-token has none"):
        replace(backbone_model("gpt2"), labels=2)
