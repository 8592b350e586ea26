"""The record of a run: every step in a file, then as numpy columns, as totals, and as a diagnosis.

`lightning-clip report FILE` prints the report of such a file. Reading needs no model and no Lightning.
"""

from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer

from lightning_clip import GradientMonitor, JsonlSink, MLPRegressor, NonFiniteGuard, RegressionDataModule, read_jsonl
from lightning_clip.reports import diagnose

path = Path("runs/unclipped.jsonl")
path.unlink(missing_ok=True)  # a record is appended to, so that a resumed run goes on with it

trainer = Trainer(
    max_epochs=1,
    accelerator="cpu",
    callbacks=[GradientMonitor(sinks=[JsonlSink(path)]), NonFiniteGuard("stop")],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(MLPRegressor(), RegressionDataModule())

run, history = read_jsonl(path)
print(f"\n{run.model} with {run.optimizer} and {run.strategy}: {len(history)} steps in {run.seconds:.2f} s")

norms = history.column("norm_before")  # a column for each field of StepRecord
losses = history.column("loss").astype(float)  # where it is not known it is NaN
for step, norm, loss in zip(history.column("step"), norms, losses, strict=True):
    print(f"  step {step:2d}  norm {norm:10.3g}  loss {loss:10.3g}")
print(f"The norm grew by a factor of {norms[np.isfinite(norms)].max() / norms[0]:.3g}.")

total = history.aggregates[0]  # of all steps, also of those that a long history no longer holds one by one
print(f"{total.steps} steps, {total.nonfinite} not finite, the first at step {total.first_nonfinite}")

for finding in diagnose(history, run):
    print(f"{finding.severity.name}: {finding.title}\n  {finding.detail}\n  → {finding.remedy}")
