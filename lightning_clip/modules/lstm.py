"""`LSTMModule`: a long short-term memory network."""

from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from lightning_clip._checks import check_positive
from lightning_clip.modules.layers.clipped_lstm import ClippedLSTM
from lightning_clip.modules.layers.initialization import check_gate_bias, set_forget_bias_
from lightning_clip.modules.optimized_module import OptimizerCallable
from lightning_clip.modules.recurrent_module import RecurrentModule


class LSTMModule(RecurrentModule):
    """LSTM layers and a linear layer. Gates let a memory cell keep its value, and its gradient, for many steps.

    The defaults fit `TemporalOrderDataModule`. `RecurrentModule` documents the metrics and the other options.

    Args:
        in_features: Number of inputs at each step, or of symbols if the inputs are integers `(batch, steps)`.
        out_features: Number of classes, or of values to predict.
        forget_bias: Initial bias of the forget gates; `None` keeps torch's, near zero. With bias b, a cell forgets
            within about `exp(b)` steps, so a lag of T steps needs about `log T`. `"chrono"` draws biases for lags up to
            `max_lag`.
        max_lag: Longest lag to remember, in time steps; required by `"chrono"`.
        grad_clip_gates: Clamps each element of the gradient at the gates to plus or minus this value in the backward
            pass, see `ClippedLSTM`; the layer is then not fused and several times slower.
        optimizer: Builds the optimizer from the parameters.
        **options: The options of `RecurrentModule`.

    Raises:
        ArgumentError: An argument is out of range, or `"chrono"` is given without `max_lag`.
        ArgumentTypeError: A size is not a whole number.

    Example:
        >>> model = LSTMModule(6, 4, forget_bias="chrono", max_lag=100)
        >>> model(torch.zeros(2, 100, 6)).shape
        torch.Size([2, 4])

    References:
        Sepp Hochreiter and Jürgen Schmidhuber, "Long Short-Term Memory", 1997,
        https://doi.org/10.1162/neco.1997.9.8.1735.
        Corentin Tallec and Yann Ollivier, "Can recurrent neural networks warp time?", 2018,
        https://arxiv.org/abs/1804.11188.
    """

    def __init__(
        self,
        in_features: int = 6,
        out_features: int = 4,
        *,
        grad_clip_gates: float | None = None,
        forget_bias: float | Literal["chrono"] | None = None,
        max_lag: int | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=0.01),
        **options: Any,
    ) -> None:
        check_positive("LSTMModule", or_none=True, grad_clip_gates=grad_clip_gates)
        layer = nn.LSTM if grad_clip_gates is None else partial(ClippedLSTM, grad_clip_gates=grad_clip_gates)
        check_gate_bias("LSTMModule", forget_bias=forget_bias)
        super().__init__(layer, in_features, out_features, optimizer=optimizer, **options)
        self.forget_bias = forget_bias
        self.max_lag = max_lag
        self.grad_clip_gates = grad_clip_gates
        assert isinstance(self.recurrent, nn.LSTM)
        if forget_bias is not None:
            set_forget_bias_(self.recurrent, forget_bias, max_lag=max_lag)
        if isinstance(self.recurrent, ClippedLSTM):
            self.clamps["gates"] = self.recurrent.clamps["gates"]
