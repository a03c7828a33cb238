"""Tiny backbone folders of all families, and damage to their files."""

from __future__ import annotations

import copy
import json
import random
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from small_tasks import TASK

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
PROCESSOR = "preprocessor_config.json"
SHARD = "model-00001-of-00002.safetensors"
FILES = {  # the files that are damaged in each folder
    "vit": (WEIGHTS, CONFIG, PROCESSOR),
    "bert": (WEIGHTS, CONFIG, TOKENIZER, TOKENIZER_CONFIG),
    "gpt2": (WEIGHTS, CONFIG),
    "llama": (WEIGHTS, CONFIG),
    "shards": (INDEX, SHARD),
}
WORDS = 40
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 41, 2**31, 2**63, 10**30, 1e308, -1e308, 0.5, 1e-320,
    float("nan"), float("inf"), "", "left", "right", "w1", "x" * 2000, "\0", "../../etc/passwd",
    "\ud800", [], {}, [1, 2], [[[]]], {"a": {"b": 1}}, [0.5] * 3, [0, 0, 0], ["a"], [10**9] * 4,
)  # fmt: skip


def write_folders(home: Path) -> None:
    """Write a folder with a task and a backbone for each family, and one with shards."""
    shared = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes = {**shared, "vocab_size": WORDS, "max_position_embeddings": 16, "intermediate_size": 24}
    torch.manual_seed(0)
    vit = ViTConfig(**shared, image_size=8, patch_size=4, intermediate_size=24)
    built: dict[str, Any] = {
        "vit": ViTForImageClassification(vit),
        "bert": BertModel(BertConfig(**sizes)),
        "gpt2": GPT2ForSequenceClassification(
            GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=WORDS, n_positions=16)
        ),
        "llama": LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=2)),
    }
    for family, model in built.items():
        _write(home / family, family, model, "1GB")
    _write(home / "shards", "bert", built["bert"], "20KB")


def _write(folder: Path, family: str, model: Any, shard: str) -> None:
    backbone = folder / "backbone"
    model.save_pretrained(backbone, max_shard_size=shard)
    images = family == "vit"
    kind = "image-classification" if images else "text-classification"
    preprocess = "image_size = 8" if images else "max_length = 8"
    text = TASK.format(
        kind=kind, dataset="rows.parquet", input="x", labels='label = "y"\nclasses = 3',
        validation=2, test=2, preprocess=preprocess,
    )  # fmt: skip
    (folder / "task.toml").write_text(text, encoding="utf-8")
    if images:
        stated = {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.2, 1.0],
                  "do_rescale": True, "rescale_factor": 1 / 255, "size": 8}  # fmt: skip
        (backbone / PROCESSOR).write_text(json.dumps(stated), encoding="utf-8")
    else:
        _write_tokenizer(backbone)


def _write_tokenizer(folder: Path) -> None:
    words = {word: n for n, word in enumerate(("[PAD]", "[CLS]", "[SEP]", "[UNK]"))}
    words |= {f"w{number}": number for number in range(4, WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(6, direction="left")
    tokenizer.enable_padding(direction="left", pad_id=0, pad_token="[PAD]")  # noqa: S106
    tokenizer.save(str(folder / TOKENIZER))
    stated = {"padding_side": "left", "truncation_side": "left", "pad_token": "[PAD]"}
    (folder / TOKENIZER_CONFIG).write_text(json.dumps(stated), encoding="utf-8")


def mutated(name: str, whole: bytes, draw: random.Random) -> bytes:
    """Return a damaged copy of a file's bytes: damaged bytes, or a damaged JSON value."""
    if draw.random() < 0.4:
        return _damaged_bytes(whole, draw)
    if not name.endswith(".safetensors"):
        return _dumped(_damaged_value(json.loads(whole), draw), draw)
    (length,) = struct.unpack("<Q", whole[:8])
    header = _damaged_value(json.loads(whole[8 : 8 + length]), draw)
    blob = _dumped(header, draw)
    blob += b" " * (-len(blob) % 8)
    return struct.pack("<Q", len(blob)) + blob + whole[8 + length :]


def _dumped(value: Any, draw: random.Random) -> bytes:
    text = json.dumps(value)
    if draw.random() < 0.03:
        text = '{"a": ' + "[" * draw.choice((50, 2000, 200_000)) + text
    return text.encode("utf-8", "surrogatepass")


def _damaged_bytes(whole: bytes, draw: random.Random) -> bytes:
    """Flip bits, or cut out, double, insert or drop bytes; half of it in the first 2,000 bytes."""
    blob = bytearray(whole)
    most = min(len(blob), draw.choice((2000, len(blob))))
    at = draw.randrange(most)
    kind = draw.choice(("flip", "flip", "cut", "drop", "double", "insert", "length"))
    if kind == "flip":
        for _ in range(draw.choice((1, 1, 2, 8))):
            blob[draw.randrange(most)] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del blob[at:]
    elif kind == "drop":
        del blob[at : at + draw.randrange(1, 40)]
    elif kind == "double":
        blob[at:at] = blob[at : at + draw.randrange(1, 200)]
    elif kind == "insert":
        blob[at:at] = draw.randbytes(draw.randrange(1, 40))
    else:
        blob[:8] = struct.pack("<Q", draw.choice((0, 1, 7, 2**31, 2**63, len(blob), len(blob) - 8)))
    return bytes(blob)


def _damaged_value(value: Any, draw: random.Random) -> Any:
    """Return a copy of a JSON value with one to three places replaced, removed or renamed."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 2, 3))):
        _damage_place(value, draw)
    return value


def _damage_place(value: Any, draw: random.Random) -> None:
    place = value
    while True:
        if not isinstance(place, dict | list) or not place:
            return
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        deeper = isinstance(place[key], dict | list) and place[key] and draw.random() < 0.7
        if not deeper:
            break
        place = place[key]
    kind = draw.choice(("set", "set", "set", "delete", "swap", "rename", "scale"))
    if kind == "delete":
        del place[key]
    elif kind == "swap":
        place[key] = copy.deepcopy(place[draw.choice([key, *_keys(place)])])
    elif kind == "rename" and isinstance(place, dict):
        place[draw.choice((f"{key}x", "model_type", str(key)[:-1], "extra"))] = place.pop(key)
    elif kind == "scale" and type(place[key]) in (int, float):
        place[key] = place[key] * draw.choice((-1, 2, 10, 1000)) + draw.choice((0, 1))
    else:
        place[key] = copy.deepcopy(draw.choice(HOSTILE))


def _keys(place: Any) -> list[Any]:
    return list(place) if isinstance(place, dict) else list(range(len(place)))


def read_safetensors(folder: Path) -> dict[str, Any]:
    """Return all tensors of a folder's weight files by name, read with NumPy alone."""
    single = folder / WEIGHTS
    paths = [single] if single.exists() else sorted(folder.glob("model-*.safetensors"))
    types = {"F32": np.float32, "F64": np.float64, "F16": np.float16}
    found = {}
    for path in paths:
        blob = path.read_bytes()
        (length,) = struct.unpack("<Q", blob[:8])
        data = blob[8 + length :]
        for name, entry in json.loads(blob[8 : 8 + length]).items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            if entry["dtype"] == "BF16":
                halves = np.frombuffer(data[first:last], np.uint16).astype(np.uint32) << 16
                values = halves.view(np.float32)
            else:
                values = np.frombuffer(data[first:last], types.get(entry["dtype"], np.uint8))
            found[name] = (
                values.reshape(entry["shape"]) if entry["dtype"] in (*types, "BF16") else values
            )
    return found
