"""`Chunk`: one batch of truncated backpropagation through time."""

from typing import NamedTuple

from torch import Tensor


class Chunk(NamedTuple):
    """Consecutive steps of parallel streams. Row `i` continues row `i` of the previous chunk.

    A chunk is a plain tuple, so Lightning moves its tensors to the device. Values that control flow depends on are
    Python numbers, so reading them never waits for the device.

    Attributes:
        inputs: Symbols `(streams, steps)` or numbers `(streams, steps, features)`.
        targets: `(streams, steps)` or `(streams, steps, outputs)`.
        mask: `(streams, steps)`, true where there is a target; `None` if every step has one.
        resets: `(streams, steps)`, true where the state is reset before the step is read; `None` for no resets.
        reset_steps: The steps of this chunk at which some row is reset, in order.
        streams: Indices of the rows' streams, counted over all processes; `None` for `0 … rows - 1` of this process.
        start: Number of steps of the streams before this chunk; 0 starts an epoch, `None` is unknown.
        nominal_steps: The usual length of a chunk, `truncated_bptt_steps`; `None` for the length of this one.
        message_scale: Factor that corrects for random truncation. It multiplies the gradient of the state wherever
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
