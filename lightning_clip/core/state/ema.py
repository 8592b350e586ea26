"""`Ema`: a bias-corrected exponential moving average."""

import torch
from torch import Tensor

from lightning_clip.core.state.state import State


class Ema(State):
    """The exponential moving average `S ← decay · S + (1 - decay) · x`, divided by `1 - decay^k` after `k` values.

    Args:
        decay: Weight of the past, in [0, 1).

    Attributes:
        count: The number of values stored, int64 `()`.

    Example:
        >>> ema = Ema(0.9)
        >>> for x in (2.0, 4.0):
        ...     ema.push(torch.tensor(x), torch.tensor(True))
        >>> round(float(ema.mean()), 4)
        3.0526
    """

    sum: Tensor
    weight: Tensor
    count: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("sum", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def push(self, value: Tensor, keep: Tensor) -> None:
        """Store a value if `keep` is true.

        Args:
            value: `()`.
            keep: Boolean `()`.
        """
        self.match(value)
        # Interpolating toward the old number leaves it unchanged, bit for bit, so one `where` per buffer is enough.
        self.sum.lerp_(torch.where(keep, value.to(self.sum.dtype), self.sum), 1 - self.decay)
        self.weight.lerp_(torch.where(keep, 1.0, self.weight), 1 - self.decay)
        self.count.add_(keep)

    def mean(self) -> Tensor:
        """The bias-corrected average, `()`; NaN before the first value."""
        return self.sum / self.weight
