"""Truncated BPTT on a text of your own: `python 11_text.py FILE [EPOCHS]`; without a file, on the Zen of Python.

The text is read as parallel streams of chunks, and the LSTM carries its state from chunk to chunk.
"""

import codecs
import contextlib
import io
import sys
import warnings
from pathlib import Path

from lightning.pytorch import Trainer, seed_everything

from lightning_clip import (
    CharTextDataModule,
    GradientClipping,
    NormClip,
    RichGradientReport,
    TBPTTModule,
    TemporalGradientMonitor,
)

warnings.filterwarnings("ignore", message=".*does not have many workers.*")
path = Path(sys.argv[1] if len(sys.argv) > 1 else "zen.txt")
if len(sys.argv) < 2:
    with contextlib.redirect_stdout(io.StringIO()):
        import this
    path.write_text(codecs.decode(this.s, "rot13") * 20, encoding="utf-8")

seed_everything(0, verbose=False)
data = CharTextDataModule(path, truncated_bptt_steps=32, batch_size=8)
data.setup("fit")
model = TBPTTModule(data.in_features, data.out_features, embedding_dim=16, hidden_size=64)
trainer = Trainer(
    max_epochs=int(sys.argv[2]) if len(sys.argv) > 2 else 5,
    accelerator="cpu",
    callbacks=[GradientClipping(NormClip(1.0)), TemporalGradientMonitor(every_n_steps=50), RichGradientReport()],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, data)
(metrics,) = trainer.validate(model, data, verbose=False)
print("  ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
