"""Files of TOML and JSON: limits of size, depth, numbers and keys, and messages of one line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mutated_documents import KINDS, mutants, outcome, seeds

from floss_sim import load_profile, load_task
from floss_sim.cli.shared_options import parse_settings
from floss_sim.errors import ConfigError, ProfileError, TaskError
from floss_sim.toml_json import (
    MAX_DEPTH,
    MAX_JSON_BYTES,
    MAX_TOML_BYTES,
    parse_toml,
    read_json,
    read_toml,
    shorten,
)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"a = {nested(MAX_DEPTH + 1)}", "32"),
        (f"a = {nested(100_000)}", "32"),
        (f"a = {'{b = ' * 5000}1{'}' * 5000}", "32"),
        ("a" + ".a" * 20 + " = 1", "more than 16 parts"),
        ("a" + ".a" * 1_000_000 + " = 1", "more than 16 parts"),
        ('"a" . ' * 20 + "a = 1", "more than 16 parts"),
        (f"a = {'9' * 301}", "300 characters"),
        (f"a = {'9' * 100}", "64 bits"),
        (f"a = 0x{'f' * 200}", "64 bits"),
        (f"{'k' * 1001} = 1", "1000 characters"),
        ('a = "\\u0000"', "no text may hold"),
        ('"\\u0000" = 1', "no text may hold"),
        ("a = \x7f", "not TOML"),
        ("a = 1\na = 2", "not TOML"),
    ],
)
def test_toml_beyond_a_limit_is_refused_at_once(text: str, said: str):
    begin = time.process_time()
    with pytest.raises(ConfigError, match=r"^here ") as error:
        parse_toml(text, "here", ConfigError)
    assert said in str(error.value)
    assert len(str(error.value)) < 300
    assert str(error.value).isprintable()
    assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (nested(MAX_DEPTH + 1).encode(), "not JSON as read here"),
        (b'{"":' * 1_000_000, "not JSON as read here"),
        (b'["[", "\\"[", ' + b"9" * 400 + b"]", "300 characters"),
        (b'"\\' * 1_000_000, "not JSON"),
        (b"[NaN]", "NaN is no number"),
        (b'[{"a": 1, "b": {"c": 1, "c": 2}}]', "the key 'c' is there twice"),
        (b"{" + b'"a":1,' * 1_000_000 + b'"b":2}', "the key 'a' is there twice"),
        (b"[1e999, Infinity]", "Infinity is no number"),
        (b"[18446744073709551616]", "64 bits"),
        (b'["\\ud800"]', "no text may hold"),
        (b'{"\\u0000": 1}', "no text may hold"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b" " * (MAX_JSON_BYTES + 1), "longer than 8 MiB"),
        (b"", "not JSON"),
    ],
)
def test_json_beyond_a_limit_is_refused_at_once(tmp_path: Path, blob: bytes, said: str):
    path = tmp_path / "x.json"
    path.write_bytes(blob)
    begin = time.process_time()
    with pytest.raises(ConfigError, match=r"x\.json") as error:
        read_json(path, ConfigError)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert time.process_time() - begin < 3


def test_what_is_within_the_limits_is_read(tmp_path: Path):
    text = (
        f"a = {nested(MAX_DEPTH - 1)}\nb.c.d = {2**63 - 1}\ne = '{'[' * 5000}'\nf = {'1' * 18}.5\n"
    )
    read = parse_toml(text, "here", ConfigError)
    assert read["b"] == {"c": {"d": 2**63 - 1}}
    assert read["e"] == "[" * 5000
    path = tmp_path / "x.json"
    path.write_text('{"a": "[[[[[[\\"[[[[", "b": ["\\u00e9", -9223372036854775808, 1e300]}')
    assert read_json(path, ConfigError) == {"a": '[[[[[["[[[[', "b": ["é", -(2**63), 1e300]}


def test_a_file_without_end_is_refused(tmp_path: Path):
    endless = tmp_path / "endless.toml"
    endless.symlink_to("/dev/zero")
    with pytest.raises(ProfileError, match=r"longer than 2 MiB"):
        load_profile(str(endless))
    assert MAX_TOML_BYTES == 2 << 20
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        read_toml(tmp_path, ConfigError)


def test_long_values_and_odd_keys_are_shown_in_one_short_line(tmp_path: Path):
    path = tmp_path / "x.toml"
    for text in (f'name = "{"x" * 5000}"\nspeed = 1', f"name = {[1] * 5000}", '"a\\nb" = 1',
                 f'name = "x"\nclients = "{"x" * 9999}"'):  # fmt: skip
        path.write_text(text)
        with pytest.raises(ProfileError) as error:
            load_profile(str(path))
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 1000
    assert shorten(16**5000) == "a int"
    assert shorten("x" * 100).endswith("...")


def test_settings_beyond_a_limit_are_texts_and_refused_as_such():
    assert parse_settings(["a.b=" + "[" * 900]) == {"a.b": "[" * 900}
    assert parse_settings(["a.b=" + "9" * 5000]) == {"a.b": "9" * 5000}
    with pytest.raises(TaskError, match="more than 32 parts"):
        load_task("digits", changes={"a." * 5000 + "b": 1})
    with pytest.raises(TaskError, match="epochs"):
        load_task("digits", changes={"client.epochs": 10**9})


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_refused_or_read_as_they_are(kind: str, tmp_path: Path):
    assert [outcome(kind, blob, tmp_path)[0] for blob in seeds(kind)] == ["right"] * len(
        seeds(kind)
    )
    found = [outcome(kind, blob, tmp_path) for blob in mutants(kind, 7, 150)]
    assert {came for came, _ in found} == {"refused", "right"}, [
        f for f in found if f[0] in ("wrong", "crashed")
    ]
