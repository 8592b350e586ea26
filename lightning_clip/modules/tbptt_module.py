"""`TBPTTModule`: a recurrent network on streams, trained by truncated backpropagation through time."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_clip._checks import check_choice, check_rule
from lightning_clip.modules._batch import check_chunk
from lightning_clip.modules.layers.factory import CellName, recurrent_layer, start_gates_
from lightning_clip.modules.optimized_module import OptimizerCallable
from lightning_clip.modules.recurrent_module import RecurrentModule
from lightning_clip.modules.tbptt.carried_state import StreamChunk
from lightning_clip.modules.tbptt.losses import WeightedMean, summed_loss
from lightning_clip.modules.tbptt.stateful_mixin import StatefulMixin


class TrainingChunk(StreamChunk, Protocol):
    """A chunk of streams with targets."""

    @property
    def targets(self) -> Tensor:
        """`(streams, steps)` or `(streams, steps, outputs)`."""

    @property
    def mask(self) -> Tensor | None:
        """`(streams, steps)`, true where there is a target."""


class TBPTTModule(StatefulMixin, RecurrentModule):
    """Recurrent layers and a linear layer, on consecutive chunks of parallel streams.

    `CharTextDataModule` and `ChunkedSequenceDataModule` yield such chunks. The state carries over from chunk to chunk,
    see `StatefulMixin`. The data module's `chunk_lengths` decides how long the chunks are. If lengths vary:

    - Short chunks make small steps and long chunks large ones. With `scale_steps_by="loss"`, the loss is the sum over
      the targets divided by the constant streams × `truncated_bptt_steps`, which scales the gradient. With `"lr"`, the
      loss is the mean over the targets, and the learning rate is multiplied by the steps of the chunk divided by
      `truncated_bptt_steps`, as in the reference for `NormalLengths`. The two differ for optimizers that normalize the
      gradient, such as Adam, and with clipping, where a step is at most learning rate × threshold.
    - With `RandomTruncation`, gradients of the state are rescaled where the stream could have been cut.

    Logs `train_loss` (of one chunk, when a logger writes and at the end of an epoch) and, over all targets of an epoch,
    `bits_per_char` (next_token) or `mse` (regression) with the prefixes `train_`, `val_` and `test_`.

    Args:
        in_features: Number of symbols, or of inputs at each step.
        out_features: Number of symbols, or of values to predict.
        cell: Type of the recurrent layers.
        task: `"next_token"` for symbols, `"regression"` for numbers.
        nonlinearity: `"tanh"` or `"relu"`, for `cell="rnn"`.
        forget_bias: Initial bias of the forget gates of an LSTM, or the update gates of a GRU; `None` keeps torch's.
            `"chrono"` draws biases for lags up to `max_lag`.
        max_lag: Longest lag to remember, in time steps; required by `"chrono"`.
        scale_steps_by: How to make the steps of short chunks smaller: through the loss or the learning rate.
        optimizer: Builds the optimizer from the parameters.
        **options: The other options of `RecurrentModule`.

    Raises:
        ArgumentError: An argument is out of range, or two exclude each other.
        ArgumentTypeError: A size is not a whole number.

    Example:
        >>> TBPTTModule(128, 128, cell="rnn", embedding_dim=32)(torch.zeros(2, 10, dtype=torch.int64)).shape
        torch.Size([2, 10, 128])

    References:
        Stephen Merity, Nitish Shirish Keskar and Richard Socher, "Regularizing and Optimizing LSTM Language Models",
        2017, https://arxiv.org/abs/1708.02182 (random lengths).
        Corentin Tallec and Yann Ollivier, "Unbiasing Truncated Backpropagation Through Time", 2017,
        https://arxiv.org/abs/1705.08209 (random truncation).
    """

    def __init__(
        self,
        in_features: int = 128,
        out_features: int = 128,
        *,
        cell: CellName = "lstm",
        task: Literal["next_token", "regression"] = "next_token",
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        forget_bias: float | Literal["chrono"] | None = None,
        max_lag: int | None = None,
        scale_steps_by: Literal["loss", "lr"] = "loss",
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=0.003),
        **options: Any,
    ) -> None:
        name = type(self).__name__
        check_choice(name, ("next_token", "regression"), task=task)
        check_choice(name, ("loss", "lr"), scale_steps_by=scale_steps_by)
        rule = "streams have a target at every step; use TBPTTSequenceModule for one target per sequence"
        check_rule(f"{name}(many_to_many=False)", rule, holds=options.get("many_to_many") is not False)
        layer = recurrent_layer(name, cell, nonlinearity)
        super().__init__(layer, in_features, out_features, task=task, optimizer=optimizer, **options)
        start_gates_(name, self.recurrent, forget_bias, max_lag)
        self.cell = cell
        self.nonlinearity = nonlinearity
        self.forget_bias = forget_bias
        self.max_lag = max_lag
        self.scale_steps_by = scale_steps_by
        self._relative_lengths: list[float] = []
        self._target_means = nn.ModuleDict({f"{split}_mean": WeightedMean() for split in ("train", "val", "test")})

    @property
    def every_step(self) -> bool:
        """Always true: streams have a target at every step."""
        return True

    def training_step(self, batch: TrainingChunk, batch_idx: int) -> Tensor:  # type: ignore[override]
        """Compute the loss on a chunk plus the penalties. The logged `train_loss` excludes penalties.

        Args:
            batch: The chunk.
            batch_idx: Not used.

        Returns:
            `()`.
        """
        total, count = self._loss("train", batch)
        mean = total / torch.as_tensor(count).clamp(min=1)
        self.log_step("train_loss", mean.detach())
        steps = batch.nominal_steps or batch.inputs.shape[1]
        loss = mean if self.scale_steps_by == "lr" else total / (len(batch.inputs) * steps)
        return loss + self._penalty() if self.recurrent_l1 or self.recurrent_l2 else loss

    def on_train_batch_start(self, batch: TrainingChunk, batch_idx: int) -> int | None:
        """Record the length of the chunk."""
        check_chunk(self, batch)
        steps = batch.inputs.shape[1]
        self._relative_lengths.append(steps / (batch.nominal_steps or steps))
        return super().on_train_batch_start(batch, batch_idx)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Make a step. With `scale_steps_by="lr"`, its learning rate is scaled by the lengths of its chunks."""
        lengths, self._relative_lengths = self._relative_lengths, []
        factor = sum(lengths) / len(lengths) if self.scale_steps_by == "lr" and lengths else 1.0
        with scaled_learning_rate(optimizer, factor):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def on_train_epoch_end(self) -> None:
        """Log the mean over all targets of the epoch."""
        super().on_train_epoch_end()
        self.log(f"train_{self._task.measured[0]}", self._mean("train"))

    def predict_step(self, batch: TrainingChunk, batch_idx: int) -> Tensor:  # type: ignore[override]
        """Compute the outputs for a chunk, `(streams, steps, out_features)`, and carry the state on."""
        return self.run_chunk(self.advance, batch.inputs, batch)

    def _measure(self, split: str, batch: TrainingChunk) -> None:  # type: ignore[override]
        self._loss(split, batch)
        name = f"{split}_{self._task.measured[0]}"
        self.log(name, self._mean(split), on_step=False, on_epoch=True, prog_bar=split == "val")

    def _loss(self, split: str, chunk: TrainingChunk) -> tuple[Tensor, Tensor | int]:
        """The summed loss of a chunk and the number of its targets; both are added to the mean of the epoch."""
        check_chunk(self, chunk)
        outputs = self.run_chunk(self.advance, chunk.inputs, chunk)
        total, count = summed_loss(self.task, outputs, chunk.targets, chunk.mask)
        unit = math.log(2) if self.task == "next_token" else 1.0
        self._mean(split).update(total / unit, count)
        return total, count

    def _mean(self, split: str) -> WeightedMean:
        mean = self._target_means[f"{split}_mean"]
        assert isinstance(mean, WeightedMean)
        return mean


@contextmanager
def scaled_learning_rate(optimizer: Optimizer | LightningOptimizer, factor: float) -> Iterator[None]:
    """Multiply the learning rates of all parameter groups, and restore them on exit.

    Args:
        optimizer: The optimizer whose learning rates are scaled.
        factor: Factor on the learning rates.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        >>> with scaled_learning_rate(sgd, 0.1):
        ...     sgd.param_groups[0]["lr"]
        0.05
        >>> sgd.param_groups[0]["lr"]
        0.5
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * factor
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
