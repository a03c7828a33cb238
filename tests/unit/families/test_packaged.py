from collections import Counter

import pytest

from floss_sim.families.packaged import find_packaged, packaged_backbone, packaged_backbones


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("qwen2.5-0.5b", "qwen2.5-0.5b"),
        ("GPT2", "gpt2"),
        ("Qwen/Qwen2.5-0.5B", "qwen2.5-0.5b"),
        ("qwen/qwen2.5-coder-0.5b-instruct", "qwen2.5-0.5b"),
        ("bert-base-uncased", "bert-base"),
        ("mistralai/Mistral-7B-v0.3", "mistral-7b-v0.3"),
    ],
)
def test_a_backbone_is_found_by_its_name_or_an_id_of_its_sizes(name, found):
    backbone = find_packaged(name)

    assert backbone is not None
    assert backbone.name == found


def test_an_unknown_name_finds_nothing():
    assert find_packaged("qwen2.5") is None
    assert find_packaged("me/gpt2") is None


def test_an_id_is_that_of_one_backbone():
    found = map(packaged_backbone, packaged_backbones())
    ids = Counter(one.lower() for b in found for one in (b.hub_id, *b.same_sizes))

    assert max(ids.values()) == 1
