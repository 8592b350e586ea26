"""`MLPRegressor`: a small fully connected network."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchmetrics import MeanSquaredError

from lightning_clip._checks import check_choice, check_flag, check_non_negative, check_rule
from lightning_clip._errors import ArgumentError
from lightning_clip.modules.layers.feed_forward import (
    ACTIVATIONS,
    HIDDEN_INITS,
    Activation,
    HiddenInit,
    feed_forward,
    has_residual,
)
from lightning_clip.modules.optimized_module import LRSchedulerCallable, OptimizedModule, OptimizerCallable


class MLPRegressor(OptimizedModule):
    """Fully connected layers with an activation between them, trained on the mean squared error.

    The defaults are the network of the first reference: 20 inputs, 25 ReLU units, one output, and SGD with momentum on
    targets with a standard deviation of about 150. Its first gradients have a norm in the hundreds, and without
    clipping the weights become NaN. Hidden weights are He-uniform, with bound `sqrt(6 / fan_in)`, output weights
    Glorot-uniform, with bound `sqrt(6 / (fan_in + fan_out))`; biases start at zero, as in Keras. The other options are
    what people try before they clip.

    Logs `train_loss` (of one batch, with penalties, when a logger writes and at the end of an epoch) and, over whole
    epochs, `train_mse` (measured while the weights change), `val_mse` and `test_mse`, all in squared units of the
    target.

    Args:
        in_features: Number of inputs.
        hidden_sizes: Number of units in each hidden layer.
        out_features: Number of outputs.
        activation: The function after each hidden layer, with torch's default slopes.
        init: How the weights of hidden layers start: `"he"` and `"xavier"` are uniform, `"he_normal"` is normal,
            `"orthogonal"` has singular values of 1.
        batch_norm: Whether to normalize the pre-activations of each hidden layer over the batch.
        residual: Whether a hidden layer with as many inputs as units adds its inputs to its outputs.
        l1: Weight of an L1 penalty on all weights; biases have none.
        l2: Weight of a penalty on the sum of squares of all weights; biases have none.
        optimizer: Builds the optimizer from the parameters.
        scheduler: Builds the learning rate scheduler from the optimizer; `None` keeps the rate constant.
        scheduler_interval: Whether to step the scheduler after every epoch or after every optimizer step.

    Attributes:
        layers: The network.

    Raises:
        ArgumentError: A size is not a positive whole number, a penalty is negative, a choice is unknown, or no hidden
            layer has as many inputs as units for `residual`.

    Example:
        >>> model = MLPRegressor(in_features=4, hidden_sizes=(8, 8))
        >>> model(torch.zeros(3, 4)).shape
        torch.Size([3, 1])

    References:
        Jason Brownlee, "How to Avoid Exploding Gradients With Gradient Clipping", 2019 (updated 2020),
        https://machinelearningmastery.com/how-to-avoid-exploding-gradients-in-neural-networks-with-gradient-clipping/.
        Kaiming He and others, "Delving Deep into Rectifiers", 2015, https://arxiv.org/abs/1502.01852.
        Xavier Glorot and Yoshua Bengio, "Understanding the difficulty of training deep feedforward neural networks",
        2010, https://proceedings.mlr.press/v9/glorot10a.html.
    """

    def __init__(
        self,
        in_features: int = 20,
        hidden_sizes: Sequence[int] = (25,),
        out_features: int = 1,
        *,
        activation: Activation = "relu",
        init: HiddenInit = "he",
        batch_norm: bool = False,
        residual: bool = False,
        l1: float = 0.0,
        l2: float = 0.0,
        optimizer: OptimizerCallable = lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9),
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
    ) -> None:
        super().__init__(
            optimizer=optimizer, scheduler=scheduler, scheduler_interval=scheduler_interval, monitor="val_mse"
        )
        are_listed = isinstance(hidden_sizes, Sequence) and not isinstance(hidden_sizes, str)
        sizes = [in_features, *(hidden_sizes if are_listed else (0,)), out_features]
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
            call = f"{type(self).__name__}({in_features=}, {hidden_sizes=}, {out_features=})"
            raise ArgumentError(f"{call}: the sizes must be positive whole numbers, and hidden_sizes a list of them.")
        name = type(self).__name__
        check_choice(name, ACTIVATIONS, activation=activation)
        check_choice(name, HIDDEN_INITS, init=init)
        check_non_negative(name, l1=l1, l2=l2)
        check_flag(name, batch_norm=batch_norm, residual=residual)
        no_block = f"{name}(residual=True, {in_features=}, {hidden_sizes=})"
        rule = "a residual block needs a hidden layer with as many inputs as units, as in hidden_sizes=[25, 25]"
        check_rule(no_block, rule, holds=not residual or has_residual(sizes))
        self.save_hyperparameters(ignore=["optimizer", "scheduler"])
        self.in_features = in_features
        self.hidden_sizes = tuple(hidden_sizes)
        self.out_features = out_features
        self.l1, self.l2 = l1, l2
        self.layers = feed_forward(sizes, activation=activation, init=init, batch_norm=batch_norm, residual=residual)
        self.train_mse = MeanSquaredError()
        self.val_mse = MeanSquaredError()
        self.test_mse = MeanSquaredError()

    def forward(self, inputs: Tensor) -> Tensor:
        """Predict.

        Args:
            inputs: `(batch, in_features)`.

        Returns:
            `(batch, out_features)`.

        Raises:
            ArgumentError: The inputs have the wrong number of features.
        """
        if inputs.shape[-1] != self.in_features:
            raise ArgumentError(
                f"MLPRegressor(in_features={self.in_features}): the inputs have {inputs.shape[-1]} features; "
                f"set in_features={inputs.shape[-1]}."
            )
        prediction: Tensor = self.layers(inputs)
        return prediction

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Compute the mean squared error of a batch, plus the penalties.

        Args:
            batch: Inputs `(batch, in_features)` and targets `(batch, out_features)`, or `(batch,)` for one output.
            batch_idx: Not used.

        Returns:
            `()`.
        """
        prediction, target = self._predict(batch)
        loss = F.mse_loss(prediction, target)
        if self.l1 or self.l2:
            loss = loss + self._penalty()
        self.train_mse.update(prediction.detach(), target)
        self.log_step("train_loss", loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the mean squared error over the epoch."""
        self.log("train_mse", self.train_mse)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to `val_mse`; shapes as in `training_step`."""
        self.val_mse.update(*self._predict(batch))
        self.log("val_mse", self.val_mse, on_step=False, on_epoch=True, prog_bar=True)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to `test_mse`; shapes as in `training_step`."""
        self.test_mse.update(*self._predict(batch))
        self.log("test_mse", self.test_mse, on_step=False, on_epoch=True)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Predict a batch; its targets are ignored.

        Args:
            batch: Inputs `(batch, in_features)` and targets.
            batch_idx: Not used.

        Returns:
            `(batch, out_features)`.
        """
        prediction: Tensor = self(batch[0])
        return prediction

    def _predict(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Predictions, and targets in their shape: `(batch,)` and `(batch, 1)` would broadcast to a square matrix."""
        inputs, target = batch
        prediction: Tensor = self(inputs)
        return prediction, target.reshape(prediction.shape)

    def _penalty(self) -> Tensor:
        weights = [layer.weight for layer in self.modules() if isinstance(layer, nn.Linear)]
        return torch.stack([self.l1 * w.abs().sum() + self.l2 * w.square().sum() for w in weights]).sum()
