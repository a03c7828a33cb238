"""Compute of client classes: devices, peak rates, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from floss_sim import AdapterSettings, backbone_model, load_profile
from floss_sim.analysis.stragglers import link_text
from floss_sim.errors import ProfileError
from floss_sim.families.operations import Operations, count_operations
from floss_sim.network.devices.compute import EFFICIENCY
from floss_sim.network.devices.device_class import load_device, packaged_devices
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.network.devices.speed import DeviceSpeed
from floss_sim.network.kept_profile import profile_of_text, profile_text

WORK = LocalWork(Operations(3e9, 1e9, per_step=5e8), batch=4, epochs=2)
PHONE = """name = "phone"
source = "a test"
date = "2026"
measured = "by hand"
step = "2 s"
[rates]
fp32 = "2 GFLOP/s"
bf16 = "8 GFLOP/s"
"""


def profile(tmp_path: Path, compute: str, law: str = "") -> Path:
    path = tmp_path / "mine.toml"
    head = 'name = "mine"\nsource = "s"\ndate = "d"\n'
    figures = 'down = "8 Mbit/s"\nup = "8 Mbit/s"\nrtt = "0 ms"\n'
    clients = (
        f'[fleet]\nlaw = "lognormal"\n{figures}' if law else f"[[clients]]\nshare = 1.0\n{figures}"
    )
    path.write_text(f"{head}{clients}{compute}\n", encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ProfileError) as error:
        load_profile(str(path))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_client_with_a_device_computes_its_operations_over_the_rate(tmp_path: Path):
    (tmp_path / "phone.toml").write_text(PHONE, encoding="utf-8")
    link = load_profile(str(profile(tmp_path, 'compute = { device = "phone.toml" }'))).links(1)[0]
    # 2 epochs of 5 examples in batches of 4: 2 x 2 steps; 10 examples of 4 GFLOP
    assert link.compute_s(10, WORK) == pytest.approx(4 * 2 + (10 * 4e9 + 4 * 5e8) / 2e9, rel=1e-12)
    assert link.compute_s(0, WORK) == 0


def test_a_rate_with_an_efficiency_is_the_law_for_devices_without_a_class(tmp_path: Path):
    given = 'compute = { flops = "120 GFLOP/s", efficiency = 0.25 }'
    link = load_profile(str(profile(tmp_path, given))).links(1)[0]
    assert link.compute_s(10, WORK) == pytest.approx((10 * 4e9 + 4 * 5e8) / 30e9, rel=1e-12)
    plain = load_profile(str(profile(tmp_path, 'compute = { flops = "120 GFLOP/s" }'))).links(1)[0]
    assert plain.device.operations_per_s("fp32") == EFFICIENCY * 120e9


def test_a_precision_that_is_not_stated_has_the_rate_of_the_next_wider_one():
    both = DeviceSpeed("both", (("bf16", 8.0), ("fp32", 2.0)))
    assert [both.operations_per_s(p) for p in ("int4", "int8", "bf16", "fp32")] == [8, 8, 8, 2]
    narrow = DeviceSpeed("narrow", (("int8", 5.0), ("bf16", 3.0)))
    assert [narrow.operations_per_s(p) for p in ("int4", "fp32")] == [5, 3]


def test_a_spread_is_drawn_for_each_client_and_shows_in_the_mean(tmp_path: Path):
    path = profile(tmp_path, 'compute = { device = "snapdragon-778g", sigma = 0.5 }', law="yes")
    made = load_profile(str(path))
    assert made.draws == ("links",)
    slowness = [link.device.slowness for link in made.links(400)]
    assert len(set(slowness)) == 400
    slowest = max(made.links(400), key=lambda link: link.device.slowness)
    said = f"snapdragon-778g ({slowest.device.slowness:.2g} times its seconds)"
    assert link_text(slowest).endswith(said)
    assert link_text(load_profile("phone-wifi").links(1)[0]).endswith("up, snapdragon-778g")
    assert sorted(slowness)[200] == pytest.approx(1, rel=0.1)


def test_the_published_step_takes_its_published_seconds():
    model = backbone_model("gemma-3-270m")
    trained = model.trained_model(AdapterSettings(rank=8, targets=("q", "v"))).tensors
    operations = count_operations(model.full_table(), model.config, trained, 128)
    link = load_profile("phone-wifi").links(1)[0]
    assert link.compute_s(1, LocalWork(operations, batch=1)) == pytest.approx(229.5, rel=1e-6)


@pytest.mark.parametrize("name", packaged_devices())
def test_a_packaged_device_states_its_source_and_fits_its_own_steps(name: str):
    device = load_device(name)
    assert device.name == name
    assert device.steps
    for step in device.steps:
        said = device.speed.seconds(1, step.operations, step.precision)
        assert said == pytest.approx(step.seconds, rel=(device.error or 0) + 1e-3)


def test_a_profile_with_devices_is_kept_by_value(tmp_path: Path):
    (tmp_path / "phone.toml").write_text(PHONE, encoding="utf-8")
    for given in (
        'device = "phone.toml"',
        'flops = "3 TFLOP/s"',
        f'device = "{tmp_path}/phone.toml"',
    ):
        made = load_profile(str(profile(tmp_path, f"compute = {{ {given}, sigma = 0.1 }}")))
        text = profile_text(made)
        assert str(tmp_path) not in text
        again = profile_of_text(text, "a text")
        assert again.settings() == made.settings()
        assert again.links(3)[2] == made.links(3)[2]


def test_a_rate_of_rows_comes_from_the_profile(tmp_path: Path):
    rows = "down_bits_per_s,up_bits_per_s,rtt_s\n1e6,1e6,0\n2e6,2e6,0\n"
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    path = tmp_path / "mine.toml"
    fleet = '[fleet]\nlaw = "table"\nfile = "rows.csv"\ncompute = { flops = "1 GFLOP/s" }\n'
    path.write_text(f'name = "mine"\nsource = "s"\ndate = "d"\n{fleet}', encoding="utf-8")
    made = load_profile(str(path))
    assert made.has_devices
    assert made.links(2)[1].compute_s(10, WORK) == pytest.approx(42e9 / (EFFICIENCY * 1e9))
    assert profile_of_text(profile_text(made), "a text").settings() == made.settings()


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        ('compute = { device = "nokia" }', "unknown device class 'nokia'; valid: "),
        ('compute = { device = "nokia" }', "snapdragon-778g, "),
        ('compute = { device = "no.toml" }', "no.toml"),
        ('compute = { flops = "120" }', "is not a number with a unit, such as '120 GFLOP/s'"),
        ("compute = { flops = 120 }", "is not a number with a unit, such as '120 GFLOP/s'"),
        ('compute = { flops = "120 Gbit/s" }', "valid units: FLOP/s, MFLOP/s, GFLOP/s"),
        ('compute = { flops = "0 GFLOP/s" }', "must be above zero"),
        ('compute = { flops = "-1 GFLOP/s" }', "must be above zero"),
        ('compute = { flops = "1e30 GFLOP/s" }', "is out of range; valid: 1000 to 1e+21 FLOP/s"),
        ('compute = { flops = "1 GFLOP/s", efficiency = 1.5 }', "less than or equal to 1"),
        ("compute = { }", 'give a device = "NAME" or flops = "120 GFLOP/s", one of the two'),
        ('compute = { device = "snapdragon-778g", flops = "1 GFLOP/s" }', "one of the two"),
        ('compute = { device = "snapdragon-778g", efficiency = 0.5 }', "rates are measured"),
        ('compute = { speed = "1 GFLOP/s" }', "unknown key; valid: device, flops, efficiency"),
        ('compute = { flops = "1 GFLOP/s" }\ncompute_per_example = "1 ms"', "one of the two"),
    ],
)  # fmt: skip
def test_a_wrong_compute_is_refused_in_one_line(tmp_path: Path, compute: str, said: str):
    assert said in refusal(profile(tmp_path, compute))
    assert said in refusal(profile(tmp_path, compute, law="yes"))


def test_a_link_with_a_device_needs_operations():
    link = load_profile("phone-wifi").links(1)[0]
    with pytest.raises(ProfileError, match="does not state the operations of its training"):
        link.compute_s(10)
