"""`ClippedRNN`: `nn.RNN` that clamps derivatives inside the backward pass."""

import torch
from torch import Tensor, nn

from lightning_clip.modules.layers.clipped_recurrence import ClippedRecurrence
from lightning_clip.modules.layers.unrolled_recurrence import State


class ClippedRNN(ClippedRecurrence, nn.RNN):
    """`nn.RNN` with the derivative at its pre-activations clamped at every step of the backward pass.

    See `ClippedLSTM`, of which this is the plain form: same parameters, state dict and results as `nn.RNN`.

    Args:
        *args: As for `nn.RNN`.
        grad_clip_gates: Bound of each element of the derivative at the pre-activations, of every step; `None` leaves
            them as they are and runs the fused layer.
        grad_clip_output: Bound of each element of the derivative that arrives at the layer's output from above.
        **kwargs: As for `nn.RNN`.

    Attributes:
        clamps: What bounds derivatives, as `"gates"` and `"output"`; each has its `clamped_fraction`, a tensor `()`
            counted since its last `reset()`, and its `loss_scale`.

    Raises:
        ValueError: A bound is not positive.

    Example:
        >>> layer = ClippedRNN(4, 8, batch_first=True, grad_clip_gates=1.0)
        >>> output, h_n = layer(torch.zeros(2, 5, 4))
        >>> output.shape, h_n.shape
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))

    References:
        Alex Graves, "Generating Sequences With Recurrent Neural Networks", 2013, https://arxiv.org/abs/1308.0850. He
        clamps in LSTM layers.
    """

    def step(self, projected: Tensor, state: State, suffix: str) -> State:
        """`h = tanh(z)` or `relu(z)`; shapes as in `UnrolledRecurrence.step`."""
        z = self.clamps["gates"](torch.addmm(projected, state[0], getattr(self, f"weight_hh{suffix}").t()))
        return (z.tanh() if self.nonlinearity == "tanh" else z.relu(),)
