"""Examples on a device: runs of the same arrays share a copy, and no others do."""

from __future__ import annotations

import gc

import numpy as np
import torch

from floss_sim.training import device_data
from floss_sim.training.device_data import device_tensors

# A device whose tensors are no views of arrays, as a GPU's.
META = torch.device("meta")


def test_runs_of_the_same_arrays_share_a_copy():
    arrays = np.arange(6.0), np.arange(6)
    first, again = device_tensors(arrays, META), device_tensors(arrays, META)
    assert all(one is other for one, other in zip(first, again, strict=True))
    alike = device_tensors((np.arange(6.0), np.arange(6)), META)
    assert not any(one is other for one, other in zip(first, alike, strict=True))
    here = device_tensors(arrays, torch.device("cpu"))
    assert [tensor.numpy().tolist() for tensor in here] == [[*range(6)]] * 2


def test_a_copy_is_kept_for_no_longer_than_its_array_and_its_runs():
    x, y = np.arange(6.0), np.arange(6)
    of_x, of_y = (id(x), "meta"), (id(y), "meta")
    held = device_tensors((x, y), META)
    assert {of_x, of_y} <= set(device_data._copies)
    del x
    gc.collect()
    assert of_x not in device_data._copies  # another array may take its place, and its id
    assert of_y in device_data._copies
    del held
    gc.collect()
    assert of_y not in device_data._copies
