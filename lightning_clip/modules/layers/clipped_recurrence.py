"""`ClippedRecurrence`: the ground of `ClippedRNN` and `ClippedLSTM`."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from lightning_clip._checks import check_positive
from lightning_clip.modules.layers.gradient_clamp import GradientClamp
from lightning_clip.modules.layers.unrolled_recurrence import UnrolledRecurrence


class ClippedRecurrence(UnrolledRecurrence):
    """A layer of `torch.nn` that clamps derivatives inside the backward pass, before they are summed over time.

    Without `grad_clip_gates`, and where no gradient is asked for, it runs the fused layer.

    Args:
        *args: As for the layer of `torch.nn`.
        grad_clip_gates: Bound of each element of the derivative at the pre-activations, of every step.
        grad_clip_output: Bound of each element of the derivative that arrives at the layer's output from above.
        **kwargs: As for the layer of `torch.nn`.

    Attributes:
        clamps: What bounds derivatives, as `"gates"` and `"output"`; each has its `clamped_fraction`.

    Raises:
        ValueError: A bound is not positive.
    """

    def __init__(
        self, *args: Any, grad_clip_gates: float | None = None, grad_clip_output: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        check_positive(
            type(self).__name__, or_none=True, grad_clip_gates=grad_clip_gates, grad_clip_output=grad_clip_output
        )
        self.grad_clip_gates = grad_clip_gates
        self.grad_clip_output = grad_clip_output
        self.clamps = {"gates": GradientClamp(grad_clip_gates), "output": GradientClamp(grad_clip_output)}

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As the layer of `torch.nn`.

        Args:
            input: `(steps, batch, input_size)`, `(batch, steps, input_size)` with `batch_first`, unbatched or packed.
            hx: The first state; zeros by default.

        Returns:
            The outputs of all steps, and the last state.
        """
        if self.grad_clip_gates is not None and torch.is_grad_enabled():
            output, hidden = self.unroll(input, hx)
        else:
            output, hidden = super().forward(input, hx)
        self.clamps["output"](output.data if isinstance(output, PackedSequence) else output)
        return output, hidden

    def extra_repr(self) -> str:
        """The arguments that are not their defaults."""
        bounds = {"grad_clip_gates": self.grad_clip_gates, "grad_clip_output": self.grad_clip_output}
        given = [f"{name}={bound}" for name, bound in bounds.items() if bound is not None]
        return ", ".join([nn.RNNBase.extra_repr(self), *given])
