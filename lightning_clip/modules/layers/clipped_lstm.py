"""`ClippedLSTM`: an `nn.LSTM` that clamps gradients within the backward pass."""

import torch
from torch import Tensor, nn

from lightning_clip.modules.layers.clipped_recurrence import ClippedRecurrence
from lightning_clip.modules.layers.unrolled_recurrence import State


class ClippedLSTM(ClippedRecurrence, nn.LSTM):
    """`nn.LSTM` with the gradients at its gates clamped at every step of the backward pass.

    Let z be the pre-activations of the four gates at step t. The gradient of the loss with respect to z has flowed back
    through all later steps. It is clamped to [-grad_clip_gates, grad_clip_gates] before it flows on to earlier steps
    and to the weights, so it cannot explode on its way. Clipping the final gradient would only rescale a sum that a
    single step dominates. The result is no longer the gradient of the loss: clamping changes its direction.

    Parameters, state dict and outputs are those of `nn.LSTM`, and so are the gradients if nothing is clamped. The fused
    layer cannot clamp, so the layer runs step by step, which takes several times as long. Without `grad_clip_gates`,
    or if no gradient is needed, the fused layer runs.

    Args:
        *args: Passed to `nn.LSTM`.
        grad_clip_gates: Clamps each element of the gradient at the gates of every step to plus or minus this value;
            `None` for no clamping. Graves uses 1 for text and 10 for handwriting, with a loss summed over time. For a
            mean over B sequences and T steps, divide by B·T.
        grad_clip_output: Clamps each element of the gradient that arrives at the layer's output from above to plus or
            minus this value. Graves clamps at the output of the network instead, to 100: see
            `LSTMModule(grad_clip_output=…)`.
        **kwargs: Passed to `nn.LSTM`.

    Attributes:
        clamps: The gradient clamps `"gates"` and `"output"`. Each has a `clamped_fraction`, a tensor `()` counted since
            its last `reset()`, and a `loss_scale`, to be set if the loss is scaled before the backward pass
            (`LSTMModule` sets it under mixed precision).

    Raises:
        ArgumentError: A bound is not positive.

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
