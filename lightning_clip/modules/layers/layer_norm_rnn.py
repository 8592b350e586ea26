"""`LayerNormRNN`: a plain recurrent layer whose pre-activations are normalised."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lightning_clip.modules.layers.unrolled_recurrence import State, UnrolledRecurrence


class LayerNormRNN(UnrolledRecurrence, nn.RNN):
    """`h_t = f(LN(W_ih x_t + W_hh h_{t-1}))`: at each step the units' inputs get a learnt mean and deviation.

    A cure for exploding gradients: a larger `W_hh` no longer means larger pre-activations. Parameters are those of
    `nn.RNN` without its biases, and `norm_weight_l0` and `norm_bias_l0` for each layer. It is made of single steps, and
    slower than the fused `nn.RNN`, above all on a GPU.

    Args:
        input_size: Numbers at each time step.
        hidden_size: Units.
        num_layers: Layers on top of each other.
        nonlinearity: f.
        dropout: Share of the outputs between two layers that are dropped while training.
        batch_first: Whether inputs and outputs are `(batch, steps, size)`.

    Example:
        >>> output, h_n = LayerNormRNN(4, 8, batch_first=True)(torch.zeros(2, 5, 4))
        >>> output.shape, h_n.shape
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))

    References:
        Jimmy Lei Ba, Jamie Ryan Kiros and Geoffrey Hinton, "Layer Normalization", 2016,
        https://arxiv.org/abs/1607.06450.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        *,
        dropout: float = 0.0,
        batch_first: bool = False,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, nonlinearity, bias=False, dropout=dropout, batch_first=batch_first
        )
        for layer in range(num_layers):
            self.register_parameter(f"norm_weight_l{layer}", nn.Parameter(torch.ones(hidden_size)))
            self.register_parameter(f"norm_bias_l{layer}", nn.Parameter(torch.zeros(hidden_size)))

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As `nn.RNN`.

        Args:
            input: `(steps, batch, input_size)`, `(batch, steps, input_size)` with `batch_first`, unbatched or packed.
            hx: The first state; zeros by default.

        Returns:
            The outputs of all steps, and the last state.
        """
        return self.unroll(input, hx)

    def step(self, projected: Tensor, state: State, suffix: str) -> State:
        """Shapes as in `UnrolledRecurrence.step`."""
        z = torch.addmm(projected, state[0], getattr(self, f"weight_hh{suffix}").t())
        z = F.layer_norm(z, z.shape[1:], getattr(self, f"norm_weight{suffix}"), getattr(self, f"norm_bias{suffix}"))
        return (z.tanh() if self.nonlinearity == "tanh" else z.relu(),)
