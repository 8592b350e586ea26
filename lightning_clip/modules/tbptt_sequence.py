"""`TBPTTSequenceModule`: a recurrent network on batches of sequences, trained by truncated BPTT."""

import math
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lightning_clip.modules._batch import checked_batch
from lightning_clip.modules.layers.factory import CellName, recurrent_layer, start_gates_
from lightning_clip.modules.layers.padded import run_padded
from lightning_clip.modules.optimized_module import OptimizerCallable
from lightning_clip.modules.recurrent_module import RecurrentModule
from lightning_clip.modules.sequence_tasks import TaskName
from lightning_clip.modules.tbptt.hiddens import Hiddens
from lightning_clip.modules.tbptt.losses import WeightedMean, summed_loss
from lightning_clip.modules.tbptt.truncated_bptt_mixin import TruncatedBPTTMixin


class SequencePart(NamedTuple):
    """A chunk of a batch of sequences.

    Attributes:
        inputs: `(batch, steps, …)`.
        targets: `(batch, steps, …)`, or `(batch, …)` for one target after the last step; `None` without targets.
        mask: `(batch, steps)` or `(batch,)`, true where there is a target; `None` if every target counts.
        lengths: `(batch,)`, number of real steps of each row in this chunk, on the CPU; `None` if all are real.
    """

    inputs: Tensor
    targets: Tensor | None
    mask: Tensor | None = None
    lengths: Tensor | None = None


class TBPTTSequenceModule(TruncatedBPTTMixin, RecurrentModule):
    """Recurrent layers and a linear layer, on batches of independent long sequences that are split into chunks.

    Every chunk with a target is followed by an optimizer step, see `TruncatedBPTTMixin`. With one target after the last
    step, only the last chunk trains the network. Its gradient flows back `backward_steps`; what came earlier enters
    only through the state.

    A batch is `(inputs, targets)`; or `(inputs, targets, mask)`, with a mask `(batch, steps)` of the targets that
    count; or `(inputs, targets, lengths)`, with the real lengths `(batch,)`, in steps, of sequences padded on the
    right. A padded sequence gives the same results as without padding: its state stops at its last real step, and a
    single target for the whole sequence is compared there.

    Logs `train_loss`, `train_loss_epoch` and the metrics of `RecurrentModule`. With a mask or lengths, it logs only the
    first of these metrics, as the mean over the targets that count.

    Args:
        in_features: Number of inputs at each step, or of symbols.
        out_features: Number of classes, or of values to predict.
        truncated_bptt_steps: Length of a chunk, in time steps.
        backward_steps: How many time steps gradients flow back, a multiple of `truncated_bptt_steps`; `None` for those
            of one chunk.
        accumulate_chunks: Number of chunks per optimizer step.
        cell: Type of the recurrent layers.
        task: The task to learn: `"classification"`, `"regression"` or `"next_token"`.
        nonlinearity: `"tanh"` or `"relu"`, for `cell="rnn"`.
        forget_bias: Initial bias of the forget gates of an LSTM, or the update gates of a GRU; `None` keeps torch's.
            `"chrono"` draws biases for lags up to `max_lag`.
        max_lag: Longest lag to remember, in time steps; required by `"chrono"`.
        optimizer: Builds the optimizer from the parameters.
        **options: The other options of `RecurrentModule`.

    Raises:
        ArgumentError: An argument is out of range, or two exclude each other.
        ArgumentTypeError: A size is not a whole number.

    Example:
        >>> model = TBPTTSequenceModule(6, 4, truncated_bptt_steps=25, backward_steps=50)
        >>> model(torch.zeros(2, 100, 6)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        in_features: int = 6,
        out_features: int = 4,
        *,
        truncated_bptt_steps: int = 50,
        backward_steps: int | None = None,
        accumulate_chunks: int = 1,
        cell: CellName = "lstm",
        task: TaskName = "classification",
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        forget_bias: float | Literal["chrono"] | None = None,
        max_lag: int | None = None,
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=0.01),
        **options: Any,
    ) -> None:
        name = type(self).__name__
        super().__init__(
            layer=recurrent_layer(name, cell, nonlinearity),
            in_features=in_features,
            out_features=out_features,
            truncated_bptt_steps=truncated_bptt_steps,
            backward_steps=backward_steps,
            accumulate_chunks=accumulate_chunks,
            task=task,
            optimizer=optimizer,
            **options,
        )
        start_gates_(name, self.recurrent, forget_bias, max_lag)
        self.cell = cell
        self.nonlinearity = nonlinearity
        self.forget_bias = forget_bias
        self.max_lag = max_lag
        self._masked_means = nn.ModuleDict({f"{split}_mean": WeightedMean() for split in ("val", "test")})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """As in `OptimizedModule`, without the `monitor` entry, which Lightning does not use in manual optimization."""
        configured: Any = super().configure_optimizers()
        if isinstance(configured, dict):
            del configured["lr_scheduler"]["monitor"]
        checked: OptimizerLRScheduler = configured
        return checked

    def tbptt_split(self, batch: tuple[Tensor, ...]) -> list[SequencePart]:
        """Split a batch into chunks with their targets."""
        if len(batch) == 2:
            checked_batch(self, batch)
        return sequence_parts(batch, self.truncated_bptt_steps, every_step=self.every_step)

    def tbptt_weight(self, chunk: SequencePart) -> Tensor | float:
        """The number of targets of a chunk."""
        if chunk.targets is None:
            return 0
        if chunk.mask is not None:
            return chunk.mask.sum()
        return len(chunk.inputs) * (chunk.inputs.shape[1] if self.every_step else 1)

    def tbptt_step(self, chunk: SequencePart, hiddens: Hiddens) -> tuple[Tensor | None, Hiddens]:
        """The mean loss over the targets of a chunk, plus penalties in training, and the state after it."""
        outputs, hiddens = self._outputs(chunk, hiddens)
        if chunk.targets is None:
            return None, hiddens
        mask = None if chunk.mask is None else chunk.mask.to(outputs.device)
        total, count = summed_loss(self.task, outputs, chunk.targets, mask)
        loss = total / torch.as_tensor(count).clamp(min=1)
        has_penalty = self.training and (self.recurrent_l1 or self.recurrent_l2)
        return loss + self._penalty() if has_penalty else loss, hiddens

    def _outputs(self, chunk: SequencePart, hiddens: Hiddens) -> tuple[Tensor, Hiddens]:
        if chunk.lengths is None:
            return self.advance(chunk.inputs, hiddens)
        states, hiddens = run_padded(self.recurrent, self.encoder(chunk.inputs), hiddens, chunk.lengths)
        if not self.every_step:
            last = (chunk.lengths - 1).clamp(min=0).to(states.device)
            states = states[torch.arange(len(states), device=states.device), last]
        return self.clamps["output"](self.head(F.dropout(states, self.dropout, self.training))), hiddens

    def _measure(self, split: str, batch: tuple[Tensor, ...]) -> None:
        if len(batch) == 2:
            super()._measure(split, (batch[0], batch[1]))
            return
        total, count = self.evaluate_chunks(batch)
        mean = self._masked_means[f"{split}_mean"]
        assert isinstance(mean, WeightedMean)
        mean.update(total / (math.log(2) if self.task == "next_token" else 1.0), count)
        self.log(f"{split}_{self._task.measured[0]}", mean, on_step=False, on_epoch=True, prog_bar=split == "val")


def sequence_parts(batch: tuple[Tensor, ...], steps: int, *, every_step: bool) -> list[SequencePart]:
    """Split a batch into chunks.

    Args:
        batch: Inputs `(batch, time, …)`, targets `(batch, time, …)` or `(batch, …)`, and optionally a mask of the
            targets `(batch, time)` or the lengths `(batch,)` of sequences padded on the right.
        steps: Length of a chunk, in time steps; the last one may be shorter.
        every_step: Whether there is a target at every step instead of one after the last.

    Returns:
        The chunks, in order, as views of the tensors.

    Example:
        >>> batch = torch.zeros(2, 10, 3), torch.zeros(2), torch.tensor([3, 10])
        >>> [(len(part.inputs[0]), part.mask) for part in sequence_parts(batch, 5, every_step=False)]
        [(5, tensor([ True, False])), (5, tensor([False,  True]))]
    """
    inputs, targets, *rest = batch
    mask = next((extra for extra in rest if extra.dim() > 1), None)
    lengths = next((extra.cpu() for extra in rest if extra.dim() == 1), None)
    parts = []
    for start in range(0, inputs.shape[1], steps):
        part = inputs[:, start : start + steps]
        width = part.shape[1]
        real = None if lengths is None else (lengths - start).clamp(0, width)
        if every_step:
            chosen = None if mask is None else mask[:, start : start + steps]
            chosen = chosen if real is None else torch.arange(width) < real[:, None]
            parts.append(SequencePart(part, targets[:, start : start + steps], chosen, real))
        elif lengths is None:
            is_last = start + width == inputs.shape[1]
            parts.append(SequencePart(part, targets if is_last else None))
        else:
            ends = (lengths > start) & (lengths <= start + width)
            parts.append(SequencePart(part, targets if bool(ends.any()) else None, ends, real))
    return parts
