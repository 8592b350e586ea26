"""Comparison of nested states."""

from typing import Any

import torch


def assert_same_values(one: Any, two: Any, where: str = "", *, equal_nan: bool = True) -> None:
    """Two structures of plain values and tensors are equal, bit for bit; `equal_nan` lets NaN equal NaN."""
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_same_values(one[key], two[key], f"{where}/{key}", equal_nan=equal_nan)
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for position, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_same_values(a, b, f"{where}/{position}", equal_nan=equal_nan)
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=equal_nan, msg=where)
    else:
        assert one == two or (equal_nan and one != one and two != two), f"{where}: {one!r}, {two!r}"
