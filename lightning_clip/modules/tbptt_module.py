"""`TBPTTModule`: a recurrent network on streams, trained by truncated backpropagation through time."""

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_clip._checks import check_choice, check_rule
from lightning_clip.modules.layers.factory import CellName, recurrent_layer, start_gates_
from lightning_clip.modules.optimized_module import OptimizerCallable
from lightning_clip.modules.recurrent_module import RecurrentModule
from lightning_clip.modules.summed_loss import summed_loss
from lightning_clip.modules.tbptt.carried_state import StreamChunk
from lightning_clip.modules.tbptt.stateful_mixin import StatefulMixin
from lightning_clip.modules.tbptt.step_scaling import scaled_learning_rate
from lightning_clip.modules.weighted_mean import WeightedMean


class TrainingChunk(StreamChunk, Protocol):
    """A chunk with targets."""

    @property
    def targets(self) -> Tensor:
        """`(streams, steps)` or `(streams, steps, outputs)`."""

    @property
    def mask(self) -> Tensor | None:
        """`(streams, steps)`, true where there is a target."""


class TBPTTModule(StatefulMixin, RecurrentModule):
    """RNN, LSTM or GRU layers and a linear one, on consecutive chunks of parallel streams.

    Its batches are those of `CharTextDataModule` or `ChunkedSequenceDataModule`; the state goes on from chunk to chunk,
    see `StatefulMixin`. How long chunks are, at random or not, is up to the data module's `chunk_lengths`, and each
    chunk says what it takes here:

    - A short chunk has a small step, a long one a large step. With `scale_steps_by="loss"` the loss is the sum over the
      targets divided by streams times `truncated_bptt_steps`, the same number at each step: so is its gradient. With
      `"lr"` the loss is the mean over the targets, and the learning rate of the step is multiplied by steps over
      `truncated_bptt_steps`, as the reference does for `NormalLengths`. It makes a difference for optimizers that
      normalise, such as Adam, and for clipping: the longest step is learning rate times threshold.
    - With `RandomTruncation` gradients of the state are multiplied where there might have been a cut.

    Logs `train_loss` (one chunk, when a logger writes and at the end of an epoch) and, over all targets of an epoch,
    `train_`, `val_` and `test_` with `bits_per_char` (next_token) or `mse` (regression).

    Args:
        in_features: Number of symbols, or numbers at each step.
        out_features: Number of symbols, or numbers to predict.
        cell: Kind of the recurrent layers.
        task: `"next_token"` for symbols, `"regression"` for numbers.
        nonlinearity: `"tanh"` or `"relu"`, for `cell="rnn"`.
        forget_bias: What the forget gates of an LSTM, or the update gates of a GRU, start with; `None` keeps torch's.
            `"chrono"` spreads it over lags up to `max_lag`.
        max_lag: Longest lag to remember, in steps, for `"chrono"`.
        scale_steps_by: What makes the step of a short chunk small.
        optimizer: Makes the optimizer from the parameters.
        **options: Those of `RecurrentModule`.

    Raises:
        ValueError: An argument is out of range, or two do not go together.
        TypeError: A size is not a whole number.

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
        rule = "streams have a target at every step; TBPTTSequenceModule takes one after the last"
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
        """Yes: there is an output at every step."""
        return True

    def training_step(self, batch: TrainingChunk, batch_idx: int) -> Tensor:  # type: ignore[override]
        """What is minimised on a chunk: its loss and penalties; `train_loss` is without them.

        Args:
            batch: A chunk.
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
        """Note how long the chunk is."""
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
        """Make a step; with `scale_steps_by="lr"` of a size that fits the chunks it is made of."""
        lengths, self._relative_lengths = self._relative_lengths, []
        factor = sum(lengths) / len(lengths) if self.scale_steps_by == "lr" and lengths else 1.0
        with scaled_learning_rate(optimizer, factor):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def on_train_epoch_end(self) -> None:
        """Log the mean over all targets of the epoch."""
        super().on_train_epoch_end()
        self.log(f"train_{self._task.measured[0]}", self._mean("train"))

    def predict_step(self, batch: TrainingChunk, batch_idx: int) -> Tensor:  # type: ignore[override]
        """The outputs for a chunk, `(streams, steps, out_features)`; the state goes on."""
        return self.run_chunk(self.advance, batch.inputs, batch)

    def _measure(self, split: str, batch: TrainingChunk) -> None:  # type: ignore[override]
        self._loss(split, batch)
        name = f"{split}_{self._task.measured[0]}"
        self.log(name, self._mean(split), on_step=False, on_epoch=True, prog_bar=split == "val")

    def _loss(self, split: str, chunk: TrainingChunk) -> tuple[Tensor, Tensor | int]:
        """The sum of the losses of a chunk and the number of its targets; both count for the mean of the epoch."""
        outputs = self.run_chunk(self.advance, chunk.inputs, chunk)
        total, count = summed_loss(self.task, outputs, chunk.targets, chunk.mask)
        unit = math.log(2) if self.task == "next_token" else 1.0
        self._mean(split).update(total / unit, count)
        return total, count

    def _mean(self, split: str) -> WeightedMean:
        mean = self._target_means[f"{split}_mean"]
        assert isinstance(mean, WeightedMean)
        return mean
