"""A small slice of ``experiments/hostile_input/tables.py``, and files that it found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from mutated_tables import FORMATS, Mutant, corpus, outcome, outcomes


@pytest.mark.parametrize("kind", FORMATS)
def test_a_valid_file_is_read_rightly(tmp_path: Path, kind: str):
    assert {outcome(Mutant(kind, f".{kind}", blob), tmp_path) for blob in corpus(kind)} == {"read"}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_broken_table_is_refused_or_read_rightly(tmp_path: Path, kind: str):
    found = Counter(outcomes(kind, 7, 0, 400, tmp_path))
    assert set(found) == {"refused", "read"}
    assert min(found.values()) > 30


@pytest.mark.parametrize(
    ("blob", "expected"),
    [
        (b'text,label,user\na,1,u\n""\nb,1,u\n', "read"),  # one empty cell is a row
        (b"text,label,user\na,1,u\n \t\nb,1,u\n", "read"),  # blanks are none
        (b"text,label,user\na,1,u\n\xc2\x85\nb,1,u\n", "read"),
        (b'text,"la\nbel",user\na,1,u\n', "read"),
        (b'text,label,user\na,"1\n",u\nb,0.5,u\n', "read"),
    ],
)
def test_tables_that_were_read_wrongly_or_refused_in_two_lines(tmp_path: Path, blob, expected):
    assert outcome(Mutant("csv", ".csv", blob), tmp_path) == expected


@pytest.mark.parametrize("blob", [b"null\n", b"null", b"[]\n[]", b"1\n", b"{}\nnull\n"])
def test_lines_that_ended_the_process(tmp_path: Path, blob: bytes):
    assert outcome(Mutant("jsonl", ".jsonl", blob), tmp_path) == "refused"
