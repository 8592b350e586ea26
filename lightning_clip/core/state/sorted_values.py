"""Order statistics of a sorted list, without sorting it again."""

from bisect import bisect_left
from collections.abc import Sequence


def deviation_at(ordered: Sequence[float], center: float, place: int) -> float:
    """The absolute deviation from a center at a place in the sorted order of all absolute deviations.

    The deviations to the left of the center and those to its right are sorted already, so the search only decides how
    many of the smallest ones lie on the left, by bisection.

    Args:
        ordered: `n` numbers, in ascending order.
        center: The number that deviations are measured from.
        place: 0 for the smallest deviation, `n - 1` for the largest.

    Returns:
        The deviation.

    Example:
        >>> [deviation_at([1.0, 2.0, 6.0, 9.0], 4.0, place) for place in range(4)]
        [2.0, 2.0, 3.0, 5.0]
    """
    left = bisect_left(ordered, center)
    right = len(ordered) - left
    low, high = max(0, place + 1 - right), min(left, place + 1)
    # Of the `place + 1` smallest deviations, `taken` lie on the left: the fewest whose next one is no longer smaller.
    while low < high:
        taken = (low + high) // 2
        if center - ordered[left - 1 - taken] < ordered[left + place - taken] - center:
            low = taken + 1
        else:
            high = taken
    on_left = center - ordered[left - low] if low else 0.0
    on_right = ordered[left + place - low] - center if place + 1 > low else 0.0
    return max(on_left, on_right)
