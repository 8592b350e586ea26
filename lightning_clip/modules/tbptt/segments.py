"""`run_in_segments`: runs a recurrent network and changes its state between steps."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor

from lightning_clip.modules.tbptt.hiddens import Cell, Hiddens


def run_in_segments(
    cell: Cell, inputs: Tensor, hiddens: Hiddens, changes: Mapping[int, Callable[[Hiddens], Hiddens]]
) -> tuple[Tensor, Hiddens]:
    """Run a recurrent network over a sequence and change its state between steps, which fused layers do not support.

    Args:
        cell: The recurrent network.
        inputs: `(batch, steps, …)`.
        hiddens: State before the first step.
        changes: Functions that change the state, by the index of the step before which they are applied.

    Returns:
        Outputs `(batch, steps, …)` and the state after the last step.
    """
    edges = [0, *sorted(step for step in changes if 0 < step < inputs.shape[1]), inputs.shape[1]]
    outputs = []
    for begin, end in pairwise(edges):
        if begin in changes:
            hiddens = changes[begin](hiddens)
        part, hiddens = cell(inputs[:, begin:end], hiddens)
        outputs.append(part)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1), hiddens
