"""`LayerNormRNN`: a plain recurrent layer with normalized pre-activations."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lightning_clip._checks import check_count, check_flag
from lightning_clip.modules.layers.unrolled_recurrence import State, UnrolledRecurrence


class LayerNormRNN(UnrolledRecurrence, nn.RNN):
    """`h_t = f(LN(W_ih x_t + W_hh h_{t-1}))`: layer normalization with learned gain and bias at every step.

    It counters exploding gradients: a larger `W_hh` no longer makes larger pre-activations. The parameters are those of
    `nn.RNN` without its biases, plus `norm_weight_l0` and `norm_bias_l0` for each layer. It runs step by step, so it is
    slower than the fused `nn.RNN`, especially on a GPU.

    Args:
        input_size: Number of inputs at each time step.
        hidden_size: Number of units.
        num_layers: Number of stacked layers.
        nonlinearity: The function f: `"tanh"` or `"relu"`.
        dropout: Fraction of the outputs between two layers to drop in training.
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
        check_count("LayerNormRNN", input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_flag("LayerNormRNN", batch_first=batch_first)
        super().__init__(
            input_size, hidden_size, num_layers, nonlinearity, bias=False, dropout=dropout, batch_first=batch_first
        )
        for layer in range(num_layers):
            self.register_parameter(f"norm_weight_l{layer}", nn.Parameter(torch.ones(hidden_size)))
            self.register_parameter(f"norm_bias_l{layer}", nn.Parameter(torch.zeros(hidden_size)))

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run the layer step by step; arguments and results are those of `nn.RNN`."""
        return self.unroll(input, hx)

    def step(self, projected: Tensor, state: State, suffix: str) -> State:
        """`h = f(LN(z))`; shapes as in `UnrolledRecurrence.step`."""
        z = torch.addmm(projected, state[0], getattr(self, f"weight_hh{suffix}").t())
        z = F.layer_norm(z, z.shape[1:], getattr(self, f"norm_weight{suffix}"), getattr(self, f"norm_bias{suffix}"))
        return (z.tanh() if self.nonlinearity == "tanh" else z.relu(),)
