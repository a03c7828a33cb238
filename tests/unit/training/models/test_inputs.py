"""What models read of images and texts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import IMAGES, NEXT_TOKEN, TEXTS, tiny_model

from floss_sim.errors import TaskError
from floss_sim.tasks.normalisation import Normalisation
from floss_sim.training.models.inputs import ImageReader, NextTokenReader, TextReader, reader

Y = torch.tensor([2, 0])


def images(size: int | None = None, side: int = 4, **more: object) -> ImageReader:
    chosen = {"mean": None, "std": None, **more}
    return ImageReader(size, chosen["mean"], chosen["std"], (3, side, side))


def test_float_images_are_read_as_they_are():
    x = torch.rand(2, 3, 4, 4)
    assert images(4, mean=(9, 9, 9), std=(9, 9, 9)).read(x)["pixel_values"] is x


def test_whole_numbers_become_fractions_and_are_normalised_per_channel():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    plain = images().read(x)["pixel_values"]
    assert plain[0, :, 0, 0].tolist() == pytest.approx([0, 0.2, 1])
    scaled = images(mean=(0.5, 0.1, 0), std=(0.5, 0.25, 2)).read(x)["pixel_values"]
    assert scaled[0, :, 2, 1].tolist() == pytest.approx([-1, 0.4, 0.5])


def test_a_scale_takes_the_place_of_one_in_255():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    reader = ImageReader(None, (1.0,) * 3, (2.0,) * 3, (3, 4, 4), scale=0.5)
    assert reader.read(x)["pixel_values"][0, :, 1, 1].tolist() == [-0.5, 12.25, 63.25]


@pytest.mark.parametrize("size", [5, 24])
def test_resizing_is_that_of_an_image_library(size: int):
    """Pillow's bilinear filter widens with the reduction, which is what antialiasing means."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12)).astype(np.uint8)
    x = torch.from_numpy(pixels).expand(1, 3, 12, 12)
    found = images(size, side=size).read(x)["pixel_values"][0, 1] * 255
    expected = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
    assert np.abs(found.numpy() - np.asarray(expected, np.float32)).max() < 1.01
    as_float = images(size, side=size).read(x.float())["pixel_values"][0, 1]
    assert torch.allclose(as_float, found, atol=1e-3)


def test_images_that_the_backbone_cannot_read_are_refused():
    with pytest.raises(TaskError, match=r"are 3 x 8 x 8, but the backbone reads 3 x 4 x 4"):
        images().read(torch.zeros(1, 3, 8, 8))
    with pytest.raises(TaskError, match=r"are 1 x 4 x 4, but"):
        images(4).read(torch.zeros(1, 1, 8, 8))


def tokens() -> torch.Tensor:
    return torch.tensor([[4, 5, 6, -1, -1], [7, -1, -1, -1, -1]], dtype=torch.int32)


def test_texts_are_cut_to_the_longest_and_padded_with_the_models_token():
    read = TextReader(pad=9, words=10, positions=3).read(tokens())
    assert read["input_ids"].tolist() == [[4, 5, 6], [7, 9, 9]]
    assert read["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_each_token_but_the_first_is_predicted_from_those_before():
    logits = torch.arange(6.0).view(2, 3, 1)
    found, targets = NextTokenReader(9, 10, 5).targets(logits, tokens(), Y)
    assert found.ravel().tolist() == [0, 1]
    assert targets.tolist() == [5, 6]


def test_texts_that_the_backbone_cannot_read_are_refused():
    with pytest.raises(TaskError, match=r"3 tokens, but the backbone reads at most 2.*max_length"):
        TextReader(pad=9, words=10, positions=2).read(tokens())
    with pytest.raises(TaskError, match=r"token id 7 is outside the backbone's vocabulary of 7;"):
        TextReader(pad=0, words=7, positions=5).read(tokens())


def test_the_reader_follows_the_task_and_the_backbone():
    preprocess = SimpleNamespace(image_size=8)
    used = Normalisation((0.5,), (0.5,), 2.0)

    def made(kind: str, family: str, **changes: object) -> object:
        config = tiny_model(family, **changes).config.to_dict()
        task = SimpleNamespace(
            kind=kind, preprocess=preprocess, normalisation=used, backbone_config=config
        )
        return reader(task)

    seen = made(IMAGES, "vit", image_size=[8, 16])
    assert seen == ImageReader(8, (0.5,), (0.5,), (3, 8, 16), scale=2.0)
    used = None
    unchanged = made(IMAGES, "vit", image_size=[8, 16])
    assert unchanged == ImageReader(8, None, None, (3, 8, 16))
    assert made(TEXTS, "gpt2", pad_token_id=4) == TextReader(4, 30, 12)
    assert made(NEXT_TOKEN, "llama", pad_token_id=0) == NextTokenReader(0, 30, 12)
