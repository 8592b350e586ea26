"""`FixedLengths`, `NormalLengths` and `RandomTruncation`: how long the chunks of a stream are.

Pass one of them to a data module as `chunk_lengths`.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from lightning_clip._checks import check_count, check_fraction, check_non_negative, check_rule


class ChunkLengths(ABC):
    """Decides how long the chunks of a stream are.

    Random lengths are drawn once and shuffled in every epoch. Every epoch therefore has the same number of chunks,
    which Lightning counts only once, but cuts the streams at different steps.

    Attributes:
        is_random: Whether the order of the lengths changes from epoch to epoch.
        message_scale: Factor on gradients that flow back over a step at which the stream could have been cut.
    """

    is_random: bool
    message_scale: float = 1.0

    @abstractmethod
    def draw(self, generator: np.random.Generator, nominal_steps: int, size: int) -> NDArray[np.int64]:
        """Draw the lengths of chunks.

        Args:
            generator: The only source of randomness.
            nominal_steps: The usual length of a chunk, `truncated_bptt_steps`.
            size: Number of lengths to draw.

        Returns:
            `(size,)`, in steps, each at least 1.
        """

    def cut(self, generator: np.random.Generator, nominal_steps: int, total: int) -> NDArray[np.int64]:
        """Draw lengths that add up to a whole stream. The last chunk takes the remaining steps.

        Args:
            generator: The only source of randomness.
            nominal_steps: The usual length of a chunk, `truncated_bptt_steps`.
            total: Length of the stream, in steps.

        Returns:
            `(chunks,)`, in steps; their sum is `total`.
        """
        parts: list[NDArray[np.int64]] = []
        missing = total
        while missing > 0:
            parts.append(self.draw(generator, nominal_steps, -(-missing // nominal_steps)))
            missing -= int(parts[-1].sum())
        ends = np.minimum(np.concatenate(parts).cumsum(), total)
        ends = ends[: int(np.searchsorted(ends, total)) + 1]
        lengths: NDArray[np.int64] = np.diff(ends, prepend=0)
        return lengths


class FixedLengths(ChunkLengths):
    """Every chunk has `truncated_bptt_steps` steps; the last one of an epoch may have fewer.

    Example:
        >>> FixedLengths().cut(np.random.default_rng(0), 4, 10).tolist()
        [4, 4, 2]
    """

    is_random = False

    def draw(self, generator: np.random.Generator, nominal_steps: int, size: int) -> NDArray[np.int64]:
        """`size` times `nominal_steps`."""
        return np.full(size, nominal_steps, dtype=np.int64)


class NormalLengths(ChunkLengths):
    """Lengths around `truncated_bptt_steps`, or sometimes half of it, so that no token is always first in its chunk.

    Lengths are normally distributed with mean `truncated_bptt_steps`, or half of that. They are clipped to at least
    `min_steps` and at most `truncated_bptt_steps + 2 std`, which bounds memory.

    Args:
        std: Standard deviation of the lengths, in steps.
        min_steps: Length of the shortest chunk, in steps.
        half_fraction: Fraction of chunks whose mean length is half as long.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: `min_steps` is not a whole number, or another argument is not a number.

    Example:
        >>> NormalLengths().cut(np.random.default_rng(1), 70, 300).tolist()
        [72, 67, 72, 71, 18]

    References:
        Stephen Merity, Nitish Shirish Keskar and Richard Socher, "Regularizing and Optimizing LSTM Language Models",
        2017, https://arxiv.org/abs/1708.02182, section 5. There, the longest chunk is not bounded, and every epoch
        draws new lengths.
    """

    is_random = True

    def __init__(self, std: float = 5.0, *, min_steps: int = 5, half_fraction: float = 0.05) -> None:
        check_non_negative("NormalLengths", std=std)
        check_count("NormalLengths", min_steps=min_steps)
        check_fraction("NormalLengths", half_fraction=half_fraction)
        self.std = std
        self.min_steps = min_steps
        self.half_fraction = half_fraction

    def draw(self, generator: np.random.Generator, nominal_steps: int, size: int) -> NDArray[np.int64]:
        """Rounded down, as in the reference."""
        means = np.where(generator.random(size) < self.half_fraction, nominal_steps / 2, nominal_steps)
        lengths = generator.normal(means, self.std).astype(np.int64)
        longest = max(nominal_steps + int(2 * self.std), self.min_steps)
        return lengths.clip(self.min_steps, longest)


class RandomTruncation(ChunkLengths):
    """Anticipated reweighted truncated backpropagation: every `truncated_bptt_steps`, the chunk ends at random.

    It ends with probability `cut_probability`. Otherwise it continues, and the gradient that flows back over this step
    is multiplied by `1 / (1 - cut_probability)`. This corrects for the cuts: the expected gradient is the one without
    truncation. The price is variance, which grows with the number of possible cuts passed, and memory for chunks of any
    length. `max_multiple` bounds both but makes the gradient biased again, and so does clipping.

    Args:
        cut_probability: Probability of a cut after every `truncated_bptt_steps`, in (0, 1).
        max_multiple: Length of the longest chunk, in multiples of `truncated_bptt_steps`; `None` for any length.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: `max_multiple` is not a whole number.

    Example:
        >>> law = RandomTruncation(0.5)
        >>> law.cut(np.random.default_rng(0), 8, 64).tolist(), law.message_scale
        ([16, 8, 8, 8, 24], 2.0)

    References:
        Corentin Tallec and Yann Ollivier, "Unbiasing Truncated Backpropagation Through Time", 2017,
        https://arxiv.org/abs/1705.08209. There, a cut is possible at every step, and its probability may change.
    """

    is_random = True

    def __init__(self, cut_probability: float = 0.5, *, max_multiple: int | None = None) -> None:
        check_fraction("RandomTruncation", cut_probability=cut_probability)
        call = f"RandomTruncation(cut_probability={cut_probability!r})"
        check_rule(call, "cut_probability must be above 0 and below 1", holds=0 < cut_probability < 1)
        if max_multiple is not None:
            check_count("RandomTruncation", max_multiple=max_multiple)
        self.cut_probability = cut_probability
        self.max_multiple = max_multiple
        self.message_scale = 1 / (1 - cut_probability)

    def draw(self, generator: np.random.Generator, nominal_steps: int, size: int) -> NDArray[np.int64]:
        """Multiples of `nominal_steps`, geometrically distributed."""
        multiples = generator.geometric(self.cut_probability, size)
        return nominal_steps * (multiples if self.max_multiple is None else multiples.clip(max=self.max_multiple))
