"""`CumulativeCounts`: the place of a rank among counts that grow by one, without adding all of them up."""

from collections.abc import Sequence


class CumulativeCounts:
    """Sums of counts in a binary indexed tree: an increment and a search each take as many steps as the size has bits.

    Args:
        counts: The counts, as many as a power of two.

    Example:
        >>> counts = CumulativeCounts([0, 2, 0, 1])
        >>> counts.find(2), counts.find(3)
        ((1, 2), (3, 1))
        >>> counts.increment(0)
        >>> counts.find(2)
        (1, 1)
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._size = len(counts)
        self._sums = [0, *counts]  # each becomes the sum of the counts that end there and share its lowest bit
        for end in range(1, self._size + 1):
            above = end + (end & -end)
            if above <= self._size:
                self._sums[above] += self._sums[end]

    def increment(self, place: int) -> None:
        """Add one to the count at a place."""
        end = place + 1
        while end <= self._size:
            self._sums[end] += 1
            end += end & -end

    def find(self, number: int) -> tuple[int, int]:
        """Return the first place up to which the counts add up to a number, and how much of its own count that takes.

        Args:
            number: At least 1. If all counts add up to less, the place is their number.
        """
        sums, place, width = self._sums, 0, self._size // 2
        if sums[self._size] < number:
            return self._size, 0
        while width:
            if sums[place + width] < number:
                place += width
                number -= sums[place]
            width //= 2
        return place, number
