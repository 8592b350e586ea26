"""`RecurrentModule`: the base class of `RNNModule`, `LSTMModule`, `GRUModule` and the truncated BPTT modules."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchmetrics import MeanMetric

from lightning_clip._checks import (
    check_choice,
    check_count,
    check_decay,
    check_flag,
    check_non_negative,
    check_positive,
)
from lightning_clip.modules._batch import checked_batch
from lightning_clip.modules.layers.fused_layer import run_fused
from lightning_clip.modules.layers.gradient_clamp import GradientClamp
from lightning_clip.modules.layers.initialization import INITS, Init, initialize_
from lightning_clip.modules.layers.input_encoder import InputEncoder
from lightning_clip.modules.optimized_module import LRSchedulerCallable, OptimizedModule, OptimizerCallable
from lightning_clip.modules.sequence_tasks import TASKS, SequenceTask, TaskName

Hiddens = Tensor | tuple[Tensor, Tensor]
Batch = tuple[Tensor, Tensor]


class RecurrentModule(OptimizedModule):
    """Recurrent layers with a linear layer on top, trained on sequences for a task.

    Logs `train_loss` (of one batch, when a logger writes and at the end of an epoch). Evaluation logs means over whole
    epochs, with the prefix `val_` or `test_`:

    - classification: `loss` (nats) and `error`, the fraction of sequences that are wrong;
    - regression: `mse`;
    - next_token: `bits_per_char`.

    If the data module has a method `wrong(outputs, targets)`, as the tasks of this package do, it defines `error`.

    Args:
        layer: Builds the recurrent layers from input size, hidden size, number of layers and dropout.
        in_features: Number of inputs at each step, or of symbols if the inputs are integers `(batch, steps)`.
        out_features: Number of classes, or of values to predict.
        task: The task to learn: `"classification"`, `"regression"` or `"next_token"`.
        many_to_many: Whether there is a target at every step instead of one after the last; `None` for the default of
            the task, which is every step for `"next_token"` and the last for the others.
        hidden_size: Number of units in each layer.
        num_layers: Number of stacked recurrent layers.
        embedding_dim: Size of learned embeddings of the symbols; `None` encodes symbols as one-hot vectors.
        dropout: Fraction of each layer's outputs to drop in training.
        init: Initialization of the recurrent weights, separately for the block of each gate: `"default"` is torch's;
            `"orthogonal"`, `"identity"` (for ReLU units) and `"xavier"` also set biases to zero.
        init_gain: Factor on the initial recurrent weights.
        weight_std: If given, input and output weights are initialized from a normal distribution with this standard
            deviation, and the output bias with zero.
        recurrent_l1: Weight of an L1 penalty on all recurrent weights (`weight_hh`).
        recurrent_l2: Weight of a penalty on the sum of squares of all recurrent weights (`weight_hh`).
        grad_clip_output: Clamps each element of the gradient at the network's outputs to plus or minus this value in
            the backward pass; `None` for no clamping.
        optimizer: Builds the optimizer from the parameters.
        scheduler: Builds the learning rate scheduler from the optimizer; `None` keeps the rate constant.
        scheduler_interval: Whether to step the scheduler after every epoch or after every optimizer step.

    Attributes:
        encoder: Encodes the inputs for the recurrent layers.
        recurrent: The recurrent layers, batch first.
        head: The linear layer from the top recurrent layer to the outputs.
        clamps: The gradient clamps of the backward pass, by name.
    """

    def __init__(
        self,
        layer: Callable[..., nn.RNNBase],
        in_features: int,
        out_features: int,
        *,
        task: TaskName = "classification",
        many_to_many: bool | None = None,
        hidden_size: int = 50,
        num_layers: int = 1,
        embedding_dim: int | None = None,
        dropout: float = 0.0,
        init: Init = "default",
        init_gain: float = 1.0,
        weight_std: float | None = None,
        recurrent_l1: float = 0.0,
        recurrent_l2: float = 0.0,
        grad_clip_output: float | None = None,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
    ) -> None:
        name = type(self).__name__
        check_choice(name, TASKS, task=task)
        monitor = f"val_{TASKS[task].measured[0]}"
        super().__init__(
            optimizer=optimizer, scheduler=scheduler, scheduler_interval=scheduler_interval, monitor=monitor
        )
        sizes = {"in_features": in_features, "out_features": out_features, "hidden_size": hidden_size}
        dims = {} if embedding_dim is None else {"embedding_dim": embedding_dim}
        check_count(name, **sizes, num_layers=num_layers, **dims)
        check_choice(name, INITS, init=init)
        check_decay(name, dropout=dropout)
        check_flag(name, or_none=True, many_to_many=many_to_many)
        check_positive(
            name, or_none=True, init_gain=init_gain, weight_std=weight_std, grad_clip_output=grad_clip_output
        )
        check_non_negative(name, recurrent_l1=recurrent_l1, recurrent_l2=recurrent_l2)
        self.save_hyperparameters(ignore=["layer", "optimizer", "scheduler", "regularizer"])
        self.in_features, self.out_features = in_features, out_features
        self.task, self.many_to_many = task, many_to_many
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.embedding_dim, self.dropout = embedding_dim, dropout
        self.init, self.init_gain = init, init_gain
        self.weight_std = weight_std
        self.recurrent_l1, self.recurrent_l2 = recurrent_l1, recurrent_l2
        self.grad_clip_output = grad_clip_output
        self.encoder = InputEncoder(in_features, embedding_dim)
        self.recurrent = layer(
            self.encoder.out_features,
            hidden_size,
            num_layers=num_layers,
            dropout=dropout if num_layers > 1 else 0.0,
            batch_first=True,
        )
        self.head = nn.Linear(hidden_size, out_features)
        initialize_(self.recurrent, init, gain=init_gain)
        if weight_std is not None:
            self._draw_weights(weight_std)
        self.clamps = {"output": GradientClamp(grad_clip_output)}
        # Replaces NaN by NaN: by default, MeanMetric drops NaN from the mean.
        names = dict.fromkeys((*self._task.measured, "error"))
        self.means = nn.ModuleDict(
            {f"{split}_{name}": MeanMetric(nan_strategy=math.nan) for split in ("val", "test") for name in names}
        )

    @property
    def every_step(self) -> bool:
        """Whether there is an output at every step instead of one after the last."""
        return self._task.every_step if self.many_to_many is None else self.many_to_many

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs for whole sequences.

        Args:
            inputs: `(batch, steps, in_features)`, or symbols `(batch, steps)`.

        Returns:
            `(batch, out_features)`, or `(batch, steps, out_features)` with `every_step`.
        """
        return self.advance(inputs)[0]

    def advance(self, inputs: Tensor, hiddens: Hiddens | None = None) -> tuple[Tensor, Hiddens]:
        """Compute the outputs for sequences that continue from a state.

        Args:
            inputs: `(batch, steps, in_features)`, or symbols `(batch, steps)`.
            hiddens: State before the first step, in the format of the recurrent layer; zeros by default.

        Returns:
            The outputs, `(batch, out_features)`, or `(batch, steps, out_features)` with `every_step`; and the state
            after the last step.
        """
        states, hiddens = self.recur(self.encoder(inputs), hiddens)
        states = states if self.every_step else states[:, -1]
        return self.clamps["output"](self.head(F.dropout(states, self.dropout, self.training))), hiddens

    def recur(self, inputs: Tensor, hiddens: Hiddens | None) -> tuple[Tensor, Hiddens]:
        """Run only the recurrent layers: states of the top one, `(batch, steps, hidden_size)`, and the last state."""
        return run_fused(self.recurrent, inputs, hiddens)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the task's loss on a batch plus the penalties. The logged `train_loss` excludes penalties.

        Args:
            batch: Inputs and targets.
            batch_idx: Not used.

        Returns:
            `()`.
        """
        inputs, targets = checked_batch(self, batch)
        loss = self._task.loss(self(inputs), targets)
        self.log_step("train_loss", loss.detach())
        return loss + self._penalty() if self.recurrent_l1 or self.recurrent_l2 else loss

    def on_before_backward(self, loss: Tensor) -> None:
        """Tell the clamps by how much mixed precision scales the loss."""
        for clamp in self.clamps.values():
            if clamp.bound is not None:
                clamp.loss_scale = self.loss_scale()

    def on_after_backward(self) -> None:
        """Log the fraction of gradients clamped since the last log, as `clamped_fraction/<name>`."""
        for name, clamp in self.clamps.items():
            if clamp.bound is not None and self.logs_now():
                self.log(f"clamped_fraction/{name}", clamp.clamped_fraction)
                clamp.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the `val_…` metrics; shapes as in `forward`."""
        self._measure("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the `test_…` metrics; shapes as in `forward`."""
        self._measure("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the outputs for a batch and ignore its targets; shapes as in `forward`."""
        outputs: Tensor = self(batch[0])
        return outputs

    def loss_scale(self) -> float | Tensor:
        """The factor by which mixed precision scales the loss, without reading the device."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return 1.0 if scaler is None else scaler.scale(torch.ones((), device=self.device))

    @property
    def _task(self) -> SequenceTask:
        return TASKS[self.task]

    def _measure(self, split: str, batch: Batch) -> None:
        inputs, targets = checked_batch(self, batch)
        outputs = self(inputs)
        measured = self._task.measure(outputs, targets)
        wrong = getattr(self.trainer.datamodule, "wrong", None)  # type: ignore[attr-defined]  # None without one
        if wrong is not None:
            measured["error"] = wrong(outputs, targets)
        for name, values in measured.items():
            mean = self.means[f"{split}_{name}"]
            assert isinstance(mean, MeanMetric)
            mean.update(values.float())
            self.log(f"{split}_{name}", mean, on_step=False, on_epoch=True, prog_bar=split == "val")

    def _penalty(self) -> Tensor:
        weights = [p for name, p in self.recurrent.named_parameters() if name.startswith("weight_hh")]
        terms = [self.recurrent_l1 * w.abs().sum() + self.recurrent_l2 * w.square().sum() for w in weights]
        return torch.stack(terms).sum()

    @torch.no_grad()
    def _draw_weights(self, std: float) -> None:
        for name, weight in self.recurrent.named_parameters():
            if name.startswith("weight_ih"):
                weight.normal_(std=std)
        self.head.weight.normal_(std=std)
        self.head.bias.zero_()
