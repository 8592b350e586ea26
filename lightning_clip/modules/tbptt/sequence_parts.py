"""`sequence_parts`: splits a batch of sequences with targets, masks or lengths into chunks (`SequencePart`)."""

from typing import NamedTuple

import torch
from torch import Tensor


class SequencePart(NamedTuple):
    """A chunk of a batch of sequences.

    Attributes:
        inputs: `(batch, steps, …)`.
        targets: `(batch, steps, …)`, or `(batch, …)` for one target after the last step; `None` without targets.
        mask: `(batch, steps)` or `(batch,)`, true where there is a target; `None` if every target counts.
        lengths: `(batch,)`, number of real steps of each row in this chunk, on the CPU; `None` if all are real.
    """

    inputs: Tensor
    targets: Tensor | None
    mask: Tensor | None = None
    lengths: Tensor | None = None


def sequence_parts(batch: tuple[Tensor, ...], steps: int, *, every_step: bool) -> list[SequencePart]:
    """Split a batch into chunks.

    Args:
        batch: Inputs `(batch, time, …)`, targets `(batch, time, …)` or `(batch, …)`, and optionally a mask of the
            targets `(batch, time)` or the lengths `(batch,)` of sequences padded on the right.
        steps: Length of a chunk, in time steps; the last one may be shorter.
        every_step: Whether there is a target at every step instead of one after the last.

    Returns:
        The chunks, in order, as views of the tensors.

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
