"""`StatefulMixin`: a LightningModule whose recurrent state lives on from batch to batch."""

import contextlib
from functools import partial
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import Tensor
from torch.utils.data import DistributedSampler, RandomSampler

from lightning_clip.modules.tbptt.carried_state import CarriedState, StreamChunk
from lightning_clip.modules.tbptt.hiddens import Cell, Hiddens, reset_rows, scale_gradient
from lightning_clip.modules.tbptt.segments import run_in_segments


class StatefulMixin(LightningModule):
    """Truncated backpropagation through time where the chunks are the batches of the loader.

    The state with which one chunk ends is that with which the next one begins; no gradient flows between them. All else
    is plain automatic optimisation: one optimizer step a chunk, with the Trainer's accumulation, precision, schedulers
    and `max_steps`. Name it before the class you extend, and run the recurrent network through `run_chunk`.

    The batches have to be consecutive and to say what they are, as those of `ChunkedSequenceDataModule` do. Any object
    with the attributes of `Chunk` will do; one that says nothing goes on from the batch before, row by row, and a batch
    with fewer rows goes on in the first of them.

    - Reset: at the start of each epoch, and where a chunk says so, for each row and step on its own.
    - Evaluation has a state of its own; that of training waits untouched.
    - A checkpoint holds the states of all processes, so that a run resumed inside an epoch goes on as if it had not
      been stopped, if its loader does too.
    - The state is a plain attribute, never a buffer: DDP would overwrite it by that of the first process.
    - It is kept in the precision of the parameters, also under mixed precision. It goes on when a step is skipped.
    - A chunk that is evaluated again, as by LBFGS, starts from the same state again.
    - Dropout masks are drawn for each chunk, also those that are meant for a whole sequence.

    Attributes:
        hiddens_batch_dim: The dimension of the batch in the tensors of the state; 1 in torch's recurrent layers.

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
        """The state of fresh rows.

        Args:
            inputs: `(streams, steps, …)`.

        Returns:
            `None` for zeros; override it for others, for instance learnt ones.
        """
        return None

    def run_chunk(self, cell: Cell, inputs: Tensor, chunk: StreamChunk) -> Tensor:
        """Run a recurrent network over a chunk, from the state in which its streams are.

        Args:
            cell: Takes inputs `(streams, steps, …)` and a state, and returns outputs `(streams, steps, …)` and the
                state after the last step, as `torch.nn.RNN`, `LSTM` and `GRU` do with `batch_first=True`.
            inputs: What the cell reads, for instance the embedded `chunk.inputs`.
            chunk: The batch.

        Returns:
            The outputs of the cell.

        Raises:
            RuntimeError: The chunk does not continue the one before.
        """
        carried, streams = self._carried[self._is_training()], self._streams(chunk)
        initial = self.initial_hiddens(inputs)
        hiddens = carried.recall(streams, chunk.start, initial, inputs.device)
        outputs, hiddens = run_in_segments(cell, inputs, hiddens, self._changes(chunk, initial))
        end = None if chunk.start is None else chunk.start + inputs.shape[1]
        carried.keep(streams, end, hiddens, self.dtype)
        return outputs

    def on_train_start(self) -> None:
        """Refuse loaders that do not yield consecutive chunks.

        Raises:
            MisconfigurationException: A loader shuffles, or its rows are dealt out to processes.
        """
        super().on_train_start()
        for loader in CombinedLoader(self.trainer.train_dataloader).flattened:
            sampler = getattr(loader, "sampler", None)
            if isinstance(sampler, RandomSampler | DistributedSampler):
                raise MisconfigurationException(
                    f"{type(self).__name__} carries its state from batch to batch, but the training data are read by a "
                    f"{type(sampler).__name__}. Chunks have to be consecutive: use DataLoader(shuffle=False), "
                    "Trainer(use_distributed_sampler=False) and streams of its own for each process."
                )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Forget the state of the last epoch, unless the chunks say themselves where they begin."""
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
        """Save the state of training, of all processes."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["carried_hiddens"] = self._carried[True].state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the saved state."""
        super().on_load_checkpoint(checkpoint)
        self._carried[True].load_state_dict(checkpoint.get("carried_hiddens"))

    def _begin(self, batch: Any, batch_idx: int, *, is_training: bool) -> None:
        if batch_idx == 0 and getattr(batch, "start", None) is None:
            self._carried[is_training].forget()

    def _is_training(self) -> bool:
        with contextlib.suppress(RuntimeError):  # Lightning's, without a trainer
            return self.trainer.training
        return self.training

    def _streams(self, chunk: StreamChunk) -> tuple[int, ...]:
        """Numbers that no other process has."""
        first = self.global_rank << 32
        return tuple(range(first, first + len(chunk.inputs))) if chunk.streams is None else chunk.streams

    def _changes(self, chunk: StreamChunk, initial: Hiddens) -> dict[int, Any]:
        """What becomes of the state inside a chunk: rows start afresh, or messages are made up for random cuts."""
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
                changes[step] = partial(_in_turn, changes.get(step), reset)
        return changes


def _in_turn(first: Any, second: Any, hiddens: Hiddens) -> Hiddens:
    return second(hiddens if first is None else first(hiddens))
