"""`StatefulMixin`: a LightningModule that carries its recurrent state from batch to batch."""

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import Tensor
from torch.utils.data import DistributedSampler, RandomSampler

from lightning_clip.modules.tbptt.carried_state import CarriedState, StreamChunk
from lightning_clip.modules.tbptt.hiddens import Cell, Hiddens, detach, reset_rows, scale_gradient


class StatefulMixin(LightningModule):
    """Truncated backpropagation through time in which every batch of the loader is a chunk.

    Each chunk starts with the state after the previous one; no gradient flows between them. Everything else is plain
    automatic optimization: one optimizer step per chunk, with the Trainer's accumulation, precision, schedulers and
    `max_steps`. Put the mixin before the class you extend, and run the recurrent network through `run_chunk`.

    Batches must be consecutive and describe themselves, as those of `ChunkedSequenceDataModule` do: any object with the
    attributes of `Chunk` works. If an attribute is `None`, the batch continues the previous one, row by row; a batch
    with fewer rows continues the first rows.

    - The state is reset at the start of every epoch, and for single rows and steps where a chunk says so.
    - Evaluation has a separate state and leaves the training state unchanged.
    - Checkpoints hold the states of all processes. A run resumed within an epoch continues as if it had not been
      interrupted, provided that its loader does too.
    - The state is a plain attribute, not a buffer, because DDP would overwrite buffers with those of the first process.
    - The state has the precision of the parameters, even under mixed precision. It carries over skipped steps too.
    - A chunk that is evaluated more than once, as by LBFGS, starts from the same state each time.
    - Dropout masks are drawn for each chunk, even those meant for a whole sequence.

    Attributes:
        hiddens_batch_dim: The batch dimension of the tensors of the state; 1 in torch's recurrent layers.

    Example:
        >>> import torch
        >>> class Net(StatefulMixin, LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.rnn, self.head = torch.nn.RNN(1, 8, batch_first=True), torch.nn.Linear(8, 1)
        ...
        ...     def training_step(self, chunk, batch_idx):
        ...         outputs = self.head(self.run_chunk(self.rnn, chunk.inputs, chunk))
        ...         return torch.nn.functional.mse_loss(outputs, chunk.targets)
        ...
        ...     def configure_optimizers(self):
        ...         return torch.optim.Adam(self.parameters())

    References:
        Ilya Sutskever, "Training Recurrent Neural Networks", 2013, section 2.8.6,
        https://www.cs.utoronto.ca/~ilya/pubs/ilya_sutskever_phd_thesis.pdf; here k1 = k2.
    """

    hiddens_batch_dim: int = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._carried = {is_training: CarriedState(self.hiddens_batch_dim) for is_training in (True, False)}

    def initial_hiddens(self, inputs: Tensor) -> Hiddens:
        """The initial state of fresh rows.

        Args:
            inputs: `(streams, steps, …)`.

        Returns:
            `None` for zeros. Override this method for another initial state, for instance a learned one.
        """
        return None

    def run_chunk(self, cell: Cell, inputs: Tensor, chunk: StreamChunk) -> Tensor:
        """Run a recurrent network over a chunk, starting from the current state of its streams.

        Args:
            cell: Takes inputs `(streams, steps, …)` and a state; returns outputs `(streams, steps, …)` and the state
                after the last step, as `torch.nn.RNN`, `LSTM` and `GRU` do with `batch_first=True`.
            inputs: The inputs of the cell, for instance the embedded `chunk.inputs`.
            chunk: The batch.

        Returns:
            The outputs of the cell.

        Raises:
            RuntimeError: The chunk does not continue the previous one.
        """
        carried, streams = self._carried[self._is_training()], self._streams(chunk)
        initial = self.initial_hiddens(inputs)
        hiddens = carried.recall(streams, chunk.start, initial, inputs.device)
        outputs, hiddens = run_in_segments(cell, inputs, hiddens, self._changes(chunk, initial))
        end = None if chunk.start is None else chunk.start + inputs.shape[1]
        carried.initial = detach(initial)
        carried.keep(streams, end, hiddens, self.dtype)
        return outputs

    def reset_carried_state(self, *, non_finite_only: bool = False) -> None:
        """Give rows of the training state the initial state; `NonFiniteGuard` and `DivergenceRollback` call this.

        Args:
            non_finite_only: Whether to reset only rows whose state contains NaN or infinity.
        """
        self._carried[True].reset(non_finite_only=non_finite_only)

    def on_train_start(self) -> None:
        """Reject loaders that do not yield consecutive chunks.

        Raises:
            MisconfigurationException: A loader shuffles, or distributes its samples over processes.
        """
        super().on_train_start()
        for loader in CombinedLoader(self.trainer.train_dataloader).flattened:
            sampler = getattr(loader, "sampler", None)
            if isinstance(sampler, RandomSampler | DistributedSampler):
                raise MisconfigurationException(
                    f"{type(self).__name__} carries its state from batch to batch, but the training loader uses a "
                    f"{type(sampler).__name__}. Chunks must be consecutive: use DataLoader(shuffle=False), "
                    "Trainer(use_distributed_sampler=False) and separate streams for each process."
                )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Drop the state of the last epoch, unless the chunks tell themselves where they start."""
        self._begin(batch, batch_idx, is_training=True)
        return super().on_train_batch_start(batch, batch_idx)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Start each loader with a fresh state."""
        self._begin(batch, batch_idx, is_training=False)
        super().on_validation_batch_start(batch, batch_idx, dataloader_idx)

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Start each loader with a fresh state."""
        self._begin(batch, batch_idx, is_training=False)
        super().on_test_batch_start(batch, batch_idx, dataloader_idx)

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Start each loader with a fresh state."""
        self._begin(batch, batch_idx, is_training=False)
        super().on_predict_batch_start(batch, batch_idx, dataloader_idx)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the training state of all processes."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["carried_hiddens"] = self._carried[True].state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the saved training state."""
        super().on_load_checkpoint(checkpoint)
        self._carried[True].load_state_dict(checkpoint.get("carried_hiddens"))

    def _begin(self, batch: Any, batch_idx: int, *, is_training: bool) -> None:
        if batch_idx == 0 and getattr(batch, "start", None) is None:
            self._carried[is_training].forget()

    def _is_training(self) -> bool:
        with contextlib.suppress(RuntimeError):  # raised by Lightning without a trainer
            return self.trainer.training
        return self.training

    def _streams(self, chunk: StreamChunk) -> tuple[int, ...]:
        """Stream indices that no other process uses."""
        first = self.global_rank << 32
        return tuple(range(first, first + len(chunk.inputs))) if chunk.streams is None else chunk.streams

    def _changes(self, chunk: StreamChunk, initial: Hiddens) -> dict[int, Any]:
        """The changes to the state within a chunk: resets of rows, and gradient scaling for random truncation."""
        changes: dict[int, Any] = {}
        if chunk.message_scale != 1 and chunk.nominal_steps:
            steps = range(chunk.nominal_steps, chunk.inputs.shape[1], chunk.nominal_steps)
            changes = dict.fromkeys(steps, partial(scale_gradient, factor=chunk.message_scale))
        if chunk.resets is None:
            return changes
        for step in chunk.reset_steps:
            if step > 0 or chunk.start != 0:
                resets = chunk.resets[:, step]
                reset = partial(reset_rows, resets=resets, batch_dim=self.hiddens_batch_dim, initial=initial)
                changes[step] = partial(_compose, changes.get(step), reset)
        return changes


def _compose(first: Any, second: Any, hiddens: Hiddens) -> Hiddens:
    return second(hiddens if first is None else first(hiddens))


def run_in_segments(
    cell: Cell, inputs: Tensor, hiddens: Hiddens, changes: Mapping[int, Callable[[Hiddens], Hiddens]]
) -> tuple[Tensor, Hiddens]:
    """Run a recurrent network over a sequence and change its state between steps, which fused layers do not support.

    Args:
        cell: The recurrent network.
        inputs: `(batch, steps, …)`.
        hiddens: State before the first step.
        changes: Functions that change the state, by the index of the step before which they are applied.

    Returns:
        Outputs `(batch, steps, …)` and the state after the last step.
    """
    edges = [0, *sorted(step for step in changes if 0 < step < inputs.shape[1]), inputs.shape[1]]
    outputs = []
    for begin, end in pairwise(edges):
        if begin in changes:
            hiddens = changes[begin](hiddens)
        part, hiddens = cell(inputs[:, begin:end], hiddens)
        outputs.append(part)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1), hiddens
