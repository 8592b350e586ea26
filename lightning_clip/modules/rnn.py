"""`RNNModule`: a plain recurrent network."""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_clip._checks import check_choice, check_flag, check_instance, check_positive, check_rule
from lightning_clip.modules.layers.clipped_rnn import ClippedRNN
from lightning_clip.modules.layers.layer_norm_rnn import LayerNormRNN
from lightning_clip.modules.optimized_module import OptimizerCallable
from lightning_clip.modules.recurrent_module import Hiddens, RecurrentModule
from lightning_clip.modules.vanishing_gradient_regularizer import VanishingGradientRegularizer


class RNNModule(RecurrentModule):
    """`h_t = f(W_ih x_t + b + W_hh h_{t-1})` and a linear layer: the network whose gradients vanish and explode.

    The defaults fit `TemporalOrderDataModule`. `RecurrentModule` documents the metrics and the other options. With a
    `regularizer`, it also logs `omega/penalty` and `omega/kept_fraction`.

    Args:
        in_features: Number of inputs at each step, or of symbols if the inputs are integers `(batch, steps)`.
        out_features: Number of classes, or of values to predict.
        nonlinearity: The function f: `"tanh"` or `"relu"`.
        layer_norm: Whether to normalize the pre-activations of each step; the layer is then not fused and slower.
        regularizer: Keeps gradients from vanishing; `None` for no regularization.
        grad_clip_gates: Clamps each element of the gradient at the pre-activations to plus or minus this value in the
            backward pass; the layer is then not fused and slower.
        optimizer: Builds the optimizer from the parameters.
        **options: The options of `RecurrentModule`.

    Raises:
        ArgumentError: An argument is out of range, or two exclude each other.
        ArgumentTypeError: A size is not a whole number.

    Example:
        >>> model = RNNModule(6, 4, nonlinearity="relu", init="identity", hidden_size=64)
        >>> model(torch.zeros(2, 100, 6)).shape
        torch.Size([2, 4])

    References:
        Jeffrey Elman, "Finding Structure in Time", 1990, https://doi.org/10.1207/s15516709cog1402_1.
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063.
    """

    def __init__(
        self,
        in_features: int = 6,
        out_features: int = 4,
        *,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        layer_norm: bool = False,
        regularizer: VanishingGradientRegularizer | None = None,
        grad_clip_gates: float | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.SGD(params, lr=0.05),
        **options: Any,
    ) -> None:
        check_choice("RNNModule", ("tanh", "relu"), nonlinearity=nonlinearity)
        check_flag("RNNModule", layer_norm=layer_norm)
        check_positive("RNNModule", or_none=True, grad_clip_gates=grad_clip_gates)
        check_instance("RNNModule", VanishingGradientRegularizer, or_none=True, regularizer=regularizer)
        kinds = {"layer_norm": layer_norm, "regularizer": regularizer, "grad_clip_gates": grad_clip_gates}
        chosen = [name for name, value in kinds.items() if value not in (None, False)]
        rule = "each needs a different recurrent layer; use only one of them"
        check_rule(f"RNNModule with {' and '.join(chosen)}", rule, holds=len(chosen) < 2)
        clipped = partial(ClippedRNN, grad_clip_gates=grad_clip_gates)
        layer = LayerNormRNN if layer_norm else clipped if grad_clip_gates is not None else nn.RNN
        super().__init__(
            partial(layer, nonlinearity=nonlinearity), in_features, out_features, optimizer=optimizer, **options
        )
        self.nonlinearity = nonlinearity
        self.layer_norm = layer_norm
        self.regularizer = regularizer
        self.grad_clip_gates = grad_clip_gates
        if regularizer is not None:
            regularizer.check(self.recurrent)
        if isinstance(self.recurrent, ClippedRNN):
            self.clamps["gates"] = self.recurrent.clamps["gates"]

    def recur(self, inputs: Tensor, hiddens: Hiddens | None) -> tuple[Tensor, Hiddens]:
        """As in `RecurrentModule`; in training, the backward pass also adds the regularizer's gradient."""
        states, hiddens = super().recur(inputs, hiddens)
        if self.regularizer is not None and self.training:
            assert isinstance(self.recurrent, nn.RNN)
            states = self.regularizer(states, self.recurrent)
        return states, hiddens

    def on_before_backward(self, loss: Tensor) -> None:
        """Tell the regularizer the scale of the loss, the step and the epoch."""
        super().on_before_backward(loss)
        if self.regularizer is not None:
            # Lightning divides the loss by the number of accumulated batches.
            self.regularizer.loss_scale = self.loss_scale() / self.trainer.accumulate_grad_batches
            self.regularizer.step, self.regularizer.epoch = self.global_step, self.current_epoch

    def on_after_backward(self) -> None:
        """Log the penalty, and the fraction of steps whose gradient had not vanished."""
        super().on_after_backward()
        if self.regularizer is not None and self.logs_now():
            self.log("omega/penalty", self.regularizer.omega.float())
            self.log("omega/kept_fraction", self.regularizer.kept_fraction.float())
