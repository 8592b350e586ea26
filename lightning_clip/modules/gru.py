"""`GRUModule`: a network of gated recurrent units."""

from typing import Any, Literal

import torch
from torch import nn

from lightning_clip.modules.layers.initialization import set_update_bias_
from lightning_clip.modules.optimized_module import OptimizerCallable
from lightning_clip.modules.recurrent_module import RecurrentModule


class GRUModule(RecurrentModule):
    """GRU layers and a linear layer: an update gate decides how much of each unit's value is kept.

    Its defaults fit `TemporalOrderDataModule`. What it logs and the meaning of all options is in `RecurrentModule`.

    Args:
        in_features: Numbers at each step, or number of symbols where inputs are whole numbers `(batch, steps)`.
        out_features: Classes, or numbers to predict.
        update_bias: What the update gates start with; `None` keeps torch's, around zero. It plays the part of the
            forget gate's in an LSTM: at b a unit keeps its value for about `exp(b)` steps. `"chrono"` spreads it over
            lags up to `max_lag`.
        max_lag: Longest lag to remember, in steps, for `"chrono"`.
        optimizer: Makes the optimizer from the parameters.
        **options: Those of `RecurrentModule`.

    Raises:
        ValueError: An argument is out of range, or `"chrono"` lacks `max_lag`.
        TypeError: A size is not a whole number.

    Example:
        >>> model = GRUModule(1, 10, num_layers=2, dropout=0.1)
        >>> model(torch.zeros(2, 64, 1)).shape
        torch.Size([2, 10])

    References:
        Kyunghyun Cho and others, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
        Translation", 2014, https://arxiv.org/abs/1406.1078.
        Corentin Tallec and Yann Ollivier, "Can recurrent neural networks warp time?", 2018,
        https://arxiv.org/abs/1804.11188.
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
        super().__init__(nn.GRU, in_features, out_features, optimizer=optimizer, **options)
        self.update_bias = update_bias
        self.max_lag = max_lag
        assert isinstance(self.recurrent, nn.GRU)
        if update_bias is not None:
            set_update_bias_(self.recurrent, update_bias, max_lag=max_lag)
