"""Tokenizers of a backbone's folder: sides, padding, and what an export needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from floss_sim.errors import TaskError
from floss_sim.families import TEXTS as TEXT_CLASSES
from floss_sim.families import model_inputs
from floss_sim.tasks.text import (
    TokenizerUse,
    export_tokenizer_config,
    open_tokenizer,
    tokenise,
    tokenizer_use,
)

CONFIG = {"model_type": "bert", "vocab_size": 10, "pad_token_id": 3}
INPUTS = model_inputs(CONFIG, TEXT_CLASSES)
WORDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "a": 4, "b": 5, "c": 6, "d": 7}
TEXTS = ["a b c d", "c"]


@pytest.fixture
def write(tmp_path: Path):
    """Return a function that writes a tokenizer, its own sides, and tokenizer_config.json."""

    def made(config: object = None, cut: str = "", pad: str = "") -> Path:
        tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))  # noqa: S106
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
        if cut:
            tokenizer.enable_truncation(3, direction=cut)
        if pad:
            tokenizer.enable_padding(direction=pad, pad_id=7, pad_token="d")  # noqa: S106
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        if config is not None:
            text = config if isinstance(config, str) else json.dumps(config)
            (tmp_path / "tokenizer_config.json").write_text(text, encoding="utf-8")
        return tmp_path

    return made


def ids(folder: Path, length: int = 4) -> list[list[int]]:
    return tokenise([TEXTS], open_tokenizer(folder, length)).ids.tolist()


RIGHT, LEFT = [[1, 4, 5, 2], [1, 6, 2, -1]], [[1, 6, 7, 2], [1, 6, 2, -1]]


@pytest.mark.parametrize(
    ("config", "cut", "expected"),
    [
        (None, "", RIGHT),
        (None, "right", RIGHT),
        (None, "left", LEFT),
        ({}, "left", LEFT),
        ({"truncation_side": "left"}, "", LEFT),
        ({"truncation_side": "left"}, "right", LEFT),
        ({"truncation_side": "right"}, "left", RIGHT),
        ({"padding_side": "left"}, "", RIGHT),
    ],
)
def test_texts_are_cut_on_the_tokenizers_side(write, config, cut: str, expected):
    assert ids(write(config, cut, pad="left")) == expected


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"truncation_side": "middle"}, "truncation_side is 'middle'; valid: left, right"),
        ({"padding_side": 3}, "padding_side is '3'; valid: left, right"),
        ("[]", "is not a JSON object"),
        ("{", "cannot read"),
    ],
)
def test_a_tokenizer_config_that_cannot_be_followed_is_refused(write, config, says: str):
    with pytest.raises(TaskError, match="tokenizer_config") as caught:
        open_tokenizer(write(config), 4)
    assert says in str(caught.value)


def test_what_is_not_followed_is_said(write):
    said = tokenizer_use(write({"pad_token": "[PAD]"}, "left"), INPUTS)
    assert said == TokenizerUse("left", 3, "[PAD]", "pad_token_id", "right", "[PAD]")
    expected = (
        "cuts on the left; padding on the right with token 3 '[PAD]' (pad_token_id of "
        "config.json), masked"
    )
    assert said.describe() == expected
    other = tokenizer_use(write({"pad_token": {"content": "c"}, "padding_side": "left"}), INPUTS)
    assert other.describe().endswith(
        "; the tokenizer's own padding side, left, is not used; the tokenizer's own padding token, "
        "'c', is not used"
    )
    without = model_inputs({**CONFIG, "pad_token_id": None}, TEXT_CLASSES)
    unset = tokenizer_use(write({}, pad="left"), without)
    assert (unset.pad_id, unset.pad_key, unset.own_token) == (0, "", "d")
    assert "token 0 '[UNK]' (config.json names none)" in unset.describe()


@pytest.mark.parametrize("cut", ["left", "right"])
def test_the_exported_files_make_the_same_tokens_in_the_library(write, tmp_path: Path, cut: str):
    transformers = pytest.importorskip("transformers")
    folder = write({"tokenizer_class": "BertTokenizer", "auto_map": {"x": "y.py"}}, cut, "left")
    use = tokenizer_use(folder, INPUTS)
    (tmp_path / "export").mkdir()
    content = export_tokenizer_config(folder, use, 4)
    assert "auto_map" not in content
    (tmp_path / "export" / "tokenizer_config.json").write_text(json.dumps(content))
    (folder / "tokenizer.json").rename(tmp_path / "export" / "tokenizer.json")
    library = transformers.AutoTokenizer.from_pretrained(tmp_path / "export")
    found = library(TEXTS, truncation=True, padding=True)
    expected = {"left": LEFT, "right": RIGHT}[cut]
    assert found["input_ids"] == [[3 if n < 0 else n for n in row] for row in expected]
    assert found["attention_mask"] == [[int(n >= 0) for n in row] for row in expected]
    assert {*found} == {"input_ids", "attention_mask"}


def test_a_tokenizer_whose_parts_contradict_each_other_is_one_line(write, capfd):
    path = write() / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["post_processor"]["special_tokens"]["[SEP]"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(TaskError, match=r"cannot read .*tokenizer\.json: ") as caught:
        open_tokenizer(path.parent, 4)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
