"""What the figures of comparisons share."""

from collections.abc import Iterable

# Okabe and Ito's colours, which colour-blind people can tell apart, without their yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_WIDE = 10**1.5


def is_wide(values: Iterable[float | str]) -> bool:
    """Whether positive numbers need a logarithmic scale: they span more than one and a half decades.

    Example:
        >>> is_wide([1, 20]), is_wide([1, 40]), is_wide([0, 40]), is_wide([])
        (False, True, False, False)
    """
    numbers = [float(value) for value in values]
    return bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) > _WIDE
