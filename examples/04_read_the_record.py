"""Record a run to a file and read it back: as numpy columns, as totals and as a diagnosis.

`lightning-clip report FILE` prints the report of such a file. Reading it needs neither the model nor Lightning.
"""

from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer

from lightning_clip import GradientMonitor, JsonlSink, MLPRegressor, NonFiniteGuard, RegressionDataModule, load_record

path = Path("runs/unclipped.jsonl")
path.unlink(missing_ok=True)  # JsonlSink appends, so that a resumed run continues its file

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

record = load_record(path)
run, history = record.run, record.history
print(f"\n{run.model} with {run.optimizer} and {run.strategy}: {len(history)} steps in {run.seconds:.2f} s")

norms = history.column("norm_before")  # there is a column for each field of StepRecord
losses = history.column("loss").astype(float)  # an unknown loss becomes NaN
for step, norm, loss in zip(history.column("step"), norms, losses, strict=True):
    print(f"  step {step:2d}  norm {norm:10.3g}  loss {loss:10.3g}")
print(f"The norm grew by a factor of {norms[np.isfinite(norms)].max() / norms[0]:.3g}.")

total = history.aggregates[0]  # covers every step, even those that a long history no longer holds one by one
print(f"{total.nonfinite} of {total.steps} steps NaN or infinite, the first one step {total.first_nonfinite}")

for finding in record.diagnose():  # print(record.report()) shows the same findings in the full report
    print(f"{finding.severity.name}: {finding.title}\n  {finding.detail}\n  → {finding.remedy}")
    print(*(f"    {line}" for line in finding.code), sep="\n")
