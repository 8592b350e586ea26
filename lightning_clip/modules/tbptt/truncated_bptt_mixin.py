"""`TruncatedBPTTMixin`: truncated backpropagation through time within each batch of long sequences."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from lightning_clip._checks import check_count, check_rule
from lightning_clip.modules.tbptt.chunk_plan import ChunkPlan, first_sequences, split_time
from lightning_clip.modules.tbptt.hiddens import Hiddens, detach, is_finite, loss_and_hiddens
from lightning_clip.modules.tbptt.losses import WeightedMean
from lightning_clip.modules.tbptt.manual_schedulers import step_schedulers


class TruncatedBPTTMixin(LightningModule, ABC):
    """Truncated backpropagation through time over batches of independent sequences, in manual optimization.

    Each batch is split into consecutive chunks of `truncated_bptt_steps`, and each chunk makes an optimizer step.
    Implement `tbptt_step`; the mixin does the rest: splitting, detaching, backward passes, optimizer steps, schedulers
    and logging. Put the mixin before the class you extend. The state is not carried from batch to batch; use
    `StatefulMixin` for that.

    Chunks are weighted by their number of targets, relative to the largest of the batch, so the gradient of a short
    last chunk is proportionally smaller. One chunk for the whole sequence is full backpropagation, bit for bit.

    `train_loss` is the mean over all targets of a batch, `train_loss_epoch` that over an epoch. Differences from
    automatic optimization: `global_step` counts chunks; `max_steps` is exact; Lightning rejects the Trainer's clipping
    and accumulation, which `GradientClipping` and `accumulate_chunks` replace. With several processes, all run as many
    chunks as the longest batch among them needs; the others repeat their last chunk with weight 0.

    Args:
        *args: Passed to the class that is extended.
        truncated_bptt_steps: k1, the number of time steps per optimizer step.
        backward_steps: k2, how many time steps gradients flow back, a multiple of k1; `None` for k1. If it is larger,
            the steps before a chunk are run again, from a state computed with older weights, and only the loss of the
            chunk itself counts. Time grows by k2 / k1; memory is that of k2 steps.
        accumulate_chunks: Number of chunks per optimizer step. They are run with the same weights, and their gradients
            are averaged. The last chunk of a batch always makes a step.
        **kwargs: Passed to the class that is extended.

    Attributes:
        time_dim: The time dimension of the tensors of a batch.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument is not a whole number.

    Example:
        >>> class Net(TruncatedBPTTMixin, LightningModule):
        ...     def __init__(self):
        ...         super().__init__(truncated_bptt_steps=20)
        ...         self.rnn, self.head = torch.nn.GRU(1, 8, batch_first=True), torch.nn.Linear(8, 1)
        ...
        ...     def tbptt_step(self, chunk, hiddens):
        ...         inputs, targets = chunk
        ...         outputs, hiddens = self.rnn(inputs, hiddens)
        ...         return torch.nn.functional.mse_loss(self.head(outputs), targets), hiddens
        ...
        ...     def configure_optimizers(self):
        ...         return torch.optim.Adam(self.parameters())

    References:
        Ronald Williams and Jing Peng, "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
        Trajectories", 1990, https://doi.org/10.1162/neco.1990.2.4.490: BPTT(h; h') with h' = k1 and h = k2.
    """

    time_dim: int = 1

    def __init__(
        self,
        *args: Any,
        truncated_bptt_steps: int,
        backward_steps: int | None = None,
        accumulate_chunks: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        name = type(self).__name__
        check_count(name, truncated_bptt_steps=truncated_bptt_steps, accumulate_chunks=accumulate_chunks)
        check_count(name, backward_steps=truncated_bptt_steps if backward_steps is None else backward_steps)
        check_rule(
            f"{name}(truncated_bptt_steps={truncated_bptt_steps}, backward_steps={backward_steps})",
            "backward_steps must be a multiple of truncated_bptt_steps",
            holds=(backward_steps or truncated_bptt_steps) % truncated_bptt_steps == 0,
        )
        self.automatic_optimization = False
        self.truncated_bptt_steps = truncated_bptt_steps
        self.backward_steps = backward_steps
        self.accumulate_chunks = accumulate_chunks
        self._epoch_loss = WeightedMean()
        self._states: dict[int, Hiddens] = {}

    @abstractmethod
    def tbptt_step(self, chunk: Any, hiddens: Hiddens) -> tuple[Tensor | None, Hiddens]:
        """Compute the loss of a chunk.

        Args:
            chunk: A part of the batch, with the same structure.
            hiddens: The state after the previous chunk; `None` at the start of the sequences.

        Returns:
            The mean loss over the targets of the chunk, `()`, and the state after it: a tensor, or tensors in tuples,
            lists and dictionaries. The loss of a chunk of weight 0 may be `None`.
        """

    def tbptt_split(self, batch: Any) -> Sequence[Any]:
        """Split a batch into chunks. Override this for batches that are not tensors `(batch, steps, …)`.

        Args:
            batch: The batch from the loader.

        Returns:
            The chunks, in order.
        """
        return split_time(batch, self.truncated_bptt_steps, time_dim=self.time_dim)

    def tbptt_weight(self, chunk: Any) -> Tensor | float:
        """Count the targets over which the loss of a chunk is averaged. Override this if some are masked or missing.

        Args:
            chunk: A part of the batch.

        Returns:
            Rows times steps. The Python number 0, not a tensor, means that the chunk has no loss.
        """
        sequences = first_sequences(chunk, time_dim=self.time_dim)
        return sequences.shape[0] * sequences.shape[1]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Train on a batch, chunk by chunk.

        Args:
            batch: The batch from the loader.
            batch_idx: Not used.

        Returns:
            The mean loss over the targets of the batch, `()`.
        """
        optimizer = self._optimizer()
        optimizer.zero_grad()
        plan = self._plan(batch)
        shares = plan.shares / self.accumulate_chunks
        states = self._states = {0: None}
        total, count, waiting = torch.zeros_like(plan.total), torch.zeros_like(plan.total), 0
        for number in range(plan.last + 1):
            loss = self._window(plan.chunks, states, number)
            if not plan.has_loss[number]:
                continue
            waiting += 1
            is_due = waiting == self.accumulate_chunks or number == plan.last
            with optimizer.toggle_model(sync_grad=is_due):
                self.manual_backward(loss * shares[number])
            total += loss.detach() * plan.counts[number]
            count += plan.counts[number]
            if is_due:
                waiting = 0
                self._step(optimizer)
                if 0 <= self.trainer.max_steps <= self.global_step:
                    break
        self._states = {}
        self._epoch_loss.update(total, count)
        mean = total / count.clamp(min=1)
        self.log("train_loss", mean, prog_bar=True)
        return mean

    def evaluate_chunks(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Compute the loss of a batch for validation and testing, chunk by chunk, in the memory of one chunk.

        Args:
            batch: The batch from the loader.

        Returns:
            The sum over its targets, `()`, and their number, `()`.
        """
        plan = self._own_plan(batch)
        hiddens, total = None, torch.zeros_like(plan.total)
        for chunk, has_loss, count in zip(plan.chunks, plan.has_loss, plan.counts, strict=True):
            loss, hiddens = loss_and_hiddens(self, self.tbptt_step(chunk, hiddens))
            if has_loss and loss is not None:
                total += loss.detach() * count
        return total, plan.total

    def reset_carried_state(self, *, non_finite_only: bool = False) -> None:
        """Start the next chunk of a batch afresh; `NonFiniteGuard` and `DivergenceRollback` call this.

        Args:
            non_finite_only: Whether to keep the state of all sequences if it is finite.
        """
        for number, state in self._states.items():
            if not non_finite_only or not is_finite(state):
                self._states[number] = None

    def on_train_epoch_end(self) -> None:
        """Log the mean loss of the epoch, and step the schedulers with interval `"epoch"`."""
        super().on_train_epoch_end()
        self.log("train_loss_epoch", self._epoch_loss)
        step_schedulers(self, "epoch")

    def _window(self, chunks: Sequence[Any], states: dict[int, Hiddens], number: int) -> Tensor:
        """The loss of a chunk, with a graph that starts `backward_steps` before its end."""
        n_chunks = (self.backward_steps or self.truncated_bptt_steps) // self.truncated_bptt_steps
        first = max(0, number - n_chunks + 1)
        for gone in [key for key in states if key < first]:
            del states[gone]
        loss, hiddens = None, states[first]
        for index in range(first, number + 1):
            loss, hiddens = loss_and_hiddens(self, self.tbptt_step(chunks[index], hiddens))
            states[index + 1] = detach(hiddens)
        return loss  # type: ignore[return-value]  # `None` only for chunks of weight 0, whose loss is not used

    def _plan(self, batch: Any) -> ChunkPlan:
        """The chunks of a batch, equally many on every process."""
        plan = self._own_plan(batch)
        if self.trainer.world_size > 1:
            count = torch.tensor(len(plan.chunks), device=self.device)
            most: Any = self.trainer.strategy.reduce(count, reduce_op="max")
            plan.add_missing(int(most) - len(plan.chunks))
        return plan

    def _own_plan(self, batch: Any) -> ChunkPlan:
        chunks = self.tbptt_split(batch)
        return ChunkPlan(chunks, [self.tbptt_weight(chunk) for chunk in chunks], self.device)

    def _optimizer(self) -> LightningOptimizer:
        optimizers: Any = self.optimizers()
        if isinstance(optimizers, list):
            raise MisconfigurationException(
                f"{type(self).__name__} has several optimizers; return a single one from configure_optimizers."
            )
        single: LightningOptimizer = optimizers
        return single

    def _step(self, optimizer: LightningOptimizer) -> None:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler is not None else 0.0
        optimizer.step()
        optimizer.zero_grad()
        if scaler is None or scaler.get_scale() >= scale:  # a scaler that skips a step lowers its scale
            step_schedulers(self, "step")
