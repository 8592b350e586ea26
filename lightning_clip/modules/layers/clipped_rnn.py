"""`ClippedRNN`: an `nn.RNN` that clamps gradients within the backward pass."""

import torch
from torch import Tensor, nn

from lightning_clip.modules.layers.clipped_recurrence import ClippedRecurrence
from lightning_clip.modules.layers.unrolled_recurrence import State


class ClippedRNN(ClippedRecurrence, nn.RNN):
    """`nn.RNN` with the gradient at its pre-activations clamped at every step of the backward pass.

    This is the plain form of `ClippedLSTM`, which explains the method. Parameters, state dict and outputs are those of
    `nn.RNN`.

    Args:
        *args: Passed to `nn.RNN`.
        grad_clip_gates: Clamps each element of the gradient at the pre-activations of every step to plus or minus this
            value; `None` runs the fused layer without clamping.
        grad_clip_output: Clamps each element of the gradient that arrives at the layer's output from above to plus or
            minus this value.
        **kwargs: Passed to `nn.RNN`.

    Attributes:
        clamps: The gradient clamps `"gates"` and `"output"`. Each has a `clamped_fraction`, a tensor `()` counted since
            its last `reset()`, and a `loss_scale`.

    Raises:
        ArgumentError: A bound is not positive.

    Example:
        >>> layer = ClippedRNN(4, 8, batch_first=True, grad_clip_gates=1.0)
        >>> output, h_n = layer(torch.zeros(2, 5, 4))
        >>> output.shape, h_n.shape
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))

    References:
        Alex Graves, "Generating Sequences With Recurrent Neural Networks", 2013, https://arxiv.org/abs/1308.0850, who
        clamps in LSTM layers.
    """

    def step(self, projected: Tensor, state: State, suffix: str) -> State:
        """`h = tanh(z)` or `relu(z)`; shapes as in `UnrolledRecurrence.step`."""
        z = self.clamps["gates"](torch.addmm(projected, state[0], getattr(self, f"weight_hh{suffix}").t()))
        return (z.tanh() if self.nonlinearity == "tanh" else z.relu(),)
