"""Bad input: one line that says what and what would be valid, exit code 2, nothing left behind."""

from __future__ import annotations

import json
import random
import time

import commands
import pytest
from made_plans import whole_plan
from wrong_command_lines import wrong_command_lines

PROFILE = """
name = "x"
source = "x"
date = "x"
[[clients]]
share = 1.0
down = "200 Mbit/s"
up = "20 Mbit/s"
rtt = "0 ms"
compute_per_example = "0 ms"
"""


def call(monkeypatch, capfd, tmp_path, command: str, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.chdir(tmp_path)
    return commands.call(monkeypatch, capfd, command, *arguments)


MANY = ",".join(f"1/{number}" for number in range(1, 200))
RUN, PLAN, ACCOUNT = ("floss-sim", "run"), ("floss-plan",), ("floss-sim", "account")


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        (PLAN, ["--budget", "50EUR", "--network", "lte"], "needs prices, which lte lacks; add [pr"),
        (PLAN, ["--budget", "500kJ", "--network", "lte"], "needs energy, which lte lacks; add [en"),
        (PLAN, ["--budget", "500"], "cannot read budget '500'; valid: 50-dense-rounds, 2GB"),
        (PLAN, ["--budget", "5%battery", "--battery", "15"], "energy '15' is not a number with a"),
        (PLAN, ["--budget", "5%battery"], "needs energy, which paper-200-20 lacks"),
        (PLAN, ["--budget", "20MB", "--battery", "15Wh"], "--battery belongs to a budget such as"),
        (PLAN, ["--budget", "100B/device"], "affords no round of any candidate; a round of the"),
        (PLAN, ["--budget", "2GB/month"], "lacks the rounds of a day; give --rounds-per-day 24"),
        (
            PLAN,
            ["--budget", "2GB", "--rounds-per-day", "3"],
            "--rounds-per-day belongs to a budget",
        ),
        (PLAN, ["--scale-up", "0"], "scale-up: factor 0 is out of range; valid: 1e-06 to 1e+06"),
        (RUN, ["--task", "mnist"], "valid: 20newsgroups, cifar10, digits, reddit"),
        (RUN, ["--network", "dialup"], "valid: 3g, 5g, broadband, cable, lte"),
        (RUN, ["--method", "fedlora"], "valid: floss, dense"),
        (RUN, ["--speed", "9"], "No such option: --speed"),
        (RUN, ["--rank", "0"], "valid: 1 to the smaller side of each adapted module"),
        (RUN, ["--rank", "65"], "valid: 1 to 64"),
        (RUN, ["--rank", "four"], "--rank"),
        (RUN, ["--down-density", "0"], "outside (0, 1]"),
        (RUN, ["--up-density", "1.5"], "outside (0, 1]"),
        (RUN, ["--up-density", "1/0"], "1/4"),
        (RUN, ["--up-density", "lots"], "1/4"),
        (RUN, ["--method", "dense", "--up-density", "1/4"], "floss"),
        (RUN, ["--rounds", "0"], "--rounds"),
        (RUN, ["--seed", "-1"], "seed"),
        (RUN, ["--cohort", "51"], "50"),
        (RUN, ["--clients", "5000"], "1097"),
        (RUN, ["--partition", "sorted"], "iid, dirichlet"),
        (RUN, ["--alpha", "0"], "alpha"),
        (RUN, ["--client-lr", "nan"], "learning_rate"),
        (RUN, ["--client-lr", "1e300"], "learning_rate: Input should be less than or equal to 100"),
        (RUN, ["--server-lr", "1e38"], "learning_rate: Input should be less than or equal to 100"),
        (RUN, ["--set", "lora.alpha=1e300"], "lora.alpha: Input should be less than or equal to "),
        (RUN, ["--set", "server.tau=1e16"], "server.tau: Input should be less than or equal to 10"),
        (RUN, ["--set", "server.weight_decay=1e7"], "server.weight_decay: Input should be less th"),
        (RUN, ["--set", "preprocess.mean=[1e31]"], "preprocess.mean.0: Input should be less than "),
        (RUN, ["--set", "preprocess.std=[1e-31]"], "preprocess.std.0: Input should be greater tha"),
        (RUN, ["--upload-ratio", "0"], "above zero"),
        (RUN, ["--device", "abacus"], "auto, cpu, cuda, mps"),
        (RUN, ["--learner", "swarm"], "bank, sequential"),
        (RUN, ["--server-optimizer", "sgd"], "fedadam"),
        (RUN, ["--weighting", "size"], "examples"),
        (RUN, ["--scope", "layer"], "valid: global, tensor"),
        (RUN, ["--pick", "smallest"], "valid: largest, random"),
        (
            RUN,
            ["--up-values", "int2"],
            "--up-values 'int2' is unknown; valid: fp32, fp16, bf16, int8, int4, tail, sign",
        ),
        (RUN, ["--down-values", "fp8"], "--down-values 'fp8' is unknown; valid: fp32, fp16"),
        (RUN, ["--density", "1/4"], "method 'floss' has no option 'density'"),
        (RUN, ["--method", "dense", "--mask-ledger"], "downloads whose mask is sent"),
        (RUN, ["--method", "adapter-lth", "--factor", "2"], "outside (0, 1]"),
        (RUN, ["--method", "floss-tiers", "--tiers", "1:1"], "cannot read tiers"),
        (RUN, ["--method", "hetlora", "--tiers", "1:16,1:8", "--rank", "8"], "rank 8"),
        (RUN, ["--method", "hetlora", "--divisor", "all"], "valid: cohort, covering"),
        (RUN, ["--method", "ecolora", "--segments", "0"], "0 segments; valid: 1 or more"),
        (RUN, ["--method", "ecolora", "--segments", "10000000"], "segments; valid: 1 to "),
        (RUN, ["--method", "ecolora", "--half-life", "0"], "half-life of 0 rounds; valid: finite,"),
        (RUN, ["--method", "ecolora", "--half-life", "inf"], "half-life of inf rounds; valid: "),
        (RUN, ["--method", "fedex-lora", "--residual-rank", "65"], "residual rank 65; valid: 0 to"),
        (RUN, ["--method", "freezing", "--freeze-every", "0"], "valid: 1 or more"),
        (RUN, ["--method", "flexlora", "--product-rate", "0"], "product rate 0; valid: above 0"),
        (RUN, ["--method", "flexlora", "--error-feedback"], "changes the basis of B"),
        (RUN, ["--method", "lora-fair", "--penalty", "inf"], "penalty inf; valid: a finite"),
        (RUN, ["--method", "fedsvd", "--rebase-every", "-1"], "every -1 rounds; valid: 0 (never)"),
        (RUN, ["--method", "fslora", "--density", "2"], "--density: density '2' is outside"),
        (RUN, ["--method", "head", "--rank", "4"], "method 'head' has no adapters"),
        (
            RUN,
            ["--method", "fedkseed", "--server-lr", "1"],
            "the server of method 'fedkseed' averages",
        ),
        (RUN, ["--method", "head", "--set", 'lora.targets=["zz"]'], "zz"),
        (RUN, ["--method", "floss-tiers", "--tiers", "1:1:1,999:1:1"], "tier 1 of method"),
        (RUN, ["--method", "floss-tiers", "--tiers", "abc"], "share:down:up per tier"),
        (RUN, ["--down-density", "2"], "--down-density: density '2'"),
        (RUN, ["--threads", "100000000"], "--threads"),
        (RUN, ["--policy", "soon"], "valid: wait-all, first-k:K, deadline:SECONDS"),
        (RUN, ["--policy", "first-k:6"], "reports 6 is invalid; valid: 1 to 5, the size"),
        (RUN, ["--policy", "deadline:30s:6"], "minimum 6 is invalid; valid: 1 to 5, the size"),
        (RUN, ["--policy", "deadline:1ms", "--network", "lte"], "no client can meet 1 ms"),
        (RUN, ["--late", "finish"], "with policy wait-all; valid: cancel or finish"),
        (ACCOUNT, ["nowhere"], "floss-sim: no run folder at nowhere\n"),
        (ACCOUNT, ["nowhere", "--by", "day"], "valid: round, client, participation"),
        (ACCOUNT, ["nowhere", "--by", "client"], "rows of --csv or --json; give one of these"),
        (ACCOUNT, [__file__], "is not a run folder (it has no run.json)\n"),
        (
            ("floss-sim",),
            [],
            "missing command: run, compare, replay, report, account, estimate, check-app",
        ),
        (("floss-sim",), ["wire"], "missing command: table or inspect\n"),
        (("floss-sim",), ["task"], "missing command: check\n"),
        (PLAN, ["--budget", "many"], "50-dense-rounds, 2GB"),
        (PLAN, ["--budget", "10B"], "affords no round"),
        (PLAN, ["--effort", "0", "--dry-run"], "--effort 0 trains nothing: no --dry-run\n"),
        (PLAN, ["--effort", "0", "--tune-lr"], "--effort 0 trains nothing: no --tune-lr\n"),
        (PLAN, ["--tune-lr", "--no-lr-test"], "needs the test of learning rates: no --no-lr-test"),
        (PLAN, ["--tune-lr", "--client-lrs", "0.1"], "give one of both"),
        (PLAN, ["--server-lrs", "0.1", "--set", "server.learning_rate=0.2"], "fixes it; give one"),
        (PLAN, ["--client-lrs", "0.1,nan"], "client learning rate nan; valid: a finite number"),
        (PLAN, ["--task", "mnist"], "valid: 20newsgroups, cifar10, digits, reddit"),
        (PLAN, ["--network", "dialup"], "valid: 3g, 5g, broadband, cable, lte"),
        (PLAN, ["--ranks", "1,two"], "integers"),
        (PLAN, ["--ranks", "0,4"], "valid: 1 to the smaller side of each adapted module"),
        (PLAN, ["--ranks", ""], "no candidate"),
        (PLAN, ["--down-densities", "2"], "outside (0, 1]"),
        (PLAN, ["--effort", "1.5"], "outside [0, 1]"),
        (PLAN, ["--effort", "0.0001"], "finish"),
        (PLAN, ["--max-rounds", "0"], "at least 1"),
        (PLAN, ["--max-rounds", "10000000"], "at most 50000"),
        (PLAN, ["--max-rounds", "50000"], "valid: at most 10000000; search fewer candidates"),
        (PLAN, ["--budget", "999999-dense-rounds"], "valid: at most 50000 rounds"),
        (PLAN, ["--clients", "1000000000"], "valid: 1 to 1097"),
        (PLAN, ["--workers", "1000000"], "--workers"),
        (PLAN, ["--epochs", "1000000000"], "less than or equal to 100"),
        (
            PLAN,
            ["--ranks", ",".join(map(str, range(1, 65))), "--down-densities", MANY],
            "at most 2000",
        ),
        (RUN, ["--rounds", "1000000000"], "10000000"),
        (RUN, ["--epochs", "1000000000"], "less than or equal to 100"),
        (RUN, ["--clients", "1000000000"], "valid: 1 to 1097"),
        (RUN, ["--set", "data.classes=1000000000"], "less than or equal to 100000"),
        (RUN, ["--set", "data.limit=" + "[" * 900], "data.limit"),
        (RUN, ["--set", "a." * 500 + "b=1"], "more than 32 parts"),
        (PLAN, ["--effort", "3parsec"], "0.2, or time such as 10min"),
        (PLAN, ["--effort", "0min"], "0.2, or time such as 10min"),
        (PLAN, ["--effort", "0.0001"], "--effort 0.0036 is enough"),
        (PLAN, ["--target", "0.9", "--pareto"], "give one"),
        (PLAN, ["--target", "0"], "outside (0, 1]"),
        (PLAN, ["--target", "90"], "outside (0, 1]; 0.9 is 90 % accuracy"),
        (PLAN, ["--target", "high"], "--target"),
        (PLAN, ["--budget", "36h@0%"], "'0%' is not a confidence; valid: above 0 and below 100 %"),
        (PLAN, ["--budget", "36h@100%"], "not a confidence"),
        (PLAN, ["--budget", "36h@"], "not a confidence"),
        (PLAN, ["--budget", "2GB@95%"], "cannot read budget"),
        (PLAN, ["--max-client-bytes", "lots"], "--max-client-bytes: size 'lots'"),
        (PLAN, ["--max-client-bytes", "100B"], "at most 100 B a client affords no round"),
        (PLAN, ["--max-round-s", "0"], "must be above 0"),
        (PLAN, ["--max-round-s", "nan"], "must be above 0"),
        (PLAN, ["--max-round-s", "1e-5"], "for the fastest (rank 1, down 1/64, up 1/64)"),
        (PLAN, ["--cohorts", "60"], "valid: 1 to the fleet's 50"),
        (PLAN, ["--cohorts", "0,5"], "cohort 0 must be at least 1"),
        (PLAN, ["--cohorts", "some"], "cohorts 'some' are not integers"),
        (PLAN, ["--epochs", "1.5"], "epochs '1.5' are not integers"),
        (PLAN, ["--epochs", "0"], "epochs 0 must be at least 1"),
        (PLAN, ["--values", "fp32,int2"], "'int2'; valid: fp32, fp16"),
        (
            PLAN,
            ["--methods", "hetlorax"],
            "'hetlorax'; valid: floss, ffa, sparse-adapter, fslora, freezing, ",
        ),
        (PLAN, ["--methods", "hetlora"], "'hetlora': its tiers of clients are given by hand"),
        (PLAN, ["--axis", "heads=2"], "--axis 'heads=2'; valid: METHOD.AXIS=VALUES, each once, "),
        (PLAN, ["--axis", "floss.rank=x"], "--axis 'floss.rank=x'; valid: METHOD.AXIS=VALUES"),
        (PLAN, ["--upload-ratio", "-4"], "above zero"),
        (PLAN, ["--bugdet", "2GB"], "No such option"),
        (PLAN, ["extra"], "extra"),
    ],
)
def test_bad_options(monkeypatch, capfd, tmp_path, command, arguments, says):
    code, out, err = call(monkeypatch, capfd, tmp_path, *command, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"{command[0]}: ")
    assert says in err
    assert err.count("\n") == 1
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert left == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('rtt = "0 ms"\n', ""), "clients.0.rtt"),
        (("20 Mbit/s", "-20 Mbit/s"), "above zero"),
        (("20 Mbit/s", "20 Mbit"), "Mbit/s"),
        (('"200 Mbit/s"', "200"), "number with a unit"),
        (("share = 1.0", "share = 0.5"), "add up to 0.5"),
        (("[[clients]]", "[[clients"), "not TOML"),
        (('name = "x"', 'name = "x"\nspeed = 3'), "speed"),
    ],
)
def test_bad_profiles_are_named_with_their_file(monkeypatch, capfd, tmp_path, change, says):
    (tmp_path / "mine.toml").write_text(PROFILE.replace(*change), encoding="utf-8")
    for command in (RUN, PLAN):
        code, out, err = call(
            monkeypatch, capfd, tmp_path, *command, "--network", str(tmp_path / "mine.toml")
        )
        assert (code, out) == (2, "")
        assert "mine.toml" in err
        assert says in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("command", [RUN, PLAN])
def test_an_output_folder_that_is_a_file_is_refused(monkeypatch, capfd, tmp_path, command):
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    for out in (blocked, blocked / "below"):
        code, _, err = call(monkeypatch, capfd, tmp_path, *command, "--out", str(out))
        assert code == 2
        assert "file" in err
        assert err.count("\n") == 1
    assert blocked.read_text() == "mine"


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ("best", "unknown search 'best'; valid: race, halving"),
        ("grid", "give --effort 1"),
    ],
)
def test_a_search_that_cannot_be_says_what_would_do(monkeypatch, capfd, tmp_path, search, says):
    code, out, err = call(
        monkeypatch, capfd, tmp_path, "floss-plan", "--ranks", "1,4", "--down-densities", "1",
        "--up-densities", "1", "--budget", "7-dense-rounds", "--effort", "0.9", "--search", search,
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written_is_refused(monkeypatch, capfd, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    code, _, err = call(
        monkeypatch, capfd, tmp_path, "floss-plan", "--ranks", "1", "--down-densities", "1",
        "--up-densities", "1", "--budget", "2-dense-rounds", "--store", str(blocked), "--effort",
        "1", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert code == 2
    assert "cannot create" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["show", "apply"])
def test_a_plan_of_a_billion_rounds_is_refused_at_once(monkeypatch, capfd, tmp_path, command):
    content = json.loads(json.dumps(whole_plan().to_json()))
    content["recommendation"]["rounds"] = 10**9
    content["request"]["max_rounds"] = 10**9
    (tmp_path / "plan.json").write_text(json.dumps(content))
    begin = time.process_time()
    code, out, err = call(monkeypatch, capfd, tmp_path, "floss-plan", command, "plan.json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "request.max_rounds: 1000000000 rounds are more than a plan may have, 50000" in err
    assert time.process_time() - begin < 3
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_wrong_command_lines_are_refused_in_one_line(monkeypatch, capfd, tmp_path):
    for words in wrong_command_lines(random.Random(5), 60):
        code, out, err = call(monkeypatch, capfd, tmp_path, *words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
        assert err.startswith(f"{words[0]}: ")
        assert list(tmp_path.rglob("*")) == [], words
