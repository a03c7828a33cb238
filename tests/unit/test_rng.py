from __future__ import annotations

import hashlib
import itertools
import math
import subprocess
import sys

import numpy as np

from floss_sim.rng import lazy_stream, stream, stream_seed

PATHS = [
    (),
    ("client",),
    ("client", 7),
    ("client", "7"),
    ("client", 7, "round", 3),
    ("client", 7, "round", 4),
    ("client", 73),
    ("client", 7, 3),
    ("client", "73"),
    ("round", 7, "client", 3),
    ("client7",),
    ("client,7",),
    ('client",7',),
    ("Client",),
    ("",),
    ("", ""),
    (0,),
    (-1,),
    ("é",),
]


def test_a_stream_is_the_pcg64_of_the_sha256_of_its_names():
    """The numbers of a stream are part of every recorded run, so the recipe is pinned."""
    digest = hashlib.sha256(b'[3,"client",7,"round",21]').digest()
    expected = np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(int.from_bytes(digest, "big")))
    )
    assert np.array_equal(stream(3, "client", 7, "round", 21).random(100), expected.random(100))


def test_an_integer_seed_is_the_top_63_bits_of_the_sha256():
    digest = hashlib.sha256(b'[0,"torch"]').digest()
    assert stream_seed(0, "torch") == int.from_bytes(digest[:8], "big") >> 1
    assert all(0 <= stream_seed(s, "torch") < 2**63 for s in range(2000))


def test_a_stream_does_not_depend_on_what_was_drawn_before():
    alone = stream(1, "batches").random(10)
    other = stream(1, "dropout")
    other.random(1000)
    np.random.default_rng(1).random(1000)
    assert np.array_equal(stream(1, "batches").random(10), alone)


def test_a_stream_is_the_same_in_another_process():
    code = (
        "from floss_sim.rng import stream, stream_seed\n"
        "print(stream(5, 'client', 2).integers(2**62, size=3).tolist(), stream_seed(5, 'x'))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    here = stream(5, "client", 2).integers(2**62, size=3).tolist()
    assert outputs == {f"{here} {stream_seed(5, 'x')}"}


def test_paths_that_differ_anywhere_name_different_streams():
    names = [(seed, *path) for seed in (0, 1, 2**40) for path in PATHS]
    assert len({stream(*name).integers(2**63) for name in names}) == len(names)
    assert len({stream_seed(*name) for name in names}) == len(names)


def test_the_first_draws_of_numbered_streams_are_uniform():
    """Chi-square over 20 cells; |z| stays below 4 (6e-5 two-sided)."""
    streams, cells = 4000, 20
    draws = [stream(0, "client", i).random() for i in range(streams)]
    observed = np.histogram(draws, bins=cells, range=(0, 1))[0]
    chi_square = ((observed - streams / cells) ** 2 / (streams / cells)).sum()
    z = (chi_square - (cells - 1)) / math.sqrt(2 * (cells - 1))
    assert abs(z) < 4


def test_neighbouring_streams_are_uncorrelated():
    """The correlation of n independent pairs has deviation 1/sqrt(n); |z| < 4.5 for 66 pairs."""
    n = 10_000
    names = [("client", c, "round", r) for c in range(4) for r in range(3)]
    draws = [stream(0, *name).standard_normal(n) for name in names]
    for one, other in itertools.combinations(draws, 2):
        z = (one @ other) / n * math.sqrt(n)
        assert abs(z) < 4.5


def test_a_stream_when_asked_is_the_stream_and_goes_on_where_it_was():
    draw, straight = lazy_stream(3, "client", 7), stream(3, "client", 7)
    assert [draw().random() for _ in range(3)] == straight.random(3).tolist()
