"""`FixedLengths`, `NormalLengths` and `RandomTruncation`: how long the chunks of a stream are."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from lightning_clip._checks import check_count, check_rule


class ChunkLengths(ABC):
    """A law by which streams are cut into chunks.

    Random lengths are drawn once; each epoch visits them in another random order. So every epoch has the same number
    of chunks, which Lightning counts only once, and cuts at other places.

    Attributes:
        is_random: Whether the order of the lengths changes from epoch to epoch.
        message_scale: The factor for gradients that flow back over a place where there might have been a cut.
    """

    is_random: bool
    message_scale: float = 1.0

    @abstractmethod
    def draw(self, generator: np.random.Generator, nominal_steps: int, size: int) -> NDArray[np.int64]:
        """Lengths of chunks.

        Args:
            generator: The only source of chance.
            nominal_steps: `truncated_bptt_steps`.
            size: How many.

        Returns:
            `(size,)`, in steps, each at least 1.
        """

    def cut(self, generator: np.random.Generator, nominal_steps: int, total: int) -> NDArray[np.int64]:
        """Lengths of chunks that fill a stream; the last one is as long as the rest.

        Args:
            generator: The only source of chance.
            nominal_steps: `truncated_bptt_steps`.
            total: Steps of the stream.

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
        """`nominal_steps`, `size` times."""
        return np.full(size, nominal_steps, dtype=np.int64)


class NormalLengths(ChunkLengths):
    """Lengths around `truncated_bptt_steps`, sometimes around half of it, so that no token is always first in a chunk.

    A length is normal with mean `truncated_bptt_steps`, or half of that, and at least `min_steps`. It is also at most
    `truncated_bptt_steps + 2 std`: memory stays bounded.

    Args:
        std: Standard deviation, in steps.
        min_steps: The shortest chunk, in steps.
        half_fraction: The fraction of chunks that are half as long.

    Raises:
        ValueError: An argument is out of range.
        TypeError: `min_steps` is not a whole number.

    Example:
        >>> NormalLengths().cut(np.random.default_rng(1), 70, 300).tolist()
        [72, 67, 72, 71, 18]

    References:
        Stephen Merity, Nitish Shirish Keskar and Richard Socher, "Regularizing and Optimizing LSTM Language Models",
        2017, https://arxiv.org/abs/1708.02182, section 5. There the longest chunk is not bounded, and each epoch draws
        anew.
    """

    is_random = True

    def __init__(self, std: float = 5.0, *, min_steps: int = 5, half_fraction: float = 0.05) -> None:
        check_rule(f"NormalLengths(std={std!r})", "std must be a number of at least 0", holds=0 <= std < np.inf)
        check_count("NormalLengths", min_steps=min_steps)
        call = f"NormalLengths(half_fraction={half_fraction!r})"
        check_rule(call, "half_fraction must be in [0, 1]", holds=0 <= half_fraction <= 1)
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
    """Anticipated reweighted truncated backpropagation: after every `truncated_bptt_steps` a cut, but only by chance.

    With probability `cut_probability` the chunk ends there; otherwise it goes on, and the gradient that flows back over
    this place is multiplied by `1 / (1 - cut_probability)`, which makes up for the cuts: on average over the cuts it is
    the gradient without truncation. The price is its variance, which grows with the number of places passed, and memory
    for chunks of any length. `max_multiple` bounds both, and makes the gradient biased again. So does clipping.

    Args:
        cut_probability: Chance of a cut after each `truncated_bptt_steps`, in (0, 1).
        max_multiple: The longest chunk, in multiples of `truncated_bptt_steps`; `None` for any length.

    Raises:
        ValueError: An argument is out of range.
        TypeError: `max_multiple` is not a whole number.

    Example:
        >>> law = RandomTruncation(0.5)
        >>> law.cut(np.random.default_rng(0), 8, 64).tolist(), law.message_scale
        ([16, 8, 8, 8, 24], 2.0)

    References:
        Corentin Tallec and Yann Ollivier, "Unbiasing Truncated Backpropagation Through Time", 2017,
        https://arxiv.org/abs/1705.08209. There a cut is possible at each step, and its probability may change.
    """

    is_random = True

    def __init__(self, cut_probability: float = 0.5, *, max_multiple: int | None = None) -> None:
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
