"""The cells of a matrix of tests: all of them with `-m slow`, a part of them by default."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import pytest


def sampled(values: Sequence[Any], count: int = 3) -> list[Any]:
    """A few values for the short form, evenly spread; the others are slow.

    Args:
        values: The values of one argument.
        count: How many of them are not slow.
    """
    every = -(-len(values) // count)
    return [_cell((one,), slow=n % every != every // 2) for n, one in enumerate(values)]


def matrix(*axes: Iterable[Any]) -> list[Any]:
    """Every combination of the values of several arguments; the short form has each value of each argument.

    Args:
        *axes: The values of each argument.
    """
    lists = [list(axis) for axis in axes]
    most = max(len(axis) for axis in lists)
    numbered = product(*(enumerate(axis) for axis in lists))
    short = {tuple((n + k) % len(axis) for k, axis in enumerate(lists)) for n in range(most)}
    return [
        _cell([value for _, value in cell], slow=tuple(n for n, _ in cell) not in short)
        for cell in map(tuple, numbered)
    ]


def _cell(values: Sequence[Any], *, slow: bool) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow if slow else ())
