"""`run_in_segments`: a recurrent network whose state is changed between steps."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor

from lightning_clip.modules.tbptt.hiddens import Cell, Hiddens


def run_in_segments(
    cell: Cell, inputs: Tensor, hiddens: Hiddens, changes: Mapping[int, Callable[[Hiddens], Hiddens]]
) -> tuple[Tensor, Hiddens]:
    """Run over a sequence and change the state between steps: what a fused layer does not offer.

    Args:
        cell: The recurrent network.
        inputs: `(batch, steps, …)`.
        hiddens: State before the first step.
        changes: What becomes of the state before some steps, by number of the step.

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
