"""`ClippedLSTM`: `nn.LSTM` that clamps derivatives inside the backward pass."""

import torch
from torch import Tensor, nn

from lightning_clip.modules.layers.clipped_recurrence import ClippedRecurrence
from lightning_clip.modules.layers.unrolled_recurrence import State


class ClippedLSTM(ClippedRecurrence, nn.LSTM):
    """`nn.LSTM` with the derivatives at its gates clamped at every step of the backward pass.

    At step t let z be what enters the four gates, before their sigmoid and tanh. The derivative of the loss with
    respect to z, which has come back through all later steps, is clamped to [-grad_clip_gates, grad_clip_gates] before
    it goes on to earlier steps and to the weights. So it cannot grow without limit on its way, where clipping the
    finished gradient would only rescale a sum that one step governs. What is left is no longer the gradient of the
    loss: the direction changes with the bound.

    Parameters, state dict and results are those of `nn.LSTM`, and so are the gradients while no bound is reached. The
    fused layer has no opening for this, and it takes several times as long as that; without `grad_clip_gates`, and
    where no gradient is asked for, the fused one runs.

    Args:
        *args: As for `nn.LSTM`.
        grad_clip_gates: Bound of each element of the derivative at the gates, of every step; `None` leaves them as they
            are. Graves takes 1 for text and 10 for handwriting, of a loss summed over time: with a mean over B
            sequences and T steps divide by B·T.
        grad_clip_output: Bound of each element of the derivative that arrives at the layer's output from above. Graves
            has one at the output of the network instead, 100: `LSTMModule(grad_clip_output=…)`.
        **kwargs: As for `nn.LSTM`.

    Attributes:
        clamps: What bounds derivatives, as `"gates"` and `"output"`; each has its `clamped_fraction`, a tensor `()`
            counted since its last `reset()`, and its `loss_scale`, to be set where the loss is scaled before the
            backward pass (`LSTMModule` does so under mixed precision).

    Raises:
        ValueError: A bound is not positive.

    Example:
        >>> layer = ClippedLSTM(4, 8, batch_first=True, grad_clip_gates=1e-3)
        >>> output, (h_n, c_n) = layer(torch.ones(2, 5, 4))
        >>> output.sum().backward()
        >>> bool(layer.clamps["gates"].clamped_fraction > 0.5)
        True

    References:
        Alex Graves, "Generating Sequences With Recurrent Neural Networks", 2013, https://arxiv.org/abs/1308.0850.
    """

    def step(self, projected: Tensor, state: State, suffix: str) -> State:
        """`c = f c + i g` and `h = o tanh(c)`, projected with `proj_size`; shapes as in `UnrolledRecurrence.step`."""
        h, c = state
        z = self.clamps["gates"](torch.addmm(projected, h, getattr(self, f"weight_hh{suffix}").t()))
        i, f, g, o = z.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h @ getattr(self, f"weight_hr{suffix}").t() if self.proj_size else h, c
