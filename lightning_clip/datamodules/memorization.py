"""`MemorizationDataModule`: repeat a pattern after a long pause."""

from typing import Any

import numpy as np

from lightning_clip._checks import check_count, check_flag, check_rule
from lightning_clip.datamodules._generated_batches import Arrays, one_hot
from lightning_clip.datamodules.sequence_task import SequenceTaskDataModule

_MOST_PATTERNS = 4096


class MemorizationDataModule(SequenceTaskDataModule):
    """Repeat a pattern of a few symbols after many blanks and a trigger.

    The pattern has `n_positions` symbols, each with one of `n_values` values. `length` blanks follow, then the
    trigger, then more blanks, for `length + 2 n_positions` steps in total. The targets of the last `n_positions` steps
    are the pattern, whose first symbol is due at the trigger; all other targets are the blank. The defaults are the
    5-bit problem, in which every batch holds all 32 patterns. `n_values=5, n_positions=10, all_patterns=False` is the
    20-bit problem.

    Args:
        length: Number of blanks between the pattern and the trigger, in time steps.
        n_values: Number of values a symbol can have.
        n_positions: Number of symbols in a pattern.
        all_patterns: Whether every batch, in training and evaluation, holds each pattern once, in order; `batch_size`,
            `n_val` and `n_test` are then ignored. Otherwise patterns are drawn uniformly.
        **options: The options of `SequenceTaskDataModule`.

    Attributes:
        in_features: `n_values + 2`: the symbols, the blank and the trigger, one-hot.
        out_features: `n_values + 1` classes: the symbols and the blank.
        n_patterns: Number of different patterns.

    Raises:
        ArgumentError: An argument is out of range, or `all_patterns` is set and there are more than 4,096 patterns.
        ArgumentTypeError: An argument is not a whole number.

    Example:
        >>> data = MemorizationDataModule(length=3, n_positions=2)
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.argmax(dim=2)[1].tolist()
        [1, 0, 2, 2, 2, 3, 2]
        >>> targets[1].tolist()
        [2, 2, 2, 2, 2, 1, 0]

    References:
        James Martens and Ilya Sutskever, "Learning Recurrent Neural Networks with Hessian-Free Optimization", 2011,
        https://icml.cc/2011/papers/532_icmlpaper.pdf.
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063.
    """

    def __init__(
        self, length: int = 100, *, n_values: int = 2, n_positions: int = 5, all_patterns: bool = True, **options: Any
    ) -> None:
        super().__init__(length, **options)
        check_count("MemorizationDataModule", n_values=n_values, n_positions=n_positions)
        check_flag("MemorizationDataModule", all_patterns=all_patterns)
        self.n_values = n_values
        self.n_positions = n_positions
        self.all_patterns = all_patterns
        self.n_patterns = n_values**n_positions
        self.in_features = n_values + 2
        self.out_features = n_values + 1
        check_rule(
            f"MemorizationDataModule(n_values={n_values}, n_positions={n_positions})",
            f"{self.n_patterns:,} patterns are too many for one batch; set all_patterns=False",
            holds=not all_patterns or self.n_patterns <= _MOST_PATTERNS,
        )

    def draw(self, generator: np.random.Generator, size: int, length: int) -> Arrays:
        """Sequences `(size, length + 2 n_positions, n_values + 2)` and classes `(size, length + 2 n_positions)`."""
        if self.all_patterns:
            numbers = np.arange(self.n_patterns)[:, None]
            pattern = numbers // self.n_values ** np.arange(self.n_positions) % self.n_values
        else:
            pattern = generator.integers(0, self.n_values, (size, self.n_positions))
        blank, trigger = self.n_values, self.n_values + 1
        symbols = np.full((len(pattern), length + 2 * self.n_positions), blank)
        targets = symbols.copy()
        symbols[:, : self.n_positions] = pattern
        symbols[:, length + self.n_positions] = trigger
        targets[:, -self.n_positions :] = pattern
        return one_hot(symbols, self.in_features), targets

    def _sizes(self) -> dict[str, list[int]]:
        if not self.all_patterns:
            return super()._sizes()
        return {
            "train": [self.n_patterns] * self.batches_per_epoch,
            "val": [self.n_patterns],
            "test": [self.n_patterns],
        }
