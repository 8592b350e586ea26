"""`SequencePart` and `sequence_parts`: a batch of sequences with targets, masks or lengths, cut into chunks."""

from typing import NamedTuple

import torch
from torch import Tensor


class SequencePart(NamedTuple):
    """A chunk of a batch of sequences.

    Attributes:
        inputs: `(batch, steps, …)`.
        targets: `(batch, steps, …)`, or `(batch, …)` for a target after the last step; `None` where there are none.
        mask: `(batch, steps)` or `(batch,)`, true where there is a target; `None` for everywhere.
        lengths: `(batch,)`, real steps of each row in this chunk, on the CPU; `None` for all.
    """

    inputs: Tensor
    targets: Tensor | None
    mask: Tensor | None = None
    lengths: Tensor | None = None


def sequence_parts(batch: tuple[Tensor, ...], steps: int, *, every_step: bool) -> list[SequencePart]:
    """Cut a batch.

    Args:
        batch: Inputs `(batch, time, …)`, targets `(batch, time, …)` or `(batch, …)`, and perhaps a mask of the targets
            `(batch, time)` or lengths `(batch,)` of sequences that are padded on the right.
        steps: Steps of a chunk; the last one may have fewer.
        every_step: Whether there is a target at every step, or one after the last.

    Returns:
        The chunks, in order, with views of the tensors.

    Example:
        >>> batch = torch.zeros(2, 10, 3), torch.zeros(2), torch.tensor([3, 10])
        >>> [(len(part.inputs[0]), part.mask) for part in sequence_parts(batch, 5, every_step=False)]
        [(5, tensor([ True, False])), (5, tensor([False,  True]))]
    """
    inputs, targets, *rest = batch
    mask = next((extra for extra in rest if extra.dim() > 1), None)
    lengths = next((extra.cpu() for extra in rest if extra.dim() == 1), None)
    parts = []
    for start in range(0, inputs.shape[1], steps):
        part = inputs[:, start : start + steps]
        width = part.shape[1]
        real = None if lengths is None else (lengths - start).clamp(0, width)
        if every_step:
            chosen = None if mask is None else mask[:, start : start + steps]
            chosen = chosen if real is None else torch.arange(width) < real[:, None]
            parts.append(SequencePart(part, targets[:, start : start + steps], chosen, real))
        elif lengths is None:
            is_last = start + width == inputs.shape[1]
            parts.append(SequencePart(part, targets if is_last else None))
        else:
            ends = (lengths > start) & (lengths <= start + width)
            parts.append(SequencePart(part, targets if bool(ends.any()) else None, ends, real))
    return parts
