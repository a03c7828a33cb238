"""``floss-sim wire``: messages looked at, and every code's bytes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import commands
import numpy as np
import pytest

from floss_sim import load_profile, load_task
from floss_sim.cli.wire import _POSITIONS
from floss_sim.fingerprints import fingerprint
from floss_sim.vectors.layout import Layout, build_layout
from floss_sim.vectors.top_k import Mask, top_k_mask
from floss_sim.wire import INDEX_CODES, decode, encode

OWN = commands.OWN
DENSITIES = [word for n in range(50) for word in ("--density", f"0.{100 + n}")]


def digits(rank: int = 4, trains: str = "lora") -> Layout:
    task = load_task("digits")
    return build_layout(
        task.backbone_config, trains=trains, targets=task.lora.targets, rank=rank, labels=10
    )


def write(path: Path, layout: Layout, count: int, known_N: Mask | None = None, **options) -> int:
    """Write a message of the largest of some normal values; return its bytes."""
    values_N = np.random.default_rng(0).standard_normal(layout.entries, dtype=np.float32)
    blob = encode(layout, values_N, top_k_mask(values_N, count), known_N=known_N, **options)
    return path.write_bytes(blob)


@pytest.fixture
def wire(monkeypatch, capfd, tmp_path: Path):
    """Call a wire command in a folder of its own; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        return commands.call(monkeypatch, capfd, "floss-sim", "wire", *words)

    return call


def answer(wire, *words: str) -> dict:
    code, out, err = wire(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def refused(wire, *words: str) -> str:
    """Return the one line that a command says before it ends with code 2."""
    code, out, err = wire(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    return err


def test_a_message_is_inspected_without_its_layout(wire):
    size = write(Path("up.floss"), digits(), 500, values="fp16", draw=np.random.default_rng(0))
    found = answer(wire, "inspect", "up.floss")
    assert (found["value_code"], found["value_kind"], found["packed"]) == ("fp16", "unbiased", True)
    assert (found["format_version"], found["entries"]) == (3, 500)
    assert found["layout"] == digits().digest.hex()
    assert found["universe"] is found["floor_bits"] is None
    assert "--task and --rank" in found["not_decoded"]
    assert found["payload_bytes"] == found["index_bytes"] + found["value_bytes"] == size - 28
    assert found["message_bytes"] == found["link_bytes"] == size  # this network adds nothing
    code, out, _ = wire("inspect", "up.floss")
    assert code == 0
    assert "This message can be decoded with --task and --rank" in out
    assert "fp16 (unbiased, packed), needs no mask" in out
    assert "500 entries\n" in out


@pytest.mark.parametrize("trains", ["lora", "ffa", "square", "head"])
def test_the_layout_is_found_by_its_digest(wire, trains: str):
    layout = digits(2, trains)
    write(Path("up.floss"), layout, 60)
    found = answer(wire, "inspect", "up.floss", "--task", "digits", "--rank", "2")
    assert (found["universe"], found["not_decoded"]) == (layout.entries, None)
    names = {"lora": ["head", "adapter", "A", "B"], "ffa": ["head", "adapter", "B"]}
    names["square"] = ["head", "adapter", "R"]
    assert [part["part"] for part in found["parts"]] == names.get(trains, ["head"])
    assert sum(p["entries"] for p in found["parts"] if p["part"] in ("head", "adapter")) == 60


def test_a_dense_head_is_seen_beside_a_sparse_adapter(wire):
    layout = digits(1)
    values_N = np.random.default_rng(0).standard_normal(layout.entries, dtype=np.float32)
    mask_N = top_k_mask(values_N, 20)
    for tensor in layout.tensors:
        mask_N[layout.slices[tensor.name]] |= tensor.name.startswith("head.")
    Path("up.floss").write_bytes(encode(layout, values_N, mask_N))
    found = answer(wire, "inspect", "up.floss", "--task", "digits", "--rank", "1")
    head, adapter = found["parts"][:2]
    assert (head["density"], head["index_bytes"]) == (1, 0)
    assert head["framed_bytes"] > 5 * adapter["framed_bytes"]


def test_the_three_numbers_of_a_network_with_a_transport(wire):
    Path("own.toml").write_text(OWN, encoding="utf-8")
    size = write(Path("up.floss"), digits(), 100)
    assert size < 1000  # one HTTP/2 frame, one TLS record, one segment
    found = answer(wire, "inspect", "up.floss", "--network", "own.toml")
    assert found["payload_bytes"] == size - 28
    assert found["message_bytes"] == size + 5 + 300 + 9
    assert found["link_bytes"] == found["message_bytes"] + 22 + 20 + 32
    code, out, _ = wire("inspect", "up.floss", "--network", "own.toml")
    assert code == 0
    rows = [out.index(f"\n {name} ") for name in ("payload", "framed", "message", "link")]
    assert rows == sorted(rows)
    assert "own: framing grpc, tls, headers ipv4, connection new" in out
    assert f"Setting up a connection takes {found['setup_bytes']:,} bytes more." in out


def test_a_run_folder_names_the_layout_of_its_models(wire, monkeypatch, capfd):
    made, _, err = commands.call(
        monkeypatch, capfd, "floss-sim", "run", "--rank", "2", "--down-density", "1/4",
        "--rounds", "2", "--eval-every", "1", "--out", "run", "--json",
    )  # fmt: skip
    assert made == 0, err
    found = answer(wire, "inspect", "run")
    path = Path(found["file"])
    assert path == Path("run/model-000002.floss")
    layout = digits(2)
    values_N, mask_N = decode(layout, path.read_bytes())
    assert found["entries"] == np.count_nonzero(values_N) == np.count_nonzero(mask_N)
    assert found["density"] == pytest.approx(1 / 4, abs=1e-3)
    earlier = answer(wire, "inspect", "run/model-000001.floss")
    assert earlier["universe"] == layout.entries
    assert [part["part"] for part in earlier["parts"]] == ["head", "adapter", "A", "B"]
    monkeypatch.setenv("COLUMNS", "100")
    code, out, _ = wire("inspect", "run")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    assert "part alone" in out
    assert "positions coded by " in out
    assert "index  index / floor  values" in out
    # Moved away, nothing names the layout; in its folder, a wrong rank is refused all the same.
    path.rename("moved.floss")
    assert answer(wire, "inspect", "moved.floss")["parts"] == []
    said = refused(wire, "inspect", "run/model-000001.floss", "--rank", "8")
    assert said.endswith("of task 'digits' at rank 8; the run's rank is 2\n")
    said = refused(wire, "inspect", ".")
    assert said == "floss-sim: . is not a run folder (it has no run.json); run is a run folder\n"


def test_a_strange_message_in_a_run_folder_is_not_decoded(wire):
    trajectory = {"task": "not-packaged", "rank": 4}
    description = {
        "record_version": 2,
        "fingerprint": fingerprint(trajectory),
        "trajectory": trajectory,
    }
    Path("run.json").write_text(json.dumps(description), encoding="utf-8")
    write(Path("up.floss"), digits(), 100)
    found = answer(wire, "inspect", "up.floss")
    assert "not-packaged" in found["not_decoded"]
    assert answer(wire, "inspect", "up.floss", "--task", "digits")["not_decoded"] is None
    assert "holds no model yet" in refused(wire, "inspect", ".")


def test_a_message_within_a_mask_is_not_decoded(wire):
    layout = digits()
    known_N = np.ones(layout.entries, dtype=bool)
    known_N[0] = False
    values_N = np.zeros(layout.entries, np.float32)
    values_N[5:50] = 1
    Path("up.floss").write_bytes(encode(layout, values_N, values_N > 0, known_N=known_N))
    found = answer(wire, "inspect", "up.floss", "--task", "digits", "--rank", "4")
    assert found["needs"] == ["known"]
    assert found["not_decoded"] == "only with the mask that both ends hold (known)"
    assert found["floor_bits"] is None  # the mask's size is not in the message
    assert "needs a known mask" in wire("inspect", "up.floss")[1]


def test_what_cannot_be_inspected_is_refused_in_one_line(wire):
    write(Path("up.floss"), digits(), 100)
    blob = Path("up.floss").read_bytes()
    for name, content in (
        ("empty", b""),
        ("text", b"this is no message of any kind, but long enough"),
        ("old", blob[:4] + b"\x01" + blob[5:]),
        ("cut", blob[:-3]),
    ):
        Path(name).write_bytes(content)
    assert "no-such-file: No such file" in refused(wire, "inspect", "no-such-file")
    assert "empty: message of 0 bytes is shorter than its frame" in refused(
        wire, "inspect", "empty"
    )
    assert "text: not a floss-sim message" in refused(wire, "inspect", "text")
    assert "old: message has format version 1; valid: 3" in refused(wire, "inspect", "old")
    assert "cut: message is damaged" in refused(wire, "inspect", "cut")
    said = refused(wire, "inspect", "up.floss", "--task", "digits")
    assert f"layout {digits().digest.hex()} is none of task 'digits' at rank 16" in said
    assert "--rank requires --task" in refused(wire, "inspect", "up.floss", "--rank", "4")
    assert "nowhere" in refused(wire, "inspect", "up.floss", "--network", "nowhere")
    assert "nothing" in refused(wire, "inspect", "up.floss", "--task", "nothing")
    Path("folder").mkdir()
    assert "folder is not a run folder (it has no run.json)\n" in refused(wire, "inspect", "folder")


def test_no_file_is_read_that_cannot_be_a_message(wire):
    with Path("sparse.floss").open("wb") as file:
        file.truncate(6 << 30)
    os.mkfifo("pipe.floss")
    said = refused(wire, "inspect", "sparse.floss")
    assert said.endswith("sparse.floss is longer than 256 MiB, the limit of a message\n")
    for name in ("pipe.floss", "/dev/zero"):
        assert refused(wire, "inspect", name).endswith(f"{name} is not a regular file\n")


def test_a_large_layout_is_not_decoded(wire, monkeypatch):
    monkeypatch.setattr("floss_sim.cli.wire._MOST_DECODED", digits().entries - 1)
    write(Path("up.floss"), digits(), 100)
    found = answer(wire, "inspect", "up.floss", "--task", "digits", "--rank", "4")
    assert (found["universe"], found["parts"]) == (digits().entries, [])
    assert found["not_decoded"].startswith("only elsewhere: layouts of more than")


def test_words_for_positions_name_every_index_code(wire):
    assert set(_POSITIONS) == set(INDEX_CODES)
    write(Path("up.floss"), digits(), 100, index="bitmap")
    assert "\npositions as a bitmap, values fp32 (lossless" in wire("inspect", "up.floss")[1]


def test_the_table_puts_every_code_beside_the_floor_and_the_peers(wire, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = wire("table", "--entries", "98304")
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 100
    for name in ("bitmap", "rice", "range", "tensors", "rows", "fp32", "sign", "torch.save, dense"):
        assert f" {name}" in out
    assert out.startswith("98,304 normal values of 4 adapted matrices, 768 wide, rank 16, seed 0\n")
    said = " ".join(out.split())
    assert "rice: gaps; range: one density; tensors, rows: a density for each; floor: log2" in said
    assert "payload: positions and values; framed: with our frame of 28 bytes" in said
    assert "message" not in said  # no network, no call
    assert "1/1024" in out


def test_the_table_for_machines_agrees_with_its_parts(wire):
    found = answer(wire, "table", "--entries", "24576", "--density", "1/16", "--values", "fp16")
    (row,) = found["densities"]
    assert (found["entries"], row["entries"], row["density"]) == (24_576, 1536, 1 / 16)
    fp16 = row["messages"]["fp16"]
    assert fp16["payload_bytes"] == min(row["index_bytes"].values()) + row["value_bytes"]["fp16"]
    assert fp16["framed_bytes"] == fp16["payload_bytes"] + 28
    bits = row["bits_per_entry"]
    assert bits["framed, fp16"] == 8 * fp16["framed_bytes"] / 1536
    assert bits["32-bit COO + fp32"] == 64
    assert bits["torch.save, sparse COO"] > 96
    assert row["other_bytes"]["bitmap + fp32"] == 24_576 // 8 + 4 * 1536
    assert fp16["message_bytes"] is fp16["link_bytes"] is found["network"] is None
    again = answer(wire, "table", "--entries", "24576", "--density", "1/16", "--values", "fp16")
    assert again == found


def test_whole_messages_take_on_a_network_what_inspect_says(wire):
    Path("own.toml").write_text(OWN, encoding="utf-8")
    words = ["table", "--entries", "24576", "--density", "1/64", "--density", "1/16"]
    words += ["--values", "fp32", "--values", "fp16", "--network", "own.toml"]
    found = answer(wire, *words)
    setup = load_profile("own.toml").transport.setup_bytes
    assert (found["network"], found["setup_bytes"]) == ("own", setup)
    fp16 = found["densities"][0]["messages"]["fp16"]  # one segment
    assert fp16["message_bytes"] == fp16["framed_bytes"] + 5 + 300 + 9
    assert fp16["link_bytes"] == fp16["message_bytes"] + 22 + 20 + 32
    code, out, err = wire(*words)
    assert code == 0, err
    rows = {" ".join(line.split()[:2]): line.split()[2:] for line in out.splitlines()}
    for name in ("payload", "framed", "message", "link"):
        for values in ("fp32", "fp16"):
            sizes = [row["messages"][values][f"{name}_bytes"] for row in found["densities"]]
            assert rows[f"{name}, {values}"] == [f"{size:,}" for size in sizes]
    framed = [row["messages"]["fp32"]["framed_bytes"] for row in found["densities"]]
    assert f"  in bytes {' '.join(f'{size:,}' for size in framed)}".split() in [
        line.split() for line in out.splitlines()
    ]
    assert "own: framing grpc, tls, headers ipv4, connection new" in out
    assert f"Setting up a connection takes {setup:,} bytes more." in out


def test_codes_that_need_structure_are_left_out_of_one_tensor(wire):
    code, out, err = wire("table", "--entries", "5000", "--density", "1/4")
    assert code == 0, err
    assert out.startswith("5,000 normal values in one tensor, seed 0\n")
    assert "tensors, rows: left out, because there is one tensor" in " ".join(out.split())
    _, out, _ = wire("table", "--entries", "24576", "--density", "1/4")
    assert out.startswith("24,576 normal values of 1 adapted matrix, 768 wide")


def test_the_table_draws_a_picture(wire):
    code, out, err = wire("table", "--entries", "5000", "--density", "1/4", "--out", "bits.png")
    assert code == 0, err
    assert Path("bits.png").read_bytes().startswith(b"\x89PNG")
    assert "picture: bits.png" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing option '--entries'"),
        (["--entries", "0"], "--entries"),
        (["--entries", "3000001"], "less than or equal to 3000000"),
        (["--entries", "9", *("--density", "1/7") * 2, *DENSITIES], "51 densities; valid: at most"),
        (["--entries", "2000000", *DENSITIES[:20]], "valid: at most 18,000,000 entries in all"),
        (["--entries", "10", "--density", "2"], "--density: density '2' is outside (0, 1]"),
        (["--entries", "10", "--values", "fp8"], "--values 'fp8' is unknown; valid: fp32, fp16"),
        (["--entries", "10", "--out", "bits.pdf"], "must end in .png"),
        (["--entries", "10", "--seed", "-1"], "seed -1 must not be negative"),
        (["--entries", "10", "--network", "dialup"], "valid: 3g, 5g"),
        (["--entries", "10", "--out", "no/bits.png"], "cannot write no/bits.png"),
    ],
)
def test_a_table_that_cannot_be_made_is_refused(wire, words: list[str], said: str):
    assert said in refused(wire, "table", *words)


@pytest.mark.parametrize("command", ["inspect", "table"])
def test_help_has_examples(wire, command: str):
    for words in ([command, "--help"], ["--help"]):
        code, out, _ = wire(*words)
        assert code == 0
        assert "Examples:" in out
        assert f"floss-sim wire {command}" in out
