"""The picture of a report: an RNN with one wrong target among 640. `python docs/report_picture.py` writes it."""

import io
import re
from dataclasses import replace
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import GradientClipping, NormClip, RNNModule, RunRecord

TARGET = Path(__file__).parent / "pictures" / "report.svg"
WIDTH = 92


def record() -> RunRecord:
    """Train an RNN to sum 20 numbers, for six epochs of 40 batches; the target of sample 333 is wrong."""
    seed_everything(0, verbose=False)
    inputs = torch.rand(640, 20, 1)
    targets = inputs.mean(dim=1)
    targets[333] = 300.0
    clipping = GradientClipping(NormClip(1.0))
    trainer = Trainer(
        max_epochs=6,
        accelerator="cpu",
        callbacks=[clipping],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = RNNModule(1, 1, task="regression", hidden_size=16, optimizer=lambda params: torch.optim.Adam(params, 0.003))
    trainer.fit(model, DataLoader(TensorDataset(inputs, targets), batch_size=16))
    whole = clipping.record
    return replace(whole, run=replace(whole.run, seconds=None))  # the time would be another one each time


def main() -> None:
    """Write the picture, without fonts from other hosts."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(record().report())
    svg = console.export_svg(title="lightning_clip", theme=DIMMED_MONOKAI, unique_id="report")
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
