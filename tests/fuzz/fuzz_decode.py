"""Coverage-guided attack on the decoder, with *atheris* (which is not among the dependencies).

    pip install atheris
    python tests/fuzz/fuzz_decode.py -max_total_time=180 -rss_limit_mb=1024 -timeout=5

Options are libFuzzer's. Inputs are a byte that picks the reader, then a message from its index code
on, which is sealed; the corpus begins with valid messages of every code. It ends at the first
exception but PayloadError, and writes the input to a file, which as an argument is tried again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

try:
    import atheris
except ImportError:
    raise SystemExit("this needs atheris: pip install atheris") from None

with atheris.instrument_imports(include=["floss_sim.wire", "floss_sim.vectors.layout"]):
    from mutated_messages import corpus, read, sealed

CORPUS = [(reader, blob) for reader, blob in corpus() if len(blob) < 4096][:256]


def message_of(data: bytes) -> tuple[int, bytes]:
    """Return which reader an input is for, and its message."""
    which = data[0] % len(CORPUS)
    blob = bytes(5) + data[1:4] + bytes(8) + data[4:] + bytes(4)
    return which, sealed(CORPUS[which][0], blob + bytes(max(0, 28 - len(blob))))


def try_one(data: bytes) -> None:
    """Read one input."""
    if data:
        which, blob = message_of(data)
        read(CORPUS[which][0], blob)


def main() -> None:
    """Run the command."""
    with tempfile.TemporaryDirectory() as folder:
        for i, (_, blob) in enumerate(CORPUS):
            name = Path(folder) / f"{i:03d}"
            name.write_bytes(bytes([i]) + blob[5:8] + blob[16:-4])
        files = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        atheris.Setup(
            [*sys.argv, *([] if files else ["-max_len=8192", "-len_control=0", folder])], try_one
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
