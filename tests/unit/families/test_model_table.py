import json

import pytest

from floss_sim.families.model_table import LABELS, ModelTable


def made():
    shapes = {f"m.layers.{i}.q.weight": (4, 2) for i in (0, 1, 3)}
    nested = {f"m.stages.{i}.blocks.{j}.q.weight": (3, 3) for i, j in ((0, 0), (1, 0), (1, 1))}
    return ModelTable(
        "tiny",
        {"m.embed.weight": (9, 2), **shapes, **nested, "score.weight": (LABELS, 2)},
        {name.removesuffix(".weight"): "linear" for name in (*shapes, *nested)},
        head=("score",),
    )


def test_a_table_comes_back_from_json():
    text = json.dumps(made().to_json())

    assert ModelTable.from_json(json.loads(text)) == made()
    assert '"m.layers.*.q.weight", [4, 2], "0-1,3-3"' in text


def test_classes_are_filled_in():
    assert made().with_labels(7).parameters["score.weight"] == (7, 2)
    assert made().with_labels(7).entries == 18 + 3 * 8 + 3 * 9 + 14


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": [["a.*.b", [1]]]},
        {"parameters": [["a.*.b", [1], "0"]]},
        {"parameters": [["a.b", ["x"]]]},
        {"modules": [["a.*.b", "linear", [[1, 2]]]]},
    ],
)
def test_a_damaged_table_is_refused(change):
    with pytest.raises((ValueError, TypeError, KeyError)):
        ModelTable.from_json(made().to_json() | change)


def test_names_below_a_module():
    assert list(made().below("score")) == ["score.weight"]
    assert list(made().below("m.embed.weight")) == ["m.embed.weight"]
