"""Columns of records in few bytes: every value comes back with its type, bit for bit."""

import io
import math

import pytest
import torch

from lightning_clip.core.record.columns import packed, unpacked


@pytest.mark.parametrize(
    "column",
    [
        [],
        [1.5, 1.5],
        [0.1, 2.0],
        [0.5, 2.0],
        [1e300, 1.0],
        [math.inf, -math.inf, 0.25],
        [math.inf, 1e39],
        [True, False],
        [True, True],
        [1, 2, 3],
        [1, True],
        [-(2**40), 2**40],
        ["a", "b", "a"],
        [None, 1.0],
        [None, None],
        [{}, {}],
        [{"NormClip": 0.5}, {}],
        [0, 0.0],
        [0.0, -0.0],
        [0, 0],
    ],
    ids=str,
)
def test_a_column_comes_back_as_it_was(column):
    """Also through a file that is loaded with `weights_only=True`."""
    file = io.BytesIO()
    torch.save(packed(column), file)
    file.seek(0)
    again = unpacked(torch.load(file, weights_only=True))
    assert again == column
    assert list(map(repr, again)) == list(map(repr, column))


def test_nan_comes_back():
    """It is equal to nothing, not even to itself."""
    again = unpacked(packed([math.nan, 0.1, math.nan]))
    assert [math.isnan(value) for value in again] == [True, False, True]
    assert again[1] == 0.1


def test_a_norm_in_single_precision_takes_four_bytes():
    """What was computed in float32 stays exact in it."""
    column = packed(torch.rand(100).double().tolist())
    assert column.dtype is torch.float32
    assert packed(list(range(100))).dtype is torch.int8
