"""`ClippedRecurrence`: the base class of `ClippedRNN` and `ClippedLSTM`."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from lightning_clip._checks import check_positive
from lightning_clip.modules.layers.gradient_clamp import GradientClamp
from lightning_clip.modules.layers.unrolled_recurrence import UnrolledRecurrence


class ClippedRecurrence(UnrolledRecurrence):
    """A `torch.nn` layer that clamps gradients within the backward pass, before they are summed over time.

    Without `grad_clip_gates`, or if no gradient is needed, the fused layer runs.

    Args:
        *args: Passed to the `torch.nn` layer.
        grad_clip_gates: Clamps each element of the gradient at the pre-activations of every step to plus or minus this
            value; `None` for no clamping.
        grad_clip_output: Clamps each element of the gradient that arrives at the layer's output from above to plus or
            minus this value; `None` for no clamping.
        **kwargs: Passed to the `torch.nn` layer.

    Attributes:
        clamps: The gradient clamps `"gates"` and `"output"`, each with a `clamped_fraction`.

    Raises:
        ArgumentError: A bound is not positive.
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
        """Run the layer, as its `torch.nn` base class does.

        Args:
            input: `(steps, batch, input_size)`, `(batch, steps, input_size)` with `batch_first`, unbatched or packed.
            hx: The initial state; zeros by default.

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
        """The arguments that differ from their defaults."""
        bounds = {"grad_clip_gates": self.grad_clip_gates, "grad_clip_output": self.grad_clip_output}
        given = [f"{name}={bound}" for name, bound in bounds.items() if bound is not None]
        return ", ".join([nn.RNNBase.extra_repr(self), *given])
