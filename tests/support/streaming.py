"""Small networks that are trained by truncated backpropagation, with both mixins."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import ChunkedSequenceDataModule, StatefulMixin, TruncatedBPTTMixin
from lightning_clip.modules.tbptt.hiddens import map_hiddens

LOADERS = ("train_dataloaders", "val_dataloaders")
LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def series(steps: int, features: int = 2, *, seed: int = 0) -> Tensor:
    """A bounded random walk `(steps, features)`."""
    noise = torch.randn(steps, features, generator=torch.Generator().manual_seed(seed))
    return noise.cumsum(0).mul(0.3).sin()


def streams_of(steps: int = 200, *, seed: int | None = 0, **options: Any) -> ChunkedSequenceDataModule:
    """Streams of a random walk with two features."""
    defaults: dict[str, Any] = {"truncated_bptt_steps": 8, "batch_size": 4, "val_fraction": 0, "test_fraction": 0}
    return ChunkedSequenceDataModule(series(steps), seed=seed, **{**defaults, **options})


class Streaming(StatefulMixin):
    """A `StatefulMixin` with one layer and a head. Records the loss and start of each training chunk."""

    def __init__(
        self, cell: str = "lstm", *, features: int = 2, hidden: int = 5, depth: int = 2, lr: float = 0.1
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = LAYERS[cell](features, hidden, num_layers=depth, batch_first=True)
        self.head = nn.Linear(hidden, features)
        self.lr = lr
        self.losses: list[Tensor] = []
        self.starts: list[int | None] = []

    def training_step(self, chunk, batch_idx):
        outputs = self.head(self.run_chunk(self.rnn, chunk.inputs, chunk))
        loss = F.mse_loss(outputs, chunk.targets)
        self.losses.append(loss.detach())
        self.starts.append(chunk.start)
        return loss

    def validation_step(self, chunk, batch_idx):
        self.run_chunk(self.rnn, chunk.inputs, chunk)

    def test_step(self, chunk, batch_idx):
        self.run_chunk(self.rnn, chunk.inputs, chunk)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)

    def outputs_of(self, chunks) -> Tensor:
        """The outputs of the layer over chunks, `(streams, steps, hidden)`, without gradients."""
        with torch.no_grad():
            return torch.cat([self.run_chunk(self.rnn, chunk.inputs, chunk) for chunk in chunks], dim=1)


class Splitting(TruncatedBPTTMixin):
    """A `TruncatedBPTTMixin` with one layer and a head. Records the arguments of `tbptt_step`."""

    def __init__(
        self, cell: str = "lstm", *, features: int = 2, hidden: int = 5, lr: float = 0.1, **options: Any
    ) -> None:
        super().__init__(**options)
        torch.manual_seed(0)
        self.rnn = LAYERS[cell](features, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        self.lr = lr
        self.calls: list[tuple[int, Any]] = []

    def tbptt_step(self, chunk, hiddens):
        inputs, targets = chunk
        self.calls.append((inputs.shape[1], hiddens))
        outputs, hiddens = self.rnn(inputs, hiddens)
        return F.mse_loss(self.head(outputs), targets), hiddens

    def validation_step(self, batch, batch_idx):
        self.evaluate_chunks(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class SaveAt(pl.Callback):
    """Saves a checkpoint in a hook, after the given number of steps."""

    def __init__(self, step, path, hook="on_train_batch_end"):
        self.step, self.path = step, path
        setattr(self, hook, self._save)

    def _save(self, trainer, *args):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def sequences(rows: int = 6, steps: int = 30, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs `(rows, steps, 2)`, and running sums of the first feature `(rows, steps, 1)`."""
    inputs = torch.randn(rows, steps, 2, generator=torch.Generator().manual_seed(seed))
    return inputs, 0.3 * inputs[..., :1].cumsum(1)


def fit(module: pl.LightningModule, data: Any, **options: Any) -> pl.Trainer:
    """Train quietly on the CPU; by default for one epoch without validation."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
    }
    ckpt_path = options.pop("ckpt_path", None)
    trainer = pl.Trainer(**{**defaults, **options})
    both = {"datamodule": data} if isinstance(data, pl.LightningDataModule) else dict.fromkeys(LOADERS, data)
    trainer.fit(module, **both, ckpt_path=ckpt_path)
    return trainer


def chunks_of(**options):
    return list(streams_of(**options).train_dataloader())


def whole(chunks, name="inputs"):
    return torch.cat([getattr(chunk, name) for chunk in chunks], dim=1)


def leaves(hiddens):
    found = []
    map_hiddens(lambda state: (found.append(state), state)[1], hiddens)
    return found


def loader(rows=6, steps=30, batch_size=3):
    return DataLoader(TensorDataset(*sequences(rows, steps)), batch_size=batch_size)
