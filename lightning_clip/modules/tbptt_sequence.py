"""`TBPTTSequenceModule`: a recurrent network on batches of sequences, trained by truncated backpropagation."""

import math
from typing import Any, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lightning_clip.modules.layers.factory import CellName, recurrent_layer, start_gates_
from lightning_clip.modules.layers.padded import run_padded
from lightning_clip.modules.optimized_module import OptimizerCallable
from lightning_clip.modules.recurrent_module import RecurrentModule
from lightning_clip.modules.sequence_tasks import TaskName
from lightning_clip.modules.summed_loss import summed_loss
from lightning_clip.modules.tbptt.hiddens import Hiddens
from lightning_clip.modules.tbptt.sequence_parts import SequencePart, sequence_parts
from lightning_clip.modules.tbptt.truncated_bptt_mixin import TruncatedBPTTMixin
from lightning_clip.modules.weighted_mean import WeightedMean


class TBPTTSequenceModule(TruncatedBPTTMixin, RecurrentModule):
    """RNN, LSTM or GRU layers and a linear one, on batches of independent long sequences, cut into chunks.

    An optimizer step is made after each chunk that has a target, see `TruncatedBPTTMixin`: with one target after the
    last step only the last chunk learns, from what `backward_steps` before it show, and the state brings the rest.

    A batch is `(inputs, targets)`, `(inputs, targets, mask)` with a mask `(batch, steps)` of the targets that count, or
    `(inputs, targets, lengths)` with the real steps `(batch,)` of sequences that are padded on the right. A padded
    sequence is treated as if it had come alone: its state stops at its last real step, and one target for the whole
    sequence is compared there.

    Logs `train_loss`, `train_loss_epoch` and the metrics of `RecurrentModule`; with a mask or lengths the first of them
    only, as the mean over the targets that count.

    Args:
        in_features: Numbers at each step, or number of symbols.
        out_features: Classes, or numbers to predict.
        truncated_bptt_steps: Steps of a chunk.
        backward_steps: How many time steps gradients flow back, a multiple of `truncated_bptt_steps`; by default those
            of the chunk.
        accumulate_chunks: Chunks that make one optimizer step.
        cell: Kind of the recurrent layers.
        task: What is to be learnt.
        nonlinearity: `"tanh"` or `"relu"`, for `cell="rnn"`.
        forget_bias: What the forget gates of an LSTM, or the update gates of a GRU, start with; `None` keeps torch's.
            `"chrono"` spreads it over lags up to `max_lag`.
        max_lag: Longest lag to remember, in steps, for `"chrono"`.
        optimizer: Makes the optimizer from the parameters.
        **options: Those of `RecurrentModule`.

    Raises:
        ValueError: An argument is out of range, or two do not go together.
        TypeError: A size is not a whole number.

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
        """As in `OptimizedModule`, without what Lightning does not use in manual optimisation."""
        configured: Any = super().configure_optimizers()
        if isinstance(configured, dict):
            del configured["lr_scheduler"]["monitor"]
        checked: OptimizerLRScheduler = configured
        return checked

    def tbptt_split(self, batch: tuple[Tensor, ...]) -> list[SequencePart]:
        """Chunks with the targets that belong to them."""
        return sequence_parts(batch, self.truncated_bptt_steps, every_step=self.every_step)

    def tbptt_weight(self, chunk: SequencePart) -> Tensor | float:
        """The number of its targets."""
        if chunk.targets is None:
            return 0
        if chunk.mask is not None:
            return chunk.mask.sum()
        return len(chunk.inputs) * (chunk.inputs.shape[1] if self.every_step else 1)

    def tbptt_step(self, chunk: SequencePart, hiddens: Hiddens) -> tuple[Tensor | None, Hiddens]:
        """The mean loss over the targets of a chunk, while training with penalties, and the state after it."""
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
