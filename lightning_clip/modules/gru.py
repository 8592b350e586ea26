"""`GRUModule`: a gated recurrent unit network."""

from typing import Any, Literal

import torch
from torch import nn

from lightning_clip.modules.layers.initialization import check_gate_bias, set_update_bias_
from lightning_clip.modules.optimized_module import OptimizerCallable
from lightning_clip.modules.recurrent_module import RecurrentModule


class GRUModule(RecurrentModule):
    """GRU layers and a linear layer. An update gate controls how much of its value each unit keeps.

    The defaults fit `TemporalOrderDataModule`. `RecurrentModule` documents the metrics and the other options.

    Args:
        in_features: Number of inputs at each step, or of symbols if the inputs are integers `(batch, steps)`.
        out_features: Number of classes, or of values to predict.
        update_bias: Initial bias of the update gates; `None` keeps torch's, near zero. It acts like the forget bias of
            an LSTM: with bias b, a unit keeps its value for about `exp(b)` steps. `"chrono"` draws biases for lags up
            to `max_lag`.
        max_lag: Longest lag to remember, in time steps; required by `"chrono"`.
        optimizer: Builds the optimizer from the parameters.
        **options: The options of `RecurrentModule`.

    Raises:
        ArgumentError: An argument is out of range, or `"chrono"` is given without `max_lag`.
        ArgumentTypeError: A size is not a whole number.

    Example:
        >>> model = GRUModule(1, 10, num_layers=2, dropout=0.1)
        >>> model(torch.zeros(2, 64, 1)).shape
        torch.Size([2, 10])

    References:
        Kyunghyun Cho and others, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
        Translation", 2014, https://arxiv.org/abs/1406.1078.
        Corentin Tallec and Yann Ollivier, "Can recurrent neural networks warp time?", 2018,
        https://arxiv.org/abs/1804.11188. They initialize forget gates; a GRU's update gate plays the same role.
    """

    def __init__(
        self,
        in_features: int = 6,
        out_features: int = 4,
        *,
        update_bias: float | Literal["chrono"] | None = None,
        max_lag: int | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=0.01),
        **options: Any,
    ) -> None:
        check_gate_bias("GRUModule", update_bias=update_bias)
        super().__init__(nn.GRU, in_features, out_features, optimizer=optimizer, **options)
        self.update_bias = update_bias
        self.max_lag = max_lag
        assert isinstance(self.recurrent, nn.GRU)
        if update_bias is not None:
            set_update_bias_(self.recurrent, update_bias, max_lag=max_lag)
