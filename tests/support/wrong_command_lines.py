"""Command lines of all commands with one wrong word each, which all must be refused."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

_NO_NUMBER = ("", "x", "1e7", "0x10", "1.5", "--", "9" * 5000, "\N{SUPERSCRIPT TWO}", "1,5", "NaN")
_NO_COUNT = (*_NO_NUMBER, "0", "-1", "1000000000000000000000")
_NO_FLOAT = ("", "x", "nan", "-1", "0", "inf", "1,5", "1e999")
_NO_RATES = ("x", "nan", "-1", "0", "inf", "1e999", ",", "0.01,nan")
_NO_FILE = (
    "nowhere",
    "/nowhere/x",
    "nowhere\n",
    "",
    "\udcff",
    "a" * 300,
    "a" * 5000,
    ".",
    "/dev/null",
)
_NO_NAME = ("", "x", "[/red]", "lte\n", "DIGITS", "../digits", "nowhere.toml", "/dev/null.toml",
            "a" * 5000 + ".toml", "\udcff", "\N{SNOWMAN}")  # fmt: skip
_NO_DENSITY = (
    "",
    "0",
    "2",
    "-1/4",
    "1/0",
    "1/",
    "x",
    "1e-400",
    "9" * 500,
    "1/" + "9" * 5000,
    "nan",
)
_NO_DURATION = ("", "5", "x", "-1s", "1 parsec", "9" * 400 + "s", "nan s")
_NO_SET = ("", "x", "=", "a.b", "data=1", "nope.x=1", "data.nope=1", "data.limit=0", "data.limit=x",
           "client.epochs=" + "9" * 5000, "client.epochs=1000000000", "x" * 300 + "=1",
           "data.classes=100000000000", "lora.alpha=nan", "lora.targets=[[]]", "a." * 500 + "b=1",
           "data.limit=" + "[" * 900, "preprocess.image_size=1000000000")  # fmt: skip
_TASK = {"--task": _NO_NAME, "--dataset": ("nowhere.csv", "/nowhere/x.csv"), "--set": _NO_SET,
         "--backbone": ("/nowhere", "./nowhere")}  # fmt: skip
_FLEET = {"--clients": (*_NO_COUNT, "5000", "1000000000"), "--partition": ("", "x", "IID"),
          "--alpha": _NO_FLOAT}  # fmt: skip
_NETWORK = {"--network": _NO_NAME, "--upload-ratio": _NO_FLOAT}
_PLACE = {"--device": ("", "x", "CUDA", "cuda:9"), "--seed": ("", "x", "1.5", "-1", "9" * 5000)}

COMMANDS: Mapping[tuple[str, ...], Mapping[str, Sequence[str]]] = {
    ("floss-sim", "run"): {
        **_TASK, **_FLEET, **_NETWORK, **_PLACE,
        "--method": ("", "x", "FLOSS"), "--rank": (*_NO_COUNT, "65"), "--rounds": _NO_COUNT,
        "--down-density": _NO_DENSITY, "--up-density": _NO_DENSITY, "--density": ("1/4", "x"),
        "--factor": ("x", "2"), "--tiers": ("1:1", "x"), "--which": ("x",), "--scope": ("", "x"),
        "--pick": ("", "x"), "--down-values": ("", "x"), "--up-values": ("int2",),
        "--policy": ("", "x", "first-k:", "first-k:0", "first-k:9", "first-k:1000000000",
                     "deadline:", "deadline:x", "deadline:1s:9", "buffered:0", "buffered:x"),
        "--late": ("x", "finish"), "--eval-every": _NO_COUNT[:-1], "--threads": (*_NO_COUNT, "100"),
        "--learner": ("", "x"), "--cohort": (*_NO_COUNT, "51"), "--epochs": _NO_COUNT,
        "--batch-size": _NO_COUNT, "--client-lr": _NO_FLOAT, "--server-lr": _NO_FLOAT,
        "--server-optimizer": ("", "sgd"), "--weighting": ("", "x"), "--out": ("/dev/null/x",),
    },
    ("floss-sim", "compare"): {"": _NO_FILE, "--x": ("x",), "--target": ("x", "2", "nan")},
    ("floss-sim", "account"): {"": _NO_FILE, "--by": ("x",), "--network": _NO_NAME},
    ("floss-sim", "replay"): {"": _NO_FILE, "--rtt": _NO_DURATION, "--down": _NO_DURATION,
                              "--upload-ratio": _NO_FLOAT, "--sweep": ("x", "rtt=", "x=1")},
    ("floss-sim", "profiles"): {"": ("x", "sho", "--x")},
    ("floss-sim", "profiles", "show"): {"": _NO_NAME[1:]},
    ("floss-sim", "profiles", "check"): {"": _NO_NAME[1:]},
    ("floss-sim", "profiles", "fit"): {"": _NO_FILE, "--classes": _NO_COUNT, "--law": ("x",)},
    ("floss-sim", "task", "check"): {"": _NO_NAME[1:]},
    ("floss-sim", "task", "check", "digits"): {
        "--set": _NO_SET, **_FLEET, **_PLACE, "--rank": (*_NO_COUNT, "65"),
        "--backbone": ("/nowhere",), "--dataset": ("nowhere.csv",),
    },
    ("floss-sim", "wire", "inspect"): {"": _NO_FILE},
    ("floss-sim", "wire", "table"): {
        "--entries": (*_NO_COUNT, "3000001"), "--entries=99 --density": _NO_DENSITY,
        "--entries=99 --values": ("", "x"), "--entries=99 --network": _NO_NAME,
        "--entries=99 --out": ("x.pdf", "x"),
    },
    ("floss-plan",): {
        **_TASK, **_FLEET, **_NETWORK, **_PLACE,
        "--budget": ("", "x", "0s", "-1s", "1", "0-dense-rounds", "999999-dense-rounds", "1e999GB",
                     "2GB@95%", "36h@", "36h@0%", "36h@100%", "9" * 400 + "GB", "10B"),
        "--ranks": ("", "x", "0", "-1", "65", "1,two", "1000000000", "9" * 5000),
        "--prior": _NO_FILE,
        "--down-densities": (*_NO_DENSITY, "1,2"), "--up-densities": _NO_DENSITY,
        "--reference-rank": (*_NO_COUNT, "65"), "--max-rounds": (*_NO_COUNT, "10000000"),
        "--client-lrs": _NO_RATES, "--server-lrs": _NO_RATES,
        "--cohorts": ("x", "0", "51", "1000000000"), "--epochs": ("x", "0", "1000000000", "1.5"),
        "--values": ("x", "int2"), "--methods": ("x", "hetlora"),
        "--axis": ("x", "floss.heads=2", "floss.rank=0", "floss.rank=", "ffa.rank=1"),
        "--target": ("x", "0", "2", "nan"),
        "--max-client-bytes": ("", "x", "0B", "100B"), "--max-round-s": ("x", "0", "nan", "-1"),
        "--effort": ("", "x", "-1", "2", "nan", "3parsec"), "--search": ("", "x"),
        "--workers": (*_NO_COUNT, "1000000"), "--out": ("/dev/null/x",),
    },
    ("floss-plan", "show"): {"": _NO_FILE},
    ("floss-plan", "apply"): {"": _NO_FILE},
    ("floss-plan", "store"): {"": ("x", "--x")},
}  # fmt: skip
_NO_OPTION = ("--nope", "--rounds=", "-q", "--json=1", "--help=x", "---", "--set")


def wrong_command_lines(draw: random.Random, count: int) -> Iterator[list[str]]:
    """Yield command lines, each of which has one wrong word."""
    commands = list(COMMANDS)
    for number in range(count):
        command = commands[number % len(commands)] if draw.random() < 0.5 else draw.choice(
            [("floss-sim", "run"), ("floss-plan",)]
        )  # fmt: skip
        if draw.random() < 0.06:
            yield [*command, draw.choice(_NO_OPTION)]
            continue
        option = draw.choice(list(COMMANDS[command]))
        value = draw.choice(list(COMMANDS[command][option]))
        yield [*command, *option.split(), value]
