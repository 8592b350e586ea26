"""Record two runs and compare them: where they part, and what changed.

`lightning-clip report runs/before.jsonl runs/after.jsonl` prints the same from the files.
"""

import warnings
from pathlib import Path

from lightning.pytorch import Trainer, seed_everything

from lightning_clip import (
    GradientClipping,
    JsonlSink,
    MLPRegressor,
    NoClip,
    NonFiniteGuard,
    NormClip,
    RegressionDataModule,
    load_record,
)

warnings.filterwarnings("ignore", message=".*does not have many workers.*")


def train(name, strategy):
    path = Path(f"runs/{name}.jsonl")
    path.unlink(missing_ok=True)  # one file holds one run
    seed_everything(0, verbose=False)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[GradientClipping(strategy, sinks=[JsonlSink(path)]), NonFiniteGuard("stop")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(MLPRegressor(), RegressionDataModule())
    return load_record(path)


before, after = train("before", NoClip()), train("after", NormClip(1.0))
print(before.compare(after))
for name, record in {"before": before, "after": after}.items():
    total = record.history.aggregates[0]
    print(f"{name}: {total.steps} steps, clipped {total.clipped}, NaN or infinite {total.nonfinite}")
