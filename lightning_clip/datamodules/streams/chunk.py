"""`Chunk`: what a truncated backpropagation through time is given at once."""

from typing import NamedTuple

from torch import Tensor


class Chunk(NamedTuple):
    """Consecutive steps of parallel streams: row `i` goes on where row `i` of the chunk before has stopped.

    A plain tuple, so that Lightning moves its tensors to the device. What decides about control flow is not a tensor,
    so that nobody has to wait for the device to read it.

    Attributes:
        inputs: `(streams, steps)` symbols or `(streams, steps, features)` numbers.
        targets: `(streams, steps)` or `(streams, steps, outputs)`.
        mask: `(streams, steps)`, true where there is a target; `None` for everywhere.
        resets: `(streams, steps)`, true where the state is to be forgotten before the step is read; `None` for nowhere.
        reset_steps: The steps of this chunk at which some row is reset, in order.
        streams: Which streams the rows are, counted over all processes; `None` for `0 … rows - 1` of this process.
        start: How many steps of the streams came before; 0 begins an epoch. `None` where nobody has counted.
        nominal_steps: How many steps a chunk has as a rule, `truncated_bptt_steps`; `None` for as many as this one.
        message_scale: The factor that makes up for random truncation: it multiplies the gradient of the state wherever
            that flows back over a multiple of `nominal_steps` inside this chunk. 1 for chunks that are not random.

    Example:
        >>> import torch
        >>> chunk = Chunk(torch.zeros(4, 16, 2), torch.zeros(4, 16, 1), start=32)
        >>> chunk.inputs.shape, chunk.start, chunk.mask
        (torch.Size([4, 16, 2]), 32, None)
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None = None
    resets: Tensor | None = None
    reset_steps: tuple[int, ...] = ()
    streams: tuple[int, ...] | None = None
    start: int | None = None
    nominal_steps: int | None = None
    message_scale: float = 1.0
