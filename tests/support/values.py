"""Comparison of tensors and of nested states; those of torch take long, and here most are equal."""

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
        if one.dtype != two.dtype or not torch.equal(one, two):
            torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=equal_nan, msg=where)
    else:
        assert one == two or (equal_nan and one != one and two != two), f"{where}: {one!r}, {two!r}"


def assert_close(
    actual: torch.Tensor, expected: torch.Tensor, context: str, *, rtol: float = 1e-7, atol: float = 1e-7
) -> None:
    """Like `torch.testing.assert_close`, but quick where nothing is wrong."""
    if (
        actual.dtype != expected.dtype
        or actual.shape != expected.shape
        or not torch.allclose(actual, expected, rtol, atol)
    ):
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol, msg=context)
