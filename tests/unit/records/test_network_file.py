"""The network that a run folder keeps: written whole, read back, refused if damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from floss_sim.errors import RecordError
from floss_sim.records import network_file
from floss_sim.records.file_names import NETWORK
from floss_sim.records.network_file import read_network, write_network


def test_a_text_is_read_back_and_removed(tmp_path: Path):
    assert read_network(tmp_path) is None
    write_network(tmp_path, None)
    write_network(tmp_path, "ä network\n")
    assert read_network(tmp_path) == "ä network\n"
    assert [path.name for path in tmp_path.iterdir()] == [NETWORK]
    written = (tmp_path / NETWORK).stat().st_mtime_ns
    write_network(tmp_path, "ä network\n")  # nothing to do
    assert (tmp_path / NETWORK).stat().st_mtime_ns == written
    write_network(tmp_path, "another\n")
    assert gzip.decompress((tmp_path / NETWORK).read_bytes()) == b"another\n"
    write_network(tmp_path, None)
    assert [*tmp_path.iterdir()] == []


def test_damage_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_network(tmp_path, "a network" * 100)
    path = tmp_path / NETWORK
    whole = path.read_bytes()
    flipped = bytes([*whole[:30], whole[30] ^ 1, *whole[31:]])
    for content in (b"text", whole[:-9], flipped, gzip.compress(b"\xff")):
        path.write_bytes(content)
        with pytest.raises(RecordError, match=r"network\.json\.gz is damaged \(no gzipped"):
            read_network(tmp_path)
    path.write_bytes(whole)
    monkeypatch.setattr(network_file, "MOST_BYTES", 899)
    with pytest.raises(RecordError, match="too large"):
        read_network(tmp_path)


def test_links_out_of_the_folder_and_folders_are_refused(tmp_path: Path):
    (tmp_path / "run").mkdir()
    write_network(tmp_path, "a network")
    path = tmp_path / "run" / NETWORK
    path.symlink_to(tmp_path / NETWORK)
    with pytest.raises(RecordError, match="links to a file outside the folder"):
        read_network(tmp_path / "run")
    write_network(tmp_path / "run", "own")  # the link is replaced, not followed
    assert (read_network(tmp_path), read_network(tmp_path / "run")) == ("a network", "own")
    path.unlink()
    path.mkdir()
    with pytest.raises(RecordError, match="cannot read"):
        read_network(tmp_path / "run")
