"""Real data, where the folder ``shared`` lies beside the repository; no text is ever shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from floss_sim.tasks import load_task, partition

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real data at {SHARED}")
STORIES = SHARED / "stories260K-hf"


@needs_shared
def test_twenty_newsgroups_are_split_by_date_without_their_empty_posts():
    changes = {"data.split_column": "split", "data.limit": 500, "preprocess.max_length": 32}
    task = load_task(
        "20newsgroups",
        dataset=str(SHARED / "20news" / "20news-bydate.jsonl.gz"),
        backbone=str(STORIES),
        changes=changes,
    )
    content = task.content
    assert [len(y) for _, y in (content.train, content.validation)] == [500, 1131]
    assert 7532 - 49 <= len(content.test[1]) < 7532
    assert set(content.test[1].tolist()) == set(range(20))
    x, _ = content.train
    assert (x.dtype, x.shape) == (np.int32, (500, 32))
    assert x.max() < 512
    assert (x[:, 0] == json.loads((STORIES / "config.json").read_text())["bos_token_id"]).all()


@needs_shared
def test_chat_messages_are_dealt_by_user():
    changes = {
        "data.input": "text", "data.group": "user", "data.limit": 3000, "data.validation": 100,
        "data.test": 100, "partition.min_examples": 20, "partition.clients": 30,
    }  # fmt: skip
    task = load_task(
        "reddit",
        dataset=str(SHARED / "irc_ubuntu" / "irc_users_min10.jsonl.gz"),
        backbone=str(STORIES),
        changes=changes,
    )
    content, fleet = task.content, task.partition
    assert content.groups is not None
    assert len(content.groups) == len(content.train[0]) <= 3000
    parts = partition(
        content.train[1], fleet.clients, fleet.law, 1.0, 0, content.groups, fleet.min_examples
    )
    assert len(parts) == 30
    assert min(part.size for part in parts) >= 20
