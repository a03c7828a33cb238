"""Images and npz files that claim sizes, formats or types which they must not have."""

from __future__ import annotations

import io
import resource
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from floss_sim.errors import TaskError
from floss_sim.tasks.arrays import MAX_RATIO, load_npz
from floss_sim.tasks.images import FORMATS, MAX_PIXELS, decode_images


def image_refusal(blob: bytes) -> str:
    with pytest.raises(TaskError) as error:
        decode_images(lambda: [("here", {"bytes": blob, "path": None})], 3, 8, "here")
    assert str(error.value).isprintable()
    return str(error.value)


def chunk(name: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def png(width: int, height: int, *further: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">II", width, height) + bytes((8, 2, 0, 0, 0)))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(further) + pixels + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize("blob", [EPS, b"\xc5\xd0\xd3\xc6" + bytes(28) + EPS, b"%PDF-1.7\n" + EPS])
def test_no_format_that_may_start_a_program_is_opened(blob: bytes, monkeypatch: pytest.MonkeyPatch):
    def start(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr("subprocess.Popen.__init__", start)
    monkeypatch.setattr("os.system", start)
    assert f"of unknown format; valid: {', '.join(FORMATS)}" in image_refusal(blob)
    assert not {"EPS", "PDF", "WMF", "IPTC"} & set(FORMATS)


@pytest.mark.parametrize("form", ["PCX", "SGI", "ICO", "DDS"])
def test_formats_beyond_the_list_are_refused(form: str):
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, form)
    assert "of unknown format" in image_refusal(file.getvalue())


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((20_000, 6_001), f"valid: at most {MAX_PIXELS // 1_000_000} million"),
        ((10_900, 10_900), "has 10900 x 10900 pixels; valid: at most 30 million"),
        ((60_000, 60_000), "more than 30 million pixels"),
        ((2**31 - 1, 2**31 - 1), "more than 30 million pixels"),
        ((0, 9), "cannot read the image"),
    ],
)
def test_bombs_are_refused_in_one_line_without_memory(size, said, capfd):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert said in image_refusal(png(*size))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # kB
    assert capfd.readouterr() == ("", "")


def test_formats_that_take_more_memory_have_a_lower_limit():
    file = io.BytesIO()
    Image.new("L", (4100, 4000)).save(file, "WEBP")
    assert "has 4100 x 4000 pixels; valid: at most 16 million" in image_refusal(file.getvalue())


def test_reading_an_image_reserves_about_its_size(tmp_path: Path):
    path = tmp_path / "x.png"
    Image.new("RGB", (9, 9)).save(path)
    cell = {"bytes": None, "path": str(path)}
    decode_images(lambda: [("x", cell)], 3, 8, "x")  # loads Pillow's formats
    tracemalloc.start()
    try:
        decode_images(lambda: [("x", cell)], 3, 8, "x")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_in_a_text_of_an_image_is_refused():
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(80 << 20)))
    assert "here: cannot read the image" in image_refusal(png(4, 4, text))


def test_a_damaged_tiff_prints_nothing(capfd):
    file = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(picture).save(file, "TIFF", compression="tiff_adobe_deflate")
    blob = bytearray(file.getvalue())
    for at in range(40, len(blob) - 400, 97):
        blob[at] ^= 255
    assert "cannot read the image" in image_refusal(bytes(blob))
    tag = b"\x15\x01\x03\x00\x01\x00\x00\x00"  # SamplesPerPixel, one short
    samples = file.getvalue().replace(tag + b"\x03", tag + b"\x99")
    assert samples != file.getvalue()
    assert "cannot read the image" in image_refusal(samples)  # which Pillow logs
    assert capfd.readouterr() == ("", "")


def npz(path: Path, x: bytes, *, pack: int = zipfile.ZIP_DEFLATED) -> Path:
    y = io.BytesIO()
    np.save(y, np.arange(3))
    with zipfile.ZipFile(path, "w", pack) as file:
        file.writestr("x.npy", x)
        file.writestr("y.npy", y.getvalue())
    return path


def array(shape: str, dtype: str = "<f4", content: bytes = bytes(48), pad: int = 0) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}{' ' * pad}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + content


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (array("(3, 1, 2, 2000000000)"), "needs 48,000,000,000 bytes; the file holds 48"),
        (array(f"(3, 1, 2, {10**30})"), "the file holds 48"),
        (array("(3, 1, 2, -2)"), "x has shape"),
        (array("(3, 1, 2, 2)", content=bytes(49)), "needs 48 bytes; the file holds 49"),
        (array("(3, 1, 2, 2)", "|O"), "x has shape (3, 1, 2, 2) and type object; valid: numbers"),
        (array("(3, 1, 2, 2)", "|V4"), "valid: numbers of shape"),
        (array("(12,)"), "valid: numbers of shape (examples, channels, height, width)"),
        (array("(3, 1, 2, 2)", pad=20_000), "header of x has 20,0"),
        (b"\x93NUMPY\x02\x00" + b"\xff" * 4 + bytes(99), "the header of x has 4,294,967,295 bytes"),
        (array("(" * 400 + "3" + ")" * 400), "header of x cannot be read"),
        (array("__import__('os').system('true')"), "header of x cannot be read"),
        (b"\x80\x04N.", "x is not an array of numpy"),
        (b"", "x is not an array of numpy"),
    ],
)
def test_npz_whose_header_lies_is_refused(tmp_path: Path, x: bytes, said: str):
    with pytest.raises(TaskError) as error:
        load_npz(npz(tmp_path / "x.npz", x))
    assert said in str(error.value)
    assert str(error.value).isprintable()


def test_npz_that_unpacks_to_far_more_is_refused(tmp_path: Path):
    zeros = array("(3, 1, 5000, 5000)", content=bytes(300_000_000))
    path = npz(tmp_path / "x.npz", zeros)
    with pytest.raises(TaskError, match=f"valid above 64 MiB: at most {MAX_RATIO} to 1"):
        load_npz(path)
    small = array("(3, 1, 1000, 1000)", content=bytes(12_000_000))  # as masks and blank images
    assert load_npz(npz(tmp_path / "y.npz", small))[0].shape == (3, 1, 1000, 1000)


@pytest.mark.parametrize("pack", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_numpy_does_not_use_are_refused(tmp_path: Path, pack: int):
    with pytest.raises(TaskError, match="packed by a method that numpy does not use"):
        load_npz(npz(tmp_path / "x.npz", array("(3, 1, 2, 2)"), pack=pack))


def test_a_directory_of_many_members_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        for number in range(16_000):
            file.writestr(f"{number:030d}", b"")
    with pytest.raises(TaskError, match="directory is longer than 1 MiB"):
        load_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "|u1", ">i8"])
def test_every_order_and_type_is_read_as_numpy_reads_it(tmp_path: Path, dtype: str):
    x = (np.random.default_rng(0).random((3, 2, 4, 5)) * 100).astype(dtype)
    for one in (x, np.asfortranarray(x), x[:, ::-1]):
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / "x.npz", x=one, y=np.arange(3))
            assert np.array_equal(load_npz(tmp_path / "x.npz")[0], one.astype(np.float32))
